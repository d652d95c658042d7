"""What a tagger or classifier confuses: F1 of each label as bars, and what was taken for what as a matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from seq2seq.reporting import style
from seq2seq.scoring.label_metrics import LabelScorer, Sets, spans

MOST = 60  # labels: more would not be read


class LabelF1(NamedTuple):
    """F1 in percent of a label (or a type of entity), and how often the reference has it."""

    label: str
    f1: float
    expected: int


def label_figures(
    scorer: LabelScorer, hypotheses: Sequence[str], references: Sequence[str], folder: Path, split: str
) -> list[Path]:
    """Draw `f1_by_label.SPLIT.png`, and for texts with one label each `confusion.SPLIT.png`; nothing without labels."""
    found, right = ([scorer.labels.split(line) for line in lines] for lines in (hypotheses, references))
    bars = label_f1(_entities(found), _entities(right)) if scorer.entities else label_f1(_flat(found), _flat(right))
    paths = [style.save(f1_figure(bars[:MOST]), folder / f"f1_by_label.{split}.png")] if bars else []
    names = scorer.labels.labels
    if scorer.unit == "text" and scorer.labels.form == "one" and 1 < len(names) <= MOST:
        matrix = confusion([line[0][0] for line in found if line], [line[0][0] for line in right if line], names)
        paths.append(style.save(confusion_figure(matrix, names), folder / f"confusion.{split}.png"))
    return paths


def label_f1(found: Counter[tuple[str, object]], right: Counter[tuple[str, object]]) -> list[LabelF1]:
    """F1 of each label from what was found and what is right, both (label, place): the most frequent label first."""
    totals, both = Counter[str](), Counter[str]()
    expected = Counter[str]()
    for label, _ in found:
        totals[label] += 1
    for label, _ in right:
        totals[label] += 1
        expected[label] += 1
    for label, _ in found.keys() & right.keys():
        both[label] += 1
    order = sorted(totals, key=lambda label: (-expected[label], label))
    return [LabelF1(label, 200 * both[label] / totals[label], expected[label]) for label in order]


def confusion(found: Sequence[str], right: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Counts [V, V]: the right label downwards, the one found across."""
    index = {name: i for i, name in enumerate(names)}
    matrix = np.zeros((len(names), len(names)), np.int64)
    for one, other in zip(found, right, strict=True):
        matrix[index[other], index[one]] += 1
    return matrix


def f1_figure(bars: Sequence[LabelF1]) -> Figure:
    """One bar a label, with the number of times that the reference has it."""
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
    """The counts as a heat map, each row's share as its shade."""
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
        axes.set_xlabel("found")
        axes.set_ylabel("right")
        style.title(axes, "What was taken for what")
    return figure


def _entities(lines: Sets) -> Counter[tuple[str, object]]:
    tags = [[tag for (tag,) in line] for line in lines]
    found = ((number, *entity) for number, line in enumerate(tags) for entity in spans(line))
    return Counter((kind, (number, begin, end)) for number, kind, begin, end in found)


def _flat(lines: Sets) -> Counter[tuple[str, object]]:
    places = ((number, i, label) for number, line in enumerate(lines) for i, one in enumerate(line) for label in one)
    return Counter((label, (number, i)) for number, i, label in places)
