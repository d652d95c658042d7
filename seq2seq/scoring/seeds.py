"""Statistics over several runs of one configuration: mean, deviation and interval, and tests between two
configurations.

The runs are a sample over seeds; the test set is fixed. (A bootstrap over the test's lines is about other lines for the
same model.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

EXACT = 100_000
"""Most partitions of an exact permutation test; if there are more, so many are sampled."""


class Summary(NamedTuple):
    """The mean of n runs, and if n > 1 the sample standard deviation and the 95% confidence interval of the mean, mean
    ± t · deviation / √n with Student's t of n − 1 degrees of freedom."""

    n: int
    mean: float
    deviation: float | None = None
    interval: tuple[float, float] | None = None


def summarize(values: Sequence[float]) -> Summary:
    """The summary of one or more values."""
    n, mean = len(values), float(np.mean(values))
    if n == 1:
        return Summary(n, mean)
    from scipy.stats import t

    deviation = float(np.std(values, ddof=1))
    margin = float(t.ppf(0.975, n - 1)) * deviation / n**0.5
    return Summary(n, mean, deviation, (mean - margin, mean + margin))


def welch(one: Sequence[float], other: Sequence[float]) -> float | None:
    """The two-sided p-value of Welch's t-test, which assumes normal distributions whose variances may differ. None
    where it is not defined: with one run on a side, or without variance on both sides."""
    if min(len(one), len(other)) < 2 or len({*one}) == len({*other}) == 1:
        return None
    from scipy.stats import ttest_ind

    return float(ttest_ind(one, other, equal_var=False).pvalue)


def permutation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """The two-sided p-value of the permutation test on the difference of means, which assumes no distribution: twice
    the smaller share of the partitions whose difference is as extreme. Exact up to `EXACT` partitions, else sampled
    with a fixed seed.

    It is at least 2 / C(n + m, n): 0.1 for three runs against three. None with one run on a side.
    """
    if min(len(one), len(other)) < 2:
        return None
    from scipy.stats import permutation_test

    result = permutation_test(
        (one, other), _difference, vectorized=True, n_resamples=EXACT, rng=np.random.default_rng(0)
    )
    return float(result.pvalue)


def _difference(one: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.asarray(np.mean(one, axis) - np.mean(other, axis))


TESTS: dict[str, Callable[[Sequence[float], Sequence[float]], float | None]] = {
    "welch": welch,
    "permutation": permutation,
}
