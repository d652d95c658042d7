"""Strings to copy or to reverse, as tab-separated pairs of symbols with spaces between them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

SYMBOLS = [chr(ord("a") + i) for i in range(20)]
NEW = [chr(ord("A") + i) for i in range(10)]
"""Symbols that are in no training pair."""
TRAINING, TESTED = 10, 20
"""The longest strings of training, and of tests."""
RARE = 0.2
"""Share of the symbols of the training strings of `copy_new` that occur in one pair only, so that they are unknown."""


def write(folder: Path, *, reverse: bool = False, rare: bool = False, train: int = 4000, test: int = 1000) -> None:
    """Write train.tsv and val.tsv of lengths 1 to 10, and test.tsv of `test` strings that training does not have: of
    lengths 11 to 20 to copy, of 1 to 20 to reverse. With `rare` some symbols of training are unknown ones, and half of
    those of the other files are `NEW`."""
    folder.mkdir(parents=True, exist_ok=True)
    source = random.Random(1)
    seen: set[str] = set()
    for name, count in (("train", train), ("val", 200), ("test", test)):
        lengths = range(1 if name != "test" or reverse else TRAINING + 1, (TESTED if name == "test" else TRAINING) + 1)
        strings: list[list[str]] = []
        while len(strings) < count:
            string = list(_symbols(source, source.choice(lengths), name, rare))
            if name == "train" or " ".join(string) not in seen:
                strings.append(string)
                seen.add(" ".join(string))
        pairs = ((each, each[::-1] if reverse else each) for each in strings)
        lines = [f"{' '.join(one)}\t{' '.join(other)}\n" for one, other in pairs]
        (folder / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")


def _symbols(source: random.Random, length: int, name: str, rare: bool) -> Iterator[str]:
    for _ in range(length):
        if rare and name == "train" and source.random() < RARE:
            yield f"x{source.randrange(10**9)}"
        elif rare and name != "train" and source.random() < 0.5:
            yield source.choice(NEW)
        else:
            yield source.choice(SYMBOLS)
