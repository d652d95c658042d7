"""The size limits of a batch, and the weight of a pair in it; batching.py explains why pairs have weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seq2seq.corpora.store import Ints
from seq2seq.errors import UserError

SOURCE = 16  # most source tokens for each of `batch_tokens` target tokens


@dataclass(frozen=True)
class Budget:
    """The limits of a batch: about `batch_tokens` target tokens (with eos, without padding), at most `batch_size`
    pairs.

    Pairs with more than `max_length` tokens (without eos) on a side are not trained on.
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
        """The weight of a full batch."""
        return self.batch_tokens * (self.batch_size or 1)

    def weights(self, source: Ints, target: Ints) -> Ints:
        """The weight of each pair, given its token counts, as integers: at least a `batch_size`-th of a batch; a long
        source raises it to half a batch at most."""
        own = self._target_weights(target)
        weights: Ints = np.minimum(own << self.strata(source, target), np.maximum(own, self.capacity // 2))
        return weights

    def strata(self, source: Ints, target: Ints) -> Ints:
        """How often the weight of each pair is doubled for its source to have at most SOURCE tokens a unit of
        weight."""
        times = -(-source * (self.batch_size or 1) // (SOURCE * self._target_weights(target)))
        strata: Ints = np.ceil(np.log2(np.maximum(times, 1))).astype(np.int64)
        return strata

    def oversized(self, source: Ints, target: Ints) -> NDArray[np.bool_]:
        """True where a source is too long for more than one or two pairs a batch."""
        return source * (self.batch_size or 1) > SOURCE * self.weights(source, target)

    def _target_weights(self, target: Ints) -> Ints:
        return target if self.batch_size is None else np.maximum(target * self.batch_size, self.batch_tokens)

    def keeps(self, source: Ints, target: Ints) -> NDArray[np.bool_]:
        """True where neither side is empty or longer than `max_length`; lengths are without eos."""
        return (np.minimum(source, target) >= 1) & (np.maximum(source, target) <= self.max_length)
