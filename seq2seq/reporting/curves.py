"""The learning curves of a run: loss, perplexity, validation scores, learning rate and throughput over training
steps."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from seq2seq.errors import UserError
from seq2seq.reporting import style

Row = Mapping[str, object]
Array = npt.NDArray[np.float64]
Points = tuple[Array, Array]
SMOOTHED_ABOVE = 60  # points: a noisy curve with more is drawn pale, with its running mean on top


class Curve(NamedTuple):
    """A column of the metrics. The maximum or minimum is marked if `best` is "max" or "min"; `noisy` adds a running
    mean."""

    column: str
    label: str
    colour: str
    best: str = ""
    noisy: bool = False


class Panel(NamedTuple):
    """Curves that share axes, or with `two_scales` two curves, with one scale on the left and one on the right."""

    title: str
    curves: tuple[Curve, ...]
    two_scales: bool = False


PANELS = (
    Panel(
        "Loss per target token",
        (
            Curve("train_loss", "train", style.BLUE, noisy=True),
            Curve("val_loss", "validation", style.RED, best="min"),
        ),
    ),
    Panel(
        "Perplexity",
        (
            Curve("train_perplexity", "train", style.BLUE, noisy=True),
            Curve("val_perplexity", "validation", style.RED, best="min"),
        ),
    ),
    Panel(
        "Validation scores",
        (
            Curve("val_bleu", "BLEU", style.GREEN, best="max"),
            Curve("val_bleu-char", "BLEU of characters", style.ORANGE, best="max"),
            Curve("val_chrf", "chrF", style.PURPLE, best="max"),
            Curve("val_f1", "F1", style.GREEN, best="max"),
            Curve("val_accuracy", "accuracy", style.BLUE, best="max"),
            Curve("val_exact", "exact match", style.RED, best="max"),
        ),
    ),
    Panel(
        "Validation errors",
        (
            Curve("val_wer", "word error rate", style.RED, best="min"),
            Curve("val_per", "phoneme error rate", style.ORANGE, best="min"),
        ),
    ),
    Panel("Bits per character", (Curve("val_bpc", "validation", style.RED, best="min"),)),
    Panel(
        "Rates",
        (
            Curve("learning_rate", "learning rate", style.INK),
            Curve("tokens_per_second", "target tokens/s", style.ORANGE, noisy=True),
        ),
        two_scales=True,
    ),
)


def learning_curves(metrics: Path | Iterable[Row], path: Path) -> Path:
    """Draw the learning curves of one run as PNG.

    Args:
        metrics: the `metrics.csv` of Lightning's CSVLogger, or its rows: `step`, `epoch` and any of the columns of
            `PANELS`; cells may be empty. Panels without numbers are left out.
        path: the PNG to write.

    Raises:
        UserError: the file is missing, or no column has a number.
    """
    return style.save(learning_curves_figure(_read(metrics) if isinstance(metrics, Path) else metrics), path)


def learning_curves_figure(metrics: Iterable[Row]) -> Figure:
    """The figure of `learning_curves`: a panel for each of `PANELS` that has numbers."""
    rows = list(metrics)
    data = {curve.column: points(rows, curve.column) for panel in PANELS for curve in panel.curves}
    panels = [panel._replace(curves=tuple(c for c in panel.curves if data[c.column][0].size)) for panel in PANELS]
    panels = [panel for panel in panels if panel.curves]
    if not panels:
        raise UserError("learning curves: the metrics hold no numbers; train for at least one logged step")
    last = max(steps[-1] for steps, _ in data.values() if steps.size)
    columns = min(2, len(panels))
    lines = math.ceil(len(panels) / columns)
    with style.house_style():
        figure = Figure(figsize=(3.9 * columns, 2.7 * lines), layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.08))
        for number, panel in enumerate(panels):
            axes = figure.add_subplot(lines, columns, number + 1)
            style.title(axes, panel.title)
            axes.set_xlabel("training steps")
            axes.set_xlim(0, max(1.0, 1.02 * last))
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            style.count_axis(axes, "x")
            (_draw_two_scales if panel.two_scales else _draw)(axes, panel.curves, data)
            _epoch_axis(axes, _epoch_ends(rows))
    return figure


def _read(path: Path) -> list[Row]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; train with logger=csv, which writes it") from None


def _number(cell: object) -> float:
    """The number in a cell; NaN for an empty cell, other text, and infinity."""
    try:
        value = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan
    return value if math.isfinite(value) else math.nan


def points(rows: list[Row], column: str) -> Points:
    """Steps and values of a column, sorted by step, without empty cells."""
    pairs = [(_number(row.get("step")), _number(row.get(column))) for row in rows]
    steps, values = np.array(pairs, dtype=float).reshape(-1, 2).T
    kept = np.flatnonzero(~np.isnan(steps) & ~np.isnan(values))
    kept = kept[np.argsort(steps[kept], kind="stable")]
    return steps[kept], values[kept]


def _epoch_ends(rows: list[Row]) -> list[tuple[int, float]]:
    """For each epoch, counted from 1, the last step logged in it."""
    steps, epochs = points(rows, "epoch")
    last: dict[int, float] = {}
    for step, epoch in zip(steps, epochs, strict=True):
        last[int(epoch) + 1] = float(step)
    return sorted(last.items())


def _draw(axes: Axes, curves: Sequence[Curve], data: Mapping[str, Points]) -> None:
    for curve in curves:
        _plot(axes, curve, data[curve.column])
    values = np.concatenate([data[curve.column][1] for curve in curves])
    if values.min() > 0 and values.max() > 20 * values.min() and not any(curve.best == "max" for curve in curves):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
    style.count_axis(axes, "y")
    axes.legend(loc="best")


def _draw_two_scales(axes: Axes, curves: Sequence[Curve], data: Mapping[str, Points]) -> None:
    """Draw the first curve on the left scale and the second on the right; the scales have the curves' colours."""
    for number, curve in enumerate(curves):
        scale = axes.twinx() if number else axes
        _plot(scale, curve, data[curve.column])
        scale.set_ylabel(curve.label, color=curve.colour)
        scale.tick_params(axis="y", colors=curve.colour)
        scale.set_ylim(0, 1.1 * max(data[curve.column][1].max(), 1e-9))
        style.count_axis(scale, "y")
        if number:
            scale.spines["right"].set_visible(True)
            scale.grid(False)


