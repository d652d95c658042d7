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

from seq2seq.reporting.whole import whole
from seq2seq.reporting.wording import compact

logger = logging.getLogger(__name__)

# Okabe and Ito, "Color Universal Design", 2008: told apart with every common colour deficiency.
BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
INK, GREY, PALE = "#333333", "#8A8A8A", "#DDDDDD"

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
        "text.parse_math": False,  # a piece such as "$5" is text, not a formula
        "xtick.color": INK,
        "ytick.color": INK,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "lines.markersize": 4,
        "savefig.dpi": 160,
        "figure.facecolor": "white",
    }
    with mpl.rc_context(settings):
        yield


def save(figure: Figure, path: Path) -> Path:
    """Write `figure` as PNG: whole or not at all, and with the same bytes for the same picture."""
    with whole(path) as temporary, house_style(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(temporary, format="png", metadata={"Software": None})
    if any("missing from font" in str(warning.message) for warning in caught):
        logger.warning("%s: no installed font has all of its characters; install one, such as Noto Sans CJK", path)
    return path


def title(axes: Axes, text: str) -> None:
    """Set a bold title, in one font: a fallback without a bold face would make matplotlib complain."""
    axes.set_title(text, fontweight="bold", fontfamily=FONTS[0])


def count_axis(axes: Axes, which: str) -> None:
    """Label the ticks of the `x` or `y` axis as compact counts."""
    getattr(axes, f"{which}axis").set_major_formatter(lambda value, position: compact(value))
