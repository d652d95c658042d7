"""Batches of several corpora in given proportions: which corpus a batch is of is a pure function of its number.

In a cycle of batches each corpus has exactly its weight, spread as evenly as can be; cycles follow each other without
regard to epochs. Each corpus goes through epochs of its own, so that none of its pairs comes twice before all have come
once. An epoch of the mixture has as many batches as all corpora together: it is as long as that of the corpora one
after the other. Nothing has to be kept to resume: the number of a batch says it all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice, pairwise

import numpy as np

from seq2seq.corpora.batching import Census, TrainingBatches
from seq2seq.corpora.budget import Budget
from seq2seq.corpora.store import EncodedPairs, Ints, Ragged
from seq2seq.errors import UserError

FINEST = 1000  # of which weights are multiples after rounding, in parts of the largest
CYCLE = 1000  # batches of a cycle where the shares are no weights: by temperature


def cycle(weights: Sequence[int]) -> Ints:
    """The corpus of each batch of a cycle: exactly weights[i] batches are of corpus i, and never are those of any
    beginning far from their share: the corpus that lacks most is next."""
    total, due = sum(weights), [0] * len(weights)
    order = np.empty(total, dtype=np.int64)
    for n in range(total):
        due = [lag + weight for lag, weight in zip(due, weights, strict=True)]
        order[n] = i = max(range(len(due)), key=due.__getitem__)
        due[i] -= total
    return order


def integer_weights(weights: Sequence[float]) -> list[int]:
    """Weights as the smallest whole numbers of these proportions, to a thousandth of the largest; none becomes 0."""
    largest = max(weights)
    shares = [Fraction(weight / largest).limit_denominator(FINEST) or Fraction(1, FINEST) for weight in weights]
    common = math.lcm(*(share.denominator for share in shares))
    if common > FINEST:
        shares, common = [Fraction(max(1, round(share * FINEST)), FINEST) for share in shares], FINEST
    integers = [int(share * common) for share in shares]
    divisor = math.gcd(*integers)
    return [weight // divisor for weight in integers]


def weights_by_temperature(sizes: Sequence[int], temperature: float) -> list[int]:
    """Batches of a cycle in proportion to size^(1 / temperature) (Arivazhagan et al. 2019, §4.2): 1 is by size, and the
    higher, the more equal. Each corpus has one at least."""
    powers = [(size / max(sizes)) ** (1 / temperature) for size in sizes]
    return [max(1, round(CYCLE * power / sum(powers))) for power in powers]


class MixedBatches:
    """The batches of every epoch of a mixture of consecutive parts of `data`: part i is bounds[i] to bounds[i + 1].

    The interface is that of `TrainingBatches`. Raises UserError where a part has no pair that is kept.
    """

    def __init__(
        self, data: EncodedPairs, bounds: Sequence[int], weights: Sequence[int], budget: Budget, seed: int
    ) -> None:
        self.data, self.weights = data, list(weights)
        self.begins = list(bounds[:-1])
        slices = [_part(data, begin, end) for begin, end in pairwise(bounds)]
        self.parts = [_batches(part, budget, seed, number) for number, part in enumerate(slices, 1)]
        self.cycle = cycle(weights)
        self.census = sum((part.census for part in self.parts), Census())

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def epoch(self, epoch: int) -> Iterator[Ints]:
        """Positions in `data` of the pairs of each batch, all of one part."""
        begin = epoch * len(self)
        done = self.done(begin)
        streams = [self._endless(number, count) for number, count in enumerate(done)]
        for n in range(begin, begin + len(self)):
            yield next(streams[self.cycle[n % len(self.cycle)]])

    def done(self, batches: int) -> list[int]:
        """How many of the first so many batches are of each part."""
        cycles, rest = divmod(batches, len(self.cycle))
        partial = np.bincount(self.cycle[:rest], minlength=len(self.parts))
        return [cycles * weight + int(count) for weight, count in zip(self.weights, partial, strict=True)]

    def _endless(self, number: int, done: int) -> Iterator[Ints]:
        """The batches of a part from the `done`-th on, epoch after epoch of its own."""
        part, begin = self.parts[number], self.begins[number]
        epoch, skipped = divmod(done, len(part))
        while True:
            yield from (index + begin for index in islice(part.epoch(epoch), skipped, None))
            epoch, skipped = epoch + 1, 0


def _part(data: EncodedPairs, begin: int, end: int) -> EncodedPairs:
    return EncodedPairs(*(Ragged(side.values, side.offsets[begin : end + 1]) for side in data))


def _batches(part: EncodedPairs, budget: Budget, seed: int, number: int) -> TrainingBatches:
    try:
        return TrainingBatches(part, budget, seed)
    except UserError as error:
        raise UserError(f"data.corpus.train, entry {number}: {error}") from None
