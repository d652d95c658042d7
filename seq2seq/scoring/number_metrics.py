"""Scores of numbers, each with a signature in the style of sacreBLEU's and an interval by the bootstrap over lines.

    MSE = Σ (ŷ − y)² / n        MAE = Σ |ŷ − y| / n        R² = 1 − Σ (ŷ − y)² / Σ (y − ȳ)²

all over the numbers of all lines, in the units of the targets; R² in percent, with the mean ȳ of each column of the
references. 0% is as good as their mean, and it may be below 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seq2seq.errors import UserError
from seq2seq.scoring.measurement import NO_RESAMPLING, Measurement, Resampling
from seq2seq.scoring.scorer import Scores

Numbers = NDArray[np.float64]
"""Numbers [N, K], a row a line."""


class NumberScorer:
    """Computes MSE, MAE and R² of K numbers a line."""

    def __call__(self, predictions: Numbers, references: Numbers, draws: Resampling = NO_RESAMPLING) -> Scores:
        """Score rows against references. Raises UserError if their shapes differ, or there is none."""
        if predictions.shape != references.shape or not len(references):
            raise UserError(f"scoring: predictions {predictions.shape} against references {references.shape}")
        errors, size = predictions - references, references.shape[1]
        counts = np.full(len(errors), float(size))
        squares, absolute = (errors**2).sum(1), np.abs(errors).sum(1)
        # Σ (y − ȳ)² of a resample follows from Σ y and Σ y² of each column; centred first, so that little cancels.
        centred = references - references.mean(0)
        moments = np.column_stack([squares, np.ones(len(errors)), centred, centred**2])
        measured = (
            Measurement("MSE", "nrefs:1|of:numbers", np.column_stack([squares, counts]), ratio),
            Measurement("MAE", "nrefs:1|of:numbers", np.column_stack([absolute, counts]), ratio),
            Measurement("R2", "nrefs:1|of:numbers|in:percent", moments, r_squared),
        )
        return Scores({each.name: each.score(draws) for each in measured})


def ratio(sums: NDArray[np.float64]) -> float:
    """The first sum over the second, a count."""
    return float(sums[0] / sums[1])


def r_squared(sums: NDArray[np.float64]) -> float:
    """R² in percent, from Σ squared errors, the number of rows, and Σ y and Σ y² of each column. Where the references
    are all alike it is 100 without an error and −∞ with one."""
    residual, rows = sums[:2]
    first, second = np.split(sums[2:], 2)
    total = float((second - first**2 / rows).sum())
    if total <= 0:
        return 100.0 if residual == 0 else -np.inf
    return 100 * (1 - float(residual) / total)


def as_rows(lines: Sequence[Sequence[float]]) -> Numbers:
    """Lines of numbers as an array."""
    return np.array(lines, np.float64).reshape(len(lines), -1)
