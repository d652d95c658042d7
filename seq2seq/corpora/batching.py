"""Token-budget batches from length buckets: which pairs form which batch is a pure function of (seed, epoch).

An epoch is a random permutation of the pairs, split into windows. A window is sorted by target and source length and
split into batches of about `batch_tokens` target tokens, and its batches are shuffled. Sorting avoids padding; windows,
and a random offset of the buckets in each, let the batches differ from epoch to epoch. Only one window is in memory at
a time, so memory does not grow with the corpus. The number of batches is the same in every epoch, as learning-rate
schedules and progress bars need it.

The source side is bounded, too: a batch has at most about SOURCE times as many source tokens (padding included) as
`batch_tokens`. A pair whose source is longer than SOURCE times its share of a batch has twice the weight, or four
times, …; the pairs of equal factors form a stratum, and a batch has pairs of one stratum only. In most corpora all
pairs are in the first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seq2seq.corpora import buckets
from seq2seq.corpora.budget import SOURCE, Budget
from seq2seq.corpora.store import EncodedPairs, Ints
from seq2seq.errors import UserError

WINDOW = 256
"""Batches in a window: a larger window has less padding, and batches that differ less from epoch to epoch."""

PERMUTED = 1 << 20  # most items of a permutation: in a larger corpus, an item is a run of adjacent pairs
RUNS = 64  # least runs of kept pairs in a window, so that no window is ever empty
MIXED = 1 << 16  # seeds the order of batches of several strata; larger than the number of any stratum
CHUNK = 1 << 20  # pairs whose lengths are in memory together

log = logging.getLogger(__name__)


class Census(NamedTuple):
    """Counts from one pass over all lengths. Tokens, longest, weight and oversized count kept pairs only, with eos."""

    pairs: int = 0
    kept: int = 0
    dropped_empty: int = 0
    dropped_long: int = 0
    source_tokens: int = 0
    target_tokens: int = 0
    weight: int = 0
    longest: int = 0  # target
    oversized: int = 0

    def __add__(self, other: tuple[int, ...]) -> Census:  # type: ignore[override]
        total = Census(*map(sum, zip(self, other, strict=True)))
        return total._replace(longest=max(self.longest, Census(*other).longest))


class Stratum:
    """The kept pairs whose weight is doubled equally often: their counts, and their positions unless they are too
    many (None)."""

    def __init__(self) -> None:
        self.census = Census()
        self.positions: list[Ints] | None = []

    def add(self, census: Census, positions: Ints) -> None:
        """Add pairs to the counts; positions are kept for up to PERMUTED pairs."""
        self.census += census
        if self.positions is not None:
            self.positions = [*self.positions, positions] if self.census.kept <= PERMUTED else None


def survey(data: EncodedPairs, budget: Budget) -> dict[int, Stratum]:
    """The strata that have pairs, by number; the first is always there and also counts the pairs that are dropped."""
    by_number = {0: Stratum()}
    for begin in range(0, len(data), CHUNK):
        source, target = (np.diff(side.offsets[begin : begin + CHUNK + 1]) for side in data)
        contents = source - data.source.end_marks, target - data.target.end_marks
        keep, empty = budget.keeps(*contents), np.minimum(*contents) < 1
        dropped = Census(len(keep), 0, int(empty.sum()), int((~keep & ~empty).sum()))
        by_number[0].census += dropped
        source, target, positions = source[keep], target[keep], np.flatnonzero(keep) + begin
        strata = budget.strata(source, target)
        for number in np.unique(strata).tolist():
            by_number.setdefault(number, Stratum()).add(*_counted(source, target, positions, strata == number, budget))
    return dict(sorted(by_number.items()))


def _counted(
    source: Ints, target: Ints, positions: Ints, chosen: NDArray[np.bool_], budget: Budget
) -> tuple[Census, Ints]:
    source, target = source[chosen], target[chosen]
    sums = source.sum(), target.sum(), budget.weights(source, target).sum(), target.max()
    counts = (0, len(source), 0, 0, *map(int, sums), int(budget.oversized(source, target).sum()))
    return Census(*counts), positions[chosen]


def census(data: EncodedPairs, budget: Budget) -> Census:
    """The counts over all pairs, from one pass in chunks."""
    return sum((each.census for each in survey(data, budget).values()), Census())


class TrainingBatches:
    """The batches of every epoch over the kept pairs.

    A batch's target tokens exceed `batch_tokens` by less than a fifth and two sentences, and are on average just below
    it, unless its sources are long (see the module's docstring); no batch has more than `batch_size` pairs.

    Raises UserError if no pair is kept, or `batch_tokens` does not hold two of the longest targets.
    """

    def __init__(self, data: EncodedPairs, budget: Budget, seed: int) -> None:
        self.data, self.budget, self.seed = data, budget, seed
        strata = survey(data, budget)
        self.census = sum((each.census for each in strata.values()), Census())
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
        if self.census.oversized:
            log.warning(
                "data.batch_tokens=%d: %d training pairs have sources of more than %d tokens, of which a batch has one "
                "or two only; lower data.max_length=%d to leave them out",
                budget.batch_tokens,
                self.census.oversized,
                SOURCE * budget.batch_tokens // 2,
                budget.max_length,
            )
        kept = {number: stratum for number, stratum in strata.items() if stratum.census.kept}
        large = len(kept) > 1 and len(data) > PERMUTED
        self._parts = [_Batches(data, budget, [seed], i, stratum, i > 0 or large) for i, stratum in kept.items()]

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def epoch(self, epoch: int) -> Iterator[Ints]:
        """Positions of the pairs of each batch. Every kept pair is in exactly one."""
        if len(self._parts) == 1:
            yield from self._parts[0].epoch(epoch)
            return
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, epoch, MIXED])))
        parts = [part.epoch(epoch) for part in self._parts]
        order = np.repeat(np.arange(len(parts), dtype=np.int8), list(map(len, self._parts)))
        yield from (next(parts[i]) for i in random.permutation(order))


class _Batches:
    """The batches of one stratum. If it is `known` to have a list of its positions, those are permuted; else all pairs
    are, and those of other strata are skipped."""

    def __init__(
        self, data: EncodedPairs, budget: Budget, seed: list[int], number: int, stratum: Stratum, known: bool
    ) -> None:
        self.data, self.budget, self.number, self.census = data, budget, number, stratum.census
        self._entropy = seed, [number] * (number > 0)
        self._positions = np.concatenate(stratum.positions) if known and stratum.positions is not None else None
        needed = -(-self.census.weight // budget.capacity)
        self._run = -(-len(data) // PERMUTED) if self._positions is None else 1
        self._windows = max(1, min(needed // WINDOW, self.census.kept // (RUNS * self._run)))
        # Rounding gives a window up to a batch too few; two more for each window keep every batch within its capacity.
        self._count = min(self.census.kept, needed + 2 * self._windows) if self._windows > 1 else needed

    def __len__(self) -> int:
        return self._count

    def epoch(self, epoch: int) -> Iterator[Ints]:
        """Positions of the pairs of each batch of this stratum."""
        first, last = self._entropy
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence([*first, epoch, *last])))
        seen = 0
        for index in self._permuted(random):
            lengths = [side.lengths(index) for side in self.data]
            contents = [length - side.end_marks for length, side in zip(lengths, self.data, strict=True)]
            index = index[self.budget.keeps(*contents) & (self.budget.strata(*lengths) == self.number)]
            weight = int(self.budget.weights(*(side.lengths(index) for side in self.data)).sum())
            count = self._share(seen + weight) - self._share(seen)
            seen += weight
            batches = buckets.batches(self.data, index, self.budget, count, phase=int(random.integers(4)))
            yield from (batches[i] for i in random.permutation(count))

    def _permuted(self, random: np.random.Generator) -> Iterator[Ints]:
        """All positions in random order, a window at a time."""
        if self._positions is not None:
            yield from np.array_split(random.permutation(self._positions), self._windows)
            return
        begins = random.permutation(-(-len(self.data) // self._run)) * self._run
        for i in range(self._windows):
            window = begins[len(begins) * i // self._windows : len(begins) * (i + 1) // self._windows]
            index = (window[:, None] + np.arange(self._run)).ravel()
            yield random.permutation(index[index < len(self.data)])

    def _share(self, weight: int) -> int:
        """How many batches hold the first pairs of an epoch, which have this total weight."""
        return -(-weight * self._count // self.census.weight)


def batches_in_order(data: EncodedPairs, budget: Budget) -> list[Ints]:
    """Batches of all pairs (none is dropped), sorted by length: for validation and tests."""
    source, target = (np.diff(side.offsets) for side in data)
    strata, weights = budget.strata(source, target), budget.weights(source, target)
    batches: list[Ints] = []
    for number in np.unique(strata):
        index = np.flatnonzero(strata == number)
        batches += buckets.batches(data, index, budget, count=-(-int(weights[index].sum()) // budget.capacity), phase=0)
    return batches


def pad_share(data: EncodedPairs, batches: Iterable[Ints]) -> float:
    """The fraction of padding among all positions of both sides."""
    tokens = positions = 0
    for index in batches:
        for side in data:
            lengths = side.lengths(index)
            tokens += int(lengths.sum())
            positions += int(lengths.max()) * len(index)
    return 1 - tokens / positions
