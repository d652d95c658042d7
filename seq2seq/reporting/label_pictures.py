"""Figures of a tagger's or classifier's errors: F1 of each label as bars, and the confusion matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from seq2seq.reporting import style
from seq2seq.scoring.label_metrics import LabelScorer, Sets, spans

MOST = 60  # labels in a figure


class LabelF1(NamedTuple):
    """F1 in percent of a label (or a type of entity), and its number of occurrences in the reference."""

    label: str
    f1: float
    expected: int


def label_figures(
    scorer: LabelScorer, hypotheses: Sequence[str], references: Sequence[str], folder: Path, split: str
) -> list[Path]:
    """Draw `f1_by_label.SPLIT.png`, and for texts with one label each `confusion.SPLIT.png`; nothing without labels."""
    predicted, expected = ([scorer.labels.split(line) for line in lines] for lines in (hypotheses, references))
    bars = (
        label_f1(_entities(predicted), _entities(expected))
        if scorer.entities
        else label_f1(_flat(predicted), _flat(expected))
    )
    paths = [style.save(f1_figure(bars[:MOST]), folder / f"f1_by_label.{split}.png")] if bars else []
    names = scorer.labels.labels
    if scorer.unit == "text" and scorer.labels.form == "one" and 1 < len(names) <= MOST:
        matrix = confusion([line[0][0] for line in predicted if line], [line[0][0] for line in expected if line], names)
        paths.append(style.save(confusion_figure(matrix, names), folder / f"confusion.{split}.png"))
    return paths


def label_f1(predicted: Counter[tuple[str, object]], expected: Counter[tuple[str, object]]) -> list[LabelF1]:
    """F1 of each label, from predicted and expected pairs (label, place); the most frequent label first."""
    totals, both = Counter[str](), Counter[str]()
    counts = Counter[str]()
    for label, _ in predicted:
        totals[label] += 1
    for label, _ in expected:
        totals[label] += 1
        counts[label] += 1
    for label, _ in predicted.keys() & expected.keys():
        both[label] += 1
    order = sorted(totals, key=lambda label: (-counts[label], label))
    return [LabelF1(label, 200 * both[label] / totals[label], counts[label]) for label in order]


def confusion(predicted: Sequence[str], expected: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """The confusion matrix, counts [V, V]: rows are expected labels, columns predicted ones."""
    index = {name: i for i, name in enumerate(names)}
    matrix = np.zeros((len(names), len(names)), np.int64)
    for one, other in zip(predicted, expected, strict=True):
        matrix[index[other], index[one]] += 1
    return matrix


def f1_figure(bars: Sequence[LabelF1]) -> Figure:
    """A bar for each label, with its number of occurrences in the reference."""
    with style.house_style():
        figure = Figure(figsize=(6.4, 0.9 + 0.2 * len(bars)), layout="constrained")
        axes = figure.add_subplot()
        drawn = axes.barh(range(len(bars)), [bar.f1 for bar in bars], height=0.7, color=style.BLUE)
        axes.bar_label(drawn, [f"{bar.f1:.0f}  n={bar.expected}" for bar in bars], padding=3, fontsize=7)
        axes.set_yticks(range(len(bars)), [bar.label for bar in bars])
        axes.set_ylim(len(bars) - 0.4, -0.6)
        axes.set_xlim(0, 115)
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        axes.set_xlabel("F1 in percent")
        style.title(axes, "F1 by label, the most frequent first")
    return figure


def confusion_figure(matrix: np.ndarray, names: Sequence[str]) -> Figure:
    """The confusion matrix as a heat map; the shade is the share in the row."""
    with style.house_style():
        size = 2.2 + 0.42 * len(names)
        figure = Figure(figsize=(size, size), layout="constrained")
        axes = figure.add_subplot()
        share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.argwhere(matrix):
            colour = "white" if share[row, column] > 0.5 else style.INK
            axes.text(column, row, str(matrix[row, column]), ha="center", va="center", fontsize=7, color=colour)
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(length=0)
        axes.grid(False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("reference")
        style.title(axes, "Confusion matrix")
    return figure


def _entities(lines: Sets) -> Counter[tuple[str, object]]:
    tags = [[tag for (tag,) in line] for line in lines]
    entities = ((number, *entity) for number, line in enumerate(tags) for entity in spans(line))
    return Counter((kind, (number, begin, end)) for number, kind, begin, end in entities)


def _flat(lines: Sets) -> Counter[tuple[str, object]]:
    places = ((number, i, label) for number, line in enumerate(lines) for i, one in enumerate(line) for label in one)
    return Counter((label, (number, i)) for number, i, label in places)
