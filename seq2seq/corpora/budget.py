"""What a batch may hold, and what a pair of so many tokens weighs in it; batching.py says why."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seq2seq.corpora.store import Ints
from seq2seq.errors import UserError

SOURCE = 16  # source tokens a token of `batch_tokens`


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

    def weights(self, source: Ints, target: Ints) -> Ints:
        """What a pair with so many tokens weighs, in whole numbers: at least the `batch_size`-th of a batch, and half a
        batch at most for its source's sake."""
        own = self._target_weights(target)
        weights: Ints = np.minimum(own << self.strata(source, target), np.maximum(own, self.capacity // 2))
        return weights

    def strata(self, source: Ints, target: Ints) -> Ints:
        """How often a pair's weight is doubled, so that its source has at most SOURCE tokens for each of its share."""
        times = -(-source * (self.batch_size or 1) // (SOURCE * self._target_weights(target)))
        strata: Ints = np.ceil(np.log2(np.maximum(times, 1))).astype(np.int64)
        return strata

    def oversized(self, source: Ints, target: Ints) -> NDArray[np.bool_]:
        """True where a source is too long for more than one or two pairs a batch."""
        return source * (self.batch_size or 1) > SOURCE * self.weights(source, target)

    def _target_weights(self, target: Ints) -> Ints:
        return target if self.batch_size is None else np.maximum(target * self.batch_size, self.batch_tokens)

    def keeps(self, source: Ints, target: Ints) -> NDArray[np.bool_]:
        """True where neither side is empty or over-long; lengths without eos."""
        return (np.minimum(source, target) >= 1) & (np.maximum(source, target) <= self.max_length)
