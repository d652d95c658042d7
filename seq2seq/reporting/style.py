"""One look for every figure: colour-blind safe, quiet, legible at the width of a paper's column."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from seq2seq.reporting.wording import compact
from seq2seq.runtime.atomic_files import atomic_write

logger = logging.getLogger(__name__)

# Okabe and Ito, "Color Universal Design", 2008: told apart with every common colour deficiency.
BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
INK, GREY, PALE = "#333333", "#8A8A8A", "#DDDDDD"

SERIES = ("#1F82C0", RED, GREEN, "#C0609A", "#7A7A7A")
"""Colours of many curves in one picture, each at least 3:1 against white and against the reports' dark background."""
DASHES = ("solid", "dash", "dot", "dashdot")
"""Lines in plotly's words. Their number shares no factor with that of SERIES: twenty curves differ from each other."""

FONTS = (
    "DejaVu Sans",  # comes with matplotlib; has ▁, umlauts, Greek and Cyrillic; the rest fill in what it lacks
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "SimHei",
    "Malgun Gothic",
    "Arial Unicode MS",
    "Noto Sans Arabic",
    "Noto Sans Devanagari",
)


@contextmanager
def house_style() -> Iterator[None]:
    """Within it, figures are built and saved in the house style; matplotlib's settings are put back afterwards."""
    installed = {font.name for font in fontManager.ttflist}  # naming an absent font makes matplotlib complain
    settings: Any = {  # Any: the type of the keys differs between matplotlib's versions
        "font.family": [name for name in FONTS if name in installed],
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.titlelocation": "left",
        "axes.labelcolor": INK,
        "axes.edgecolor": GREY,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.unicode_minus": False,
        "grid.color": PALE,
        "grid.linewidth": 0.6,
        "text.color": INK,
        "text.parse_math": False,  # a token such as "$5" is text, not a formula
        "xtick.color": INK,
        "ytick.color": INK,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "lines.markersize": 4,
        "savefig.dpi": 160,
        "pdf.fonttype": 42,  # fonts whole, as TrueType: text stays text, and publishers refuse type 3
        "figure.facecolor": "white",
    }
    with mpl.rc_context(settings):
        yield


UNDATED: dict[str, dict[str, None]] = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None}}
"""The formats of pictures, and the metadata that would make the same picture another file."""


def save(figure: Figure, path: Path, *, dpi: int | None = None) -> Path:
    """Write `figure` as PNG, or PDF where it is named so: whole or not at all, the same bytes for the same picture."""
    kind = path.suffix.removeprefix(".")
    with atomic_write(path) as temporary, house_style(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(temporary, format=kind, metadata=UNDATED[kind], dpi=dpi)
    if any("missing from font" in str(warning.message) for warning in caught):
        logger.warning("%s: no installed font has all of its characters; install one, such as Noto Sans CJK", path)
    return path


def series(number: int) -> str:
    """The colour of a line or bar among many, the same in every picture."""
    return SERIES[number % len(SERIES)]


def dash(number: int) -> str:
    """What tells a line among many from the others without colour."""
    return DASHES[number % len(DASHES)]


def title(axes: Axes, text: str) -> None:
    """Set a bold title, in one font: a fallback without a bold face would make matplotlib complain."""
    axes.set_title(text, fontweight="bold", fontfamily=FONTS[0])


def count_axis(axes: Axes, which: str) -> None:
    """Label the ticks of the `x` or `y` axis as compact counts."""
    getattr(axes, f"{which}axis").set_major_formatter(lambda value, position: compact(value))
