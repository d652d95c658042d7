"""The figures of a report as files for a paper: one file for each chart, of a column's width, readable without
colour."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from seq2seq.reporting import style
from seq2seq.reporting.attention import attention_figure, label_size
from seq2seq.reporting.bars import leaderboard_figure
from seq2seq.reporting.contents import Contents, InspectedSource, Options, gather
from seq2seq.reporting.leaderboard import compare
from seq2seq.reporting.runs import Notes
from seq2seq.reporting.series import Chart, Lengths, last_step
from seq2seq.reporting.wording import compact

COLUMN, WIDE, HEIGHT = 3.4, 6.8, 2.4  # inches: widths of one column and of two, and the height
DPI = 300  # of a PNG
HATCHES = ("", "////", "....", "xxxx")
MARKED = 30  # points: a longer curve has no markers
MARKS = ("o", "s", "D", "^")
LINES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}


def write_pictures(paths: Sequence[Path], folder: Path, file_format: str, options: Options) -> tuple[list[Path], Notes]:
    """Draw all figures of the runs in `paths` as `folder`/NAME.`file_format`, png or pdf.

    Returns:
        The paths of the figures, and notes on missing content.

    Raises:
        UserError: there are no runs.
    """
    contents = gather(paths, options)
    figures: dict[str, Figure] = {}
    for name, figure in draw(contents):
        name = re.sub(r"[^\w.-]+", "_", name)
        figures[next(each for each in _numbered(name) if each not in figures)] = figure
    written = [style.save(figure, folder / f"{name}.{file_format}", dpi=DPI) for name, figure in figures.items()]
    return written, contents.notes


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}-{number}" for number in count(2))


def draw(contents: Contents) -> Iterator[tuple[str, Figure]]:
    """All figures, each with its name."""
    names = [group.name.lstrip("_") for group in contents.groups]  # matplotlib hides labels that begin with _
    called = {run.folder: run.name for run in contents.runs}
    for task in contents.tasks:
        rows = compare([run.folder for run in contents.runs if run.task == task])
        name = f"leaderboard.{task}" if len(contents.tasks) > 1 else "leaderboard"
        yield name, leaderboard_figure(rows, [called[row["folder"]] for row in rows])
    last = last_step(contents.charts) if contents.charts else 0.0
    for chart in contents.charts:
        yield f"curves.{chart.column}", curves_figure(chart, names, last)
    for split, lengths in contents.lengths:
        name = f"{lengths.metric}_by_length.{contents.place(lengths.task, split)}"
        yield name, lengths_figure(lengths, names)
    for number, inspected in enumerate(contents.inspected, 1):
        yield f"probabilities.{number}", probabilities_figure(inspected)
    for run in contents.runs:
        answers = (answer for inspected in contents.inspected for of, answer in inspected.answers if of is run)
        if maps := [answer.attention for answer in answers if answer.attention]:
            yield f"attention.{run.name}", attention_figure(maps)


def curves_figure(chart: Chart, names: Sequence[str], last: float) -> Figure:
    """A line for each group up to the step `last`, with a band of one standard deviation if it has several seeds."""
    with style.house_style():
        figure, axes = _column(chart.title)
        for line in chart.lines:
            mark = MARKS[line.group % len(MARKS)] if len(line.steps) <= MARKED else ""
            colour, dash = style.series(line.group), LINES[style.dash(line.group)]
            axes.plot(line.steps, line.values, color=colour, linestyle=dash, marker=mark, label=names[line.group])
            if line.spread.any():
                low, high = line.values - line.spread, line.values + line.spread
                axes.fill_between(line.steps, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.set_xlabel("training steps")
        axes.set_xlim(0, 1.02 * max(last, 1))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        style.count_axis(axes, "x")
        if chart.logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_minor_locator(NullLocator())
        style.count_axis(axes, "y")
        axes.legend(loc="best", fontsize=7)
    return figure


def lengths_figure(lengths: Lengths, names: Sequence[str]) -> Figure:
    """A bar for each group in each bucket of source length, with one standard deviation over seeds."""
    with style.house_style():
        figure, axes = _column(f"{lengths.metric} by source length")
        wide = 0.8 / len(lengths.bars)
        places = np.arange(len(lengths.words))
        for number, bars in enumerate(lengths.bars):
            axes.bar(
                places + (number - (len(lengths.bars) - 1) / 2) * wide,
                bars.values,
                0.92 * wide,
                yerr=bars.spread if any(bars.spread) else None,
                label=names[bars.group],
                color=style.series(bars.group),
                hatch=HATCHES[bars.group % len(HATCHES)],
                edgecolor="white",
                linewidth=0,
                error_kw={"elinewidth": 0.8, "capsize": 1.5, "ecolor": style.INK},
            )
        counts = [f"{words}\n{compact(n)}" for words, n in zip(lengths.words, lengths.sentences, strict=True)]
        axes.set_xticks(places, counts, fontsize=7)
        axes.tick_params(axis="x", length=0)
        axes.set_xlabel("words of the source, and number of sentences")
        axes.set_ylim(0, axes.get_ylim()[1] * (1 + 0.12 * len(names)))  # space for the legend above the bars
        axes.grid(False, axis="x")
        axes.legend(loc="upper right", fontsize=7)
    return figure


def probabilities_figure(inspected: InspectedSource) -> Figure:
    """The tokens of each run's output with their probabilities in percent; less probable ones are darker."""
    placed: list[tuple[float, float, str, float | None]] = [(0, 0.15, inspected.source, None)]
    y = 0.45
    for run, answer in inspected.answers:
        placed.append((0, y, run.name, None))
        x, y = 0.0, y + 0.3
        for token, log_prob in zip(answer.tokens, answer.log_probs, strict=True):
            room = label_size([token]) + 0.12
            if x and x + room > WIDE:
                x, y = 0.0, y + 0.36
            placed.append((x + room / 2, y, token, math.exp(log_prob)))
            x += room + 0.04
        y += 0.4
    with style.house_style():
        figure = Figure(figsize=(WIDE, y))
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDE), ylim=(y, 0))
        axes.set_axis_off()
        for x, y, text, p in placed:
            _write(axes, x, y, text, p)
    return figure


def _write(axes: Axes, x: float, y: float, text: str, p: float | None) -> None:
    if p is None:
        axes.text(x, y, text, fontsize=8, fontweight="bold" if y < 0.2 else "normal", va="center")
        return
    box = {"boxstyle": "round,pad=0.2", "facecolor": (*to_rgb(style.ORANGE), 0.8 * (1 - p)), "edgecolor": style.PALE}
    axes.text(x, y, text, fontsize=8, ha="center", va="center", bbox=box)
    axes.text(x, y + 0.15, f"{100 * p:.0f}", fontsize=5.5, ha="center", va="center", color=style.GREY)


def _column(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(COLUMN, HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    style.title(axes, title)
    return figure, axes
