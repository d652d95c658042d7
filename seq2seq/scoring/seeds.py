"""What several runs of one configuration say: mean, deviation and interval, and tests between two configurations.

The runs are a sample of what the configuration would give with other seeds; the test set stays the same. (A bootstrap
over the test's lines is the other question: other lines, the same model.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

EXACT = 100_000
"""Partitions up to which a permutation test goes through all of them; of more it draws so many."""


class Summary(NamedTuple):
    """n runs: their mean, and for more than one the sample's standard deviation and the 95% interval of the mean,
    mean ± t · deviation / √n with Student's t of n − 1 degrees of freedom."""

    n: int
    mean: float
    deviation: float | None = None
    interval: tuple[float, float] | None = None


def summarize(values: Sequence[float]) -> Summary:
    """The summary of at least one value."""
    n, mean = len(values), float(np.mean(values))
    if n == 1:
        return Summary(n, mean)
    from scipy.stats import t

    deviation = float(np.std(values, ddof=1))
    margin = float(t.ppf(0.975, n - 1)) * deviation / n**0.5
    return Summary(n, mean, deviation, (mean - margin, mean + margin))


def welch(one: Sequence[float], other: Sequence[float]) -> float | None:
    """The two-sided p-value of Welch's t-test: equal means, normal, variances that may differ. None where it is not
    defined: a side of one run, or no variance on either side."""
    if min(len(one), len(other)) < 2 or len({*one}) == len({*other}) == 1:
        return None
    from scipy.stats import ttest_ind

    return float(ttest_ind(one, other, equal_var=False).pvalue)


def permutation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """The two-sided p-value of the permutation test on the difference of means, which assumes no distribution: twice
    the smaller share of the partitions whose difference is as extreme. Exact up to `EXACT` partitions, seeded beyond.

    It cannot fall below 2 / C(n + m, n): 0.1 for three runs against three. None where a side has one run.
    """
    if min(len(one), len(other)) < 2:
        return None
    from scipy.stats import permutation_test

    found = permutation_test(
        (one, other), _difference, vectorized=True, n_resamples=EXACT, rng=np.random.default_rng(0)
    )
    return float(found.pvalue)


def _difference(one: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.asarray(np.mean(one, axis) - np.mean(other, axis))


TESTS: dict[str, Callable[[Sequence[float], Sequence[float]], float | None]] = {
    "welch": welch,
    "permutation": permutation,
}
