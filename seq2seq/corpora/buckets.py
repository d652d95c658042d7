"""Batches of pairs of similar length: the pairs are sorted into length buckets and split into batches of nearly equal
weight."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from seq2seq.corpora.budget import Budget
from seq2seq.corpora.store import EncodedPairs, Ints


def batches(data: EncodedPairs, index: Ints, budget: Budget, count: int, phase: int) -> list[Ints]:
    """The pairs `index`, sorted and split into `count` batches of nearly equal weight; empty ones are left out."""
    order = _by_length(data.source.lengths(index), data.target.lengths(index), phase)
    source, target = (side.lengths(index[order]) for side in data)
    weights = budget.weights(source, target)
    begins = np.cumsum(weights) - weights
    bounds = np.searchsorted(begins * count // int(weights.sum()), np.arange(count + 1))  # where a pair's weight begins
    bounds = _moved(np.unique(bounds), source, target, begins, budget)
    return [index[order[begin:end]] for begin, end in pairwise(bounds)]


def _by_length(source: Ints, target: Ints, phase: int) -> Ints:
    """Order by target length in buckets of width two, and within a bucket by source length, alternately ascending and
    descending.

    So neither length jumps within a batch. `phase` (0 to 3) shifts the buckets by one (bit 0) and reverses the
    direction (bit 1).
    """
    bucket = (target + phase % 2) // 2
    by_source = source * (int(target.max()) + 1) + target
    return np.lexsort((np.where((bucket + phase // 2) % 2, by_source, -by_source), bucket))


def _moved(bounds: Ints, source: Ints, target: Ints, begins: Ints, budget: Budget) -> Ints:
    """The bounds of batches, each moved by up to a tenth of a batch to where its two batches have least padding."""
    reach = int(begins[-1]) // (10 * max(1, len(bounds) - 1))
    least = np.searchsorted(begins, begins[bounds[1:-1]] - reach)
    most = np.searchsorted(begins, begins[bounds[1:-1]] + reach)
    limit = budget.batch_size or len(source)
    for i, (lower, upper) in enumerate(zip(least, most, strict=True), 1):
        begin, end = bounds[i - 1], bounds[i + 1]
        cuts = np.arange(max(lower, begin + 1, end - limit), min(upper, end - 1, begin + limit) + 1) - begin
        cost = cuts * sum(np.maximum.accumulate(side[begin:end])[cuts - 1] for side in (source, target))
        cost += (end - begin - cuts) * sum(
            np.maximum.accumulate(side[begin:end][::-1])[::-1][cuts] for side in (source, target)
        )
        bounds[i] = begin + cuts[np.argmin(cost)]
    return bounds
