"""Numbers as text, for targets that are numbers: a line has as many as every other, with spaces between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from seq2seq.errors import UserError
from seq2seq.text.tokenizer import PlainFiles, TokenizerTrainer
from seq2seq.text.vocabulary import EOS, SPECIALS

HALVES = 1 << 16
FIRST = len(SPECIALS)


class NumberTokenizer(PlainFiles):
    """A number is two tokens, the halves of its bits as a float32: `decode(encode(text))` is the same numbers.

    It keeps the `means` and standard `deviations` of the columns of the training text, by which a model's outputs are
    scaled. Raises UserError, from `encode`, for text that is not so many finite numbers.
    """

    kind: ClassVar[str] = "numbers"

    def __init__(self, means: Sequence[float], deviations: Sequence[float]) -> None:
        self.means = [float(value) for value in means]
        self.deviations = [float(value) for value in deviations]
        sound = all(np.isfinite([*self.means, *self.deviations])) and all(value > 0 for value in self.deviations)
        if not self.means or len(self.means) != len(self.deviations) or not sound:
            raise UserError("numbers: as many means as deviations are needed, all finite, and deviations above 0")

    def __len__(self) -> int:
        return FIRST + HALVES

    def describe(self) -> dict[str, Any]:
        """The mean and the deviation of each column."""
        return {"means": self.means, "deviations": self.deviations}

    def encode(self, text: str) -> list[int]:
        """Two ids a number."""
        halves = np.array(parsed(text, len(self.means)), dtype="<f4").view("<u2")
        return [int(half) + FIRST for half in halves]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each line, as `encode` gives them."""
        return [self.encode(text) for text in texts]

    def values(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """The numbers [B, K] of ids [B, 2K], without eos."""
        return (ids - FIRST).astype("<u2").view("<f4").astype(np.float32)

    def decode(self, ids: Sequence[int]) -> str:
        """The numbers of the ids; special tokens are dropped."""
        kept = [i for i in ids if i > EOS]
        return written(self.values(np.array([kept[: len(kept) // 2 * 2]], dtype=np.int64))[0])

    def decode_batch(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of each line, as `decode` gives it."""
        return [self.decode(line) for line in ids]

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Each id as four hexadecimal digits."""
        return [SPECIALS[i] if i <= EOS else f"{i - FIRST:04x}" for i in ids]


def parsed(text: str, count: int | None = None) -> list[float]:
    """The numbers of a line. Raises UserError for anything else, and for another `count` of them."""
    try:
        with np.errstate(over="ignore"):
            numbers = [float(np.float32(word)) for word in text.split()]
    except ValueError:
        raise UserError(f"{text!r} is not numbers with spaces between them, such as 0.5 or 3 -2e4") from None
    if not numbers or not np.isfinite(numbers).all():
        raise UserError(f"{text!r} is not a finite number of float32, or more than one with spaces between them")
    if count is not None and len(numbers) != count:
        raise UserError(f"{text!r} is {len(numbers)} numbers, and the first line of training has {count}")
    return numbers


def written(numbers: Iterable[float] | NDArray[Any]) -> str:
    """Numbers as text that gives the same float32 again."""
    return " ".join(f"{float(value):.9g}" for value in numbers)


@dataclass(frozen=True)
class NumberTrainer(TokenizerTrainer):
    """Finds how many numbers a line has, and the mean and standard deviation of each column."""

    joint: bool = True
    training_lines: int = 1_000_000

    def settings(self) -> dict[str, Any]:
        """All settings: each affects the means."""
        return {"kind": NumberTokenizer.kind} | asdict(self)

    def train(self, lines: Iterable[str]) -> NumberTokenizer:
        """Read the lines; a column that never changes has the deviation 1. Raises UserError for what is no number."""
        rows: list[list[float]] = []
        for line in lines:
            rows.append(parsed(line, len(rows[0]) if rows else None))
        if not rows:
            raise UserError("numbers: there is no line to learn from")
        values = np.array(rows)
        deviations = values.std(0)
        return NumberTokenizer(values.mean(0).tolist(), np.where(deviations > 0, deviations, 1.0).tolist())
