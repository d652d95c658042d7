"""Token-budget batches from length buckets: which pairs stand in which batch, a pure function of (seed, epoch).

An epoch is a random permutation of the pairs, cut into windows. A window is sorted by target and source length and cut
into batches of about `batch_tokens` target tokens, and its batches are shuffled. Sorting removes the padding, windows
(and in each a random phase of the buckets) let the batches differ from epoch to epoch, and only one window is held at a
time: memory does not grow with the corpus. The number of batches is the same in every epoch, so that schedules and
progress bars know it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seq2seq.corpora.store import EncodedPairs, Ints
from seq2seq.errors import UserError

WINDOW = 256
"""Batches in a window: more of them are less padding, and batches that differ less from epoch to epoch."""

PERMUTED = 1 << 20  # things permuted at once: in a larger corpus, each is a run of neighbours
RUNS = 64  # of neighbours that a window has at least, by the share of the pairs that are kept: none is ever empty
CHUNK = 1 << 20  # pairs whose lengths are looked at together


@dataclass(frozen=True)
class Budget:
    """What a batch may hold: about `batch_tokens` target tokens (eos counted, pads not), at most `batch_size` pairs.

    `max_length`: the most tokens a side, eos not counted, of a pair that is trained on.
    """

    batch_tokens: int = 2048
    batch_size: int | None = None
    max_length: int = 512

    def __post_init__(self) -> None:
        for key in ("batch_tokens", "batch_size", "max_length"):
            value = getattr(self, key)
            if value is not None and not 1 <= value < 1 << 31:
                raise UserError(f"data.{key}={value}: must be at least 1")

    @property
    def capacity(self) -> int:
        """The weight that a batch holds."""
        return self.batch_tokens * (self.batch_size or 1)

    def weights(self, target: Ints) -> Ints:
        """What a pair with so many target tokens weighs, in whole numbers: at least the `batch_size`-th of a batch."""
        return target if self.batch_size is None else np.maximum(target * self.batch_size, self.batch_tokens)

    def keeps(self, source: Ints, target: Ints) -> NDArray[np.bool_]:
        """True where neither side is empty or over-long; lengths without eos."""
        return (np.minimum(source, target) >= 1) & (np.maximum(source, target) <= self.max_length)


class Census(NamedTuple):
    """What one pass over all lengths counts; tokens, longest and weight are those of kept pairs, eos included."""

    pairs: int = 0
    kept: int = 0
    dropped_empty: int = 0
    dropped_long: int = 0
    source_tokens: int = 0
    target_tokens: int = 0
    weight: int = 0
    longest: int = 0


def census(data: EncodedPairs, budget: Budget) -> Census:
    """Count, a chunk at a time."""
    total = Census()
    for begin in range(0, len(data), CHUNK):
        source, target = (np.diff(side.offsets[begin : begin + CHUNK + 1]) for side in data)
        contents = source - data.source.end_marks, target - data.target.end_marks
        keep, empty = budget.keeps(*contents), np.minimum(*contents) < 1
        kept = target[keep]
        sums = (len(keep), keep.sum(), empty.sum(), (~keep & ~empty).sum(), source[keep].sum(), kept.sum())
        new = Census(*map(int, (*sums, budget.weights(kept).sum(), kept.max(initial=0))))
        longest = max(total.longest, new.longest)
        total = Census(*map(sum, zip(total, new, strict=True)))._replace(longest=longest)
    return total


class TrainingBatches:
    """The batches of every epoch over the kept pairs.

    A batch's target tokens exceed `batch_tokens` by less than a fifth and two sentences, and are on average just below
    it; no batch has more than `batch_size` pairs.

    Raises UserError if no pair is kept, or `batch_tokens` does not hold two of the longest targets.
    """

    def __init__(self, data: EncodedPairs, budget: Budget, seed: int) -> None:
        self.data, self.budget, self.seed = data, budget, seed
        self.census = census(data, budget)
        if not self.census.kept:
            raise UserError(
                f"data.max_length={budget.max_length}: all {self.census.pairs} training pairs are dropped "
                f"({self.census.dropped_empty} with an empty side, {self.census.dropped_long} too long)"
            )
        if 2 * self.census.longest > budget.batch_tokens:
            raise UserError(
                f"data.batch_tokens={budget.batch_tokens}: must hold two of the longest targets, which have "
                f"{self.census.longest} tokens; raise it, or lower data.max_length={budget.max_length}"
            )
        needed = -(-self.census.weight // budget.capacity)
        self._run = -(-len(data) // PERMUTED)
        self._windows = max(1, min(needed // WINDOW, self.census.kept // (RUNS * self._run)))
        # Each window gets its share of the batches, rounded; two more for each window keep all within their capacity.
        self._count = min(self.census.kept, needed + 2 * self._windows) if self._windows > 1 else needed

    def __len__(self) -> int:
        return self._count

    def epoch(self, epoch: int) -> Iterator[Ints]:
        """Positions of the pairs of each batch. Every kept pair stands in exactly one."""
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, epoch])))
        seen = 0
        for index in self._permuted(random):
            source, target = (side.lengths(index) - side.end_marks for side in self.data)
            index = index[self.budget.keeps(source, target)]
            weight = int(self.budget.weights(self.data.target.lengths(index)).sum())
            count = self._share(seen + weight) - self._share(seen)
            seen += weight
            batches = _batches(self.data, index, self.budget, count, phase=int(random.integers(4)))
            yield from (batches[i] for i in random.permutation(count))

    def _permuted(self, random: np.random.Generator) -> Iterator[Ints]:
        """All positions in random order, a window at a time."""
        begins = random.permutation(-(-len(self.data) // self._run)) * self._run
        for i in range(self._windows):
            window = begins[len(begins) * i // self._windows : len(begins) * (i + 1) // self._windows]
            index = (window[:, None] + np.arange(self._run)).ravel()
            yield random.permutation(index[index < len(self.data)])

    def _share(self, weight: int) -> int:
        """How many batches the first `weight` of the epoch gets."""
        return -(-weight * self._count // self.census.weight)


def batches_in_order(data: EncodedPairs, budget: Budget) -> list[Ints]:
    """Batches of all pairs, none dropped, from the shortest to the longest: for validation and tests."""
    index = np.arange(len(data))
    weight = int(budget.weights(data.target.lengths(index)).sum())
    return _batches(data, index, budget, count=-(-weight // budget.capacity), phase=0)


def pad_share(data: EncodedPairs, batches: Iterable[Ints]) -> float:
    """The share of pads among all positions of both sides."""
    tokens = positions = 0
    for index in batches:
        for side in data:
            lengths = side.lengths(index)
            tokens += int(lengths.sum())
            positions += int(lengths.max()) * len(index)
    return 1 - tokens / positions


def _batches(data: EncodedPairs, index: Ints, budget: Budget, count: int, phase: int) -> list[Ints]:
    """The pairs `index` sorted and cut into `count` batches of nearly equal weight, less those that are empty."""
    order = _by_length(data.source.lengths(index), data.target.lengths(index), phase)
    source, target = (side.lengths(index[order]) for side in data)
    weights = budget.weights(target)
    begins = np.cumsum(weights) - weights
    bounds = np.searchsorted(begins * count // int(weights.sum()), np.arange(count + 1))  # where a pair's weight begins
    bounds = _moved(np.unique(bounds), source, target, begins, budget)
    return [index[order[begin:end]] for begin, end in pairwise(bounds)]


def _by_length(source: Ints, target: Ints, phase: int) -> Ints:
    """The order of target length in buckets of two, and within them of source length, rising and falling in turn.

    So neither length jumps within a batch. `phase` (0 to 3) moves the buckets by one and turns rising into falling.
    """
    bucket = (target + phase % 2) // 2
    by_source = source * (int(target.max()) + 1) + target
    return np.lexsort((np.where((bucket + phase // 2) % 2, by_source, -by_source), bucket))


def _moved(bounds: Ints, source: Ints, target: Ints, begins: Ints, budget: Budget) -> Ints:
    """The bounds of batches, each moved by up to a tenth of a batch to where the two beside it have the fewest pads."""
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
