"""Images to text: handwritten digits in a row, and the number that they form, in English words.

The digits are the 1,797 images of 8 × 8 pixels that ship inside scikit-learn (`sklearn.datasets.load_digits`: the test
half of Alpaydin & Kaynak 1998, "Optical recognition of handwritten digits", UCI). A number of 1 to `max_digits` digits
is drawn at random, then an image of each digit; an image is one region of F = 64 pixels, flattened row by row, from 0
to 1. The splits share no images.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from seq2seq.corpora.features import FeatureCorpus
from seq2seq.corpora.store import Frames
from seq2seq.errors import UserError

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
"""Each split's share of the images."""

BRIGHTEST = 16.0  # largest value of a pixel
BELOW_TWENTY = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


class Digits(FeatureCorpus):
    """Strips of digit images. `train`, `val` and `test` are how many strips each split has; the same `seed` gives the
    same strips.

    Raises `UserError` for sizes below 1, and for `max_digits` below 1 or above 4.
    """

    source_language, target_language = "digits", "en"

    def __init__(
        self, *, train: int = 6000, val: int = 500, test: int = 1000, max_digits: int = 4, seed: int = 1
    ) -> None:
        self.sizes = {"train": train, "val": val, "test": test}
        for name, size in self.sizes.items():
            if size < 1:
                raise UserError(f"data.corpus.{name}={size}: must be at least 1")
        if seed < 0:
            raise UserError(f"data.corpus.seed={seed}: must be at least 0")
        if not 1 <= max_digits <= 4:
            raise UserError(f"data.corpus.max_digits={max_digits}: must be from 1 to 4")
        self.max_digits, self.seed = max_digits, seed

    @property
    def splits(self) -> tuple[str, ...]:
        """The names train, val and test."""
        return tuple(self.sizes)

    def files(self, split: str) -> tuple[Path, ...]:
        """No files: the strips are generated each time they are read."""
        return ()

    def examples(self, split: str) -> Iterator[tuple[Frames, str]]:
        """The strips [R, 64] of a split, R images each, and their numbers in words."""
        images, labels = _pool(split, self.seed)
        of = [np.flatnonzero(labels == digit) for digit in range(10)]
        random = np.random.default_rng([self.seed, 1, list(SHARES).index(split)])
        for _ in range(self.sizes[split]):
            count = int(random.integers(1, self.max_digits + 1))
            number = int(random.integers(10 ** (count - 1) if count > 1 else 0, 10**count))
            yield images[[random.choice(of[int(digit)]) for digit in str(number)]], in_words(number)


def in_words(number: int) -> str:
    """A number from 0 to 9,999 in words of American English, without hyphens: 307 is "three hundred seven"."""
    if number < 20:
        return BELOW_TWENTY[number]
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if number >= size:
            rest = f" {in_words(number % size)}" if number % size else ""
            return f"{in_words(number // size)} {name}{rest}"
    return TENS[number // 10 - 2] + (f" {BELOW_TWENTY[number % 10]}" if number % 10 else "")


def _pool(split: str, seed: int) -> tuple[Frames, np.ndarray]:
    """The images [n, 64] of a split, and their digits [n]."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    bounds = np.cumsum([0, *SHARES.values()]) * len(labels)
    place = list(SHARES).index(split)
    begin, end = (round(bound) for bound in bounds[place : place + 2])
    index = np.random.default_rng([seed, 0]).permutation(len(labels))[begin:end]
    return (images[index] / BRIGHTEST).astype(np.float32), labels[index]
