"""The data of curves and bars of many runs; runs that differ in their seed only become one mean with its deviation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from seq2seq.reporting.curves import PANELS, SMOOTHED_ABOVE, Array, Curve, Points, points, running_mean
from seq2seq.reporting.runs import Group
from seq2seq.reporting.tested import Breakdown

TITLES = {
    "train_loss": "Training loss",
    "val_loss": "Validation loss",
    "train_perplexity": "Training perplexity",
    "val_perplexity": "Validation perplexity",
    "val_bleu": "Validation BLEU",
    "val_bleu-char": "Validation BLEU of characters",
    "val_chrf": "Validation chrF",
    "val_f1": "Validation F1",
    "val_accuracy": "Validation accuracy",
    "val_exact": "Validation exact match",
    "val_wer": "Validation word error rate",
    "val_per": "Validation phoneme error rate",
    "val_bpc": "Validation bits per character",
    "learning_rate": "Learning rate",
    "tokens_per_second": "Target tokens per second",
}

RATES = ("learning_rate", "tokens_per_second")


class Line(NamedTuple):
    """The curve of a group over training steps: mean and standard deviation over seeds (zeros for one run)."""

    group: int
    steps: Array
    values: Array
    spread: Array


class Chart(NamedTuple):
    """A logged metric of all groups that have it. `best` is "max", "min", or "" if neither is better."""

    column: str
    title: str
    best: str
    lines: Sequence[Line]

    @property
    def rate(self) -> bool:
        """Whether it is a rate (learning rate, throughput) and not a result."""
        return self.column in RATES

    @property
    def logarithmic(self) -> bool:
        """Whether to use a logarithmic axis, because of the range of its values."""
        values = np.concatenate([line.values for line in self.lines])
        return self.best != "max" and not self.rate and bool(values.min() > 0 and values.max() > 20 * values.min())


class Bars(NamedTuple):
    """The score of a group in buckets of source length: mean and standard deviation over seeds; NaN without a score."""

    group: int
    values: Sequence[float]
    spread: Sequence[float]


class Lengths(NamedTuple):
    """Scores by source length for the groups of a task, on one test set, with words and sentences of each bucket."""

    task: str
    metric: str
    words: Sequence[str]
    sentences: Sequence[int]
    bars: Sequence[Bars]


def charts(groups: Sequence[Group]) -> list[Chart]:
    """A chart for each column of `curves.PANELS` that any run has numbers for: scores first, rates last."""
    drawn = []
    for curve in (curve for panel in PANELS for curve in panel.curves):
        lines = [line for number, group in enumerate(groups) if (line := _line(number, group, curve)) is not None]
        if lines:
            drawn.append(Chart(curve.column, TITLES.get(curve.column, curve.column), curve.best, lines))
    return sorted(drawn, key=lambda chart: (chart.rate, chart.best != "max", not chart.best))


def last_step(charts: Sequence[Chart]) -> float:
    """The last step of the longest curve."""
    return max(float(line.steps[-1]) for chart in charts for line in chart.lines)


def _line(number: int, group: Group, curve: Curve) -> Line | None:
    each = [points(list(run.metrics), curve.column) for run in group.runs]
    each = [_smooth(line) if curve.noisy else line for line in each if line[0].size]
    if not each:
        return None
    last = min(steps[-1] for steps, _ in each)  # after it, the mean would be over fewer runs
    grid = max((steps[steps <= last] for steps, _ in each), key=len)
    values = np.stack([np.interp(grid, steps, line) for steps, line in each])
    return Line(number, grid, values.mean(0), _deviation(values))


def _smooth(curve: Points) -> Points:
    steps, values = curve
    return (steps, running_mean(values)) if steps.size > SMOOTHED_ABOVE else curve


def _deviation(values: Array) -> Array:
    """The sample standard deviation over the first axis; zeros for one sample."""
    deviation: Array = values.std(0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1:])
    return deviation


def lengths(groups: Sequence[Group], breakdowns: Sequence[Breakdown]) -> list[Lengths]:
    """Group the breakdowns of one test set by task and metric; those over other sentences stay separate."""
    sets: dict[tuple[str, str, tuple[tuple[str, int], ...]], list[Breakdown]] = {}
    for one in breakdowns:
        buckets = tuple((words, count) for words, count, _ in one.buckets)
        sets.setdefault((one.run.task, one.metric, buckets), []).append(one)
    grouped = []
    for (task, metric, buckets), alike in sets.items():
        by_folder: Mapping[object, Breakdown] = {one.run.folder: one for one in alike}
        bars = [_bars(number, group, by_folder) for number, group in enumerate(groups)]
        words, counts = zip(*buckets, strict=True)
        grouped.append(Lengths(task, metric, words, counts, [bar for bar in bars if bar is not None]))
    return grouped


def _bars(number: int, group: Group, breakdowns: Mapping[object, Breakdown]) -> Bars | None:
    of_group = [breakdowns[run.folder] for run in group.runs if run.folder in breakdowns]
    if not of_group:
        return None
    values = np.array([[value for _, _, value in one.buckets] for one in of_group])
    return Bars(number, values.mean(0).tolist(), _deviation(values).tolist())