def _plot(axes: Axes, curve: Curve, data: Points) -> None:
    steps, values = data
    label = curve.label
    if curve.best:
        best = int(values.argmax() if curve.best == "max" else values.argmin())
        label = f"{label} (best {values[best]:.2f})"
        axes.plot(steps[best], values[best], marker="o", markersize=8, markerfacecolor="none", color=curve.colour)
    if curve.noisy and steps.size > SMOOTHED_ABOVE:
        axes.plot(steps, values, color=curve.colour, alpha=0.25, linewidth=0.8)
        values = running_mean(values)
    marker = "o" if steps.size <= SMOOTHED_ABOVE / 2 else ""
    axes.plot(steps, values, color=curve.colour, label=label, marker=marker)


def running_mean(values: Array) -> Array:
    """A running mean over a twentieth of the curve: centred, with a narrower window at the start and a one-sided one at
    the end."""
    half = max(1, len(values) // 40)
    index = np.arange(len(values))
    before = np.minimum(half, index)
    after = np.minimum(before, len(values) - 1 - index)
    sums = np.concatenate(([0.0], np.cumsum(values)))
    means: Array = (sums[index + after + 1] - sums[index - before]) / (before + after + 1)
    return means


def _epoch_axis(axes: Axes, ends: list[tuple[int, float]]) -> None:
    """Add a scale on top with the ends of epochs, as many as fit."""
    stride = math.ceil(len(ends) / 8)
    shown = [(epoch, step) for epoch, step in ends if epoch % stride == 0]
    if shown:
        top = axes.secondary_xaxis("top")
        top.set_xticks([step for _, step in shown], [str(epoch) for epoch, _ in shown])
        top.tick_params(colors=style.GREY, length=2)
        top.spines["top"].set_visible(False)
        axes.set_title("epoch", loc="right", fontsize=8, color=style.GREY)
