"""The common style of all figures: colour-blind safe, and legible at the width of a paper's column."""

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

# Okabe and Ito, "Color Universal Design", 2008: distinct for every common colour vision deficiency.
BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
INK, GREY, PALE = "#333333", "#8A8A8A", "#DDDDDD"

SERIES = ("#1F82C0", RED, GREEN, "#C0609A", "#7A7A7A")
"""Colours of many curves in one figure; each has a contrast of 3:1 against white and the reports' dark background."""
DASHES = ("solid", "dash", "dot", "dashdot")
"""Plotly's names of dash styles. Their number is coprime to that of SERIES, so twenty curves differ from each other."""

FONTS = (
    "DejaVu Sans",  # in matplotlib; it has ▁, umlauts, Greek and Cyrillic; the others are fallbacks
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
    """A context in which figures have the common style; matplotlib's settings are restored afterwards."""
    installed = {font.name for font in fontManager.ttflist}  # matplotlib warns about missing fonts
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
        "pdf.fonttype": 42,  # embed TrueType fonts: text stays text, and publishers refuse type 3
        "figure.facecolor": "white",
    }
    with mpl.rc_context(settings):
        yield


UNDATED: dict[str, dict[str, None]] = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None}}
"""The formats of figures, without the metadata that differs between runs."""


def save(figure: Figure, path: Path, *, dpi: int | None = None) -> Path:
    """Write `figure` atomically as PNG or PDF, by its suffix; the same figure gives the same bytes."""
    kind = path.suffix.removeprefix(".")
    with atomic_write(path) as temporary, house_style(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(temporary, format=kind, metadata=UNDATED[kind], dpi=dpi)
    if any("missing from font" in str(warning.message) for warning in caught):
        logger.warning("%s: no installed font has all of its characters; install one, such as Noto Sans CJK", path)
    return path


def series(number: int) -> str:
    """The colour of line or bar `number`, the same in every figure."""
    return SERIES[number % len(SERIES)]


def dash(number: int) -> str:
    """The dash style of line `number`, to distinguish lines without colour."""
    return DASHES[number % len(DASHES)]


def title(axes: Axes, text: str) -> None:
    """Set a bold title, in one font, as matplotlib warns about fallback fonts without a bold face."""
    axes.set_title(text, fontweight="bold", fontfamily=FONTS[0])


def count_axis(axes: Axes, which: str) -> None:
    """Label the ticks of the `x` or `y` axis as compact counts."""
    getattr(axes, f"{which}axis").set_major_formatter(lambda value, position: compact(value))
