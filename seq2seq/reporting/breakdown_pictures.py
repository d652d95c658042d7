"""Breakdowns of scores as one figure: a panel for each breakdown, a group of bars for each bucket, a bar for each
system."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from seq2seq.reporting import style
from seq2seq.reporting.wording import compact, shorten
from seq2seq.scoring import Score
from seq2seq.scoring.breakdowns import FEW, Breakdown

COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.RED, style.PURPLE, style.GREY)
"""The colours of systems, and so the most systems in a figure."""


def breakdown_plot(breakdowns: Sequence[Breakdown], path: Path) -> Path:
    """Draw the first metric of each breakdown as PNG."""
    return style.save(breakdown_figure(breakdowns), path)


def breakdown_figure(breakdowns: Sequence[Breakdown]) -> Figure:
    """The figure of `breakdown_plot`; the intervals of scores are error bars."""
    widths = [_units(each) for each in breakdowns]
    with style.house_style():
        figure = Figure(figsize=(max(4.6, 0.4 * max(widths)), 2.9 * len(breakdowns) + 0.3))
        figure.set_layout_engine("constrained", h_pad=0.1)
        panels = figure.subplots(len(breakdowns), squeeze=False)[:, 0]
        for axes, breakdown in zip(panels, breakdowns, strict=True):
            _panel(axes, breakdown)
        if len(breakdowns[0].systems) > 1:
            names = [
                shorten(system[::-1], 48)[::-1] for system in breakdowns[0].systems
            ]  # the end of a path is its informative part
            patches = [Patch(color=colour, label=name) for colour, name in zip(COLOURS, names, strict=False)]
            figure.legend(handles=patches, loc="outside upper left", ncols=2)
    return figure


def _panel(axes: Axes, breakdown: Breakdown) -> None:
    systems = breakdown.systems
    first = next(iter(systems.values()))
    name, places, width = first[0].scores[0].name, np.arange(len(first)), 0.8 / len(systems)
    for number, (buckets, colour) in enumerate(zip(systems.values(), COLOURS, strict=False)):
        where = places + (number - (len(systems) - 1) / 2) * width
        _bars(axes, [bucket.scores[0] for bucket in buckets], where, width * 0.94, colour, [b.size for b in buckets])
    axes.set_xticks(places, [f"{bucket.label}\nn={compact(bucket.size)}" for bucket in first])
    axes.set_xlim(-0.6, max(len(first), 3) - 0.4)
    axes.grid(False, axis="x")
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel(name)
    pale = f"; pale: fewer than {FEW}" if any(bucket.size < FEW for bucket in first) else ""
    axes.set_xlabel(f"{breakdown.by} (n {breakdown.counted}{pale})")
    style.title(axes, f"{name} by {breakdown.by}")


def _bars(
    axes: Axes, scores: Sequence[Score], where: np.ndarray, width: float, colour: str, sizes: Sequence[int]
) -> None:
    """The bars of one system, pale for buckets of few lines or words."""
    values = np.array([score.value for score in scores])
    ends = np.array([score.interval or (score.value, score.value) for score in scores])
    bars = axes.bar(where, values, width, color=colour)
    for bar, size in zip(bars, sizes, strict=True):
        bar.set_alpha(1.0 if size >= FEW else 0.3)
    shown = [number for number, score in enumerate(scores) if score.interval]
    margins = np.abs(ends.T - values)[:, shown]
    axes.errorbar(where[shown], values[shown], margins, fmt="none", ecolor=style.INK, elinewidth=1, capsize=2)


def _units(breakdown: Breakdown) -> float:
    """The width of a panel, in bars of readable width."""
    buckets = len(next(iter(breakdown.systems.values())))
    return 2 + buckets * max(1.7, 0.7 * len(breakdown.systems))
