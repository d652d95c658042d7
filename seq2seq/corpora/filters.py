"""Why a sentence pair of a parallel corpus is left out: length, ratio of lengths, identical sides, wrong script,
repetition. Each rule looks at one pair; the first that applies is the reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import chain, islice
from typing import Literal, NamedTuple

import numpy as np

from seq2seq.corpora.scripts import main_scripts, share_of
from seq2seq.errors import UserError

Pair = tuple[str, str]
Unit = Literal["words", "characters"]
SAMPLE = 10_000  # pairs from which the scripts of both sides are taken
OWN_SHARE = 0.5  # of its letters that a side has in its own script at least: names of another one stay

COUNTS: dict[str, Callable[[str], int]] = {"words": lambda text: len(text.split()), "characters": len}


class Rule(NamedTuple):
    """The name of a reason to leave a pair out, what it means, and whether it applies."""

    name: str
    meaning: str
    rejects: Callable[[str, str], bool]


def length_rule(least: int, most: float, unit: Unit) -> Rule:
    """Each side has `least` to `most` words or characters. Raises UserError where no pair could."""
    if not 0 <= least <= most:
        raise UserError(f"--length {least}:{most:g}: the first number must not be above the second, and not below 0")
    count = COUNTS[unit]
    return Rule(
        "length",
        f"a side without {least} to {most:g} {unit}",
        lambda source, target: not least <= count(source) <= most or not least <= count(target) <= most,
    )


def ratio_rule(most: float, unit: Unit) -> Rule:
    """Neither side has more than `most` times the words or characters of the other. Raises UserError below 1."""
    if not (math.isfinite(most) and most >= 1):
        raise UserError(f"--ratio {most:g}: must be a number of at least 1: the longer side divided by the shorter")
    count = COUNTS[unit]

    def rejects(source: str, target: str) -> bool:
        short, long = sorted((count(source), count(target)))
        return long > most * short

    return Rule("ratio", f"one side has more than {most:g} times the {unit} of the other", rejects)


def identical_rule() -> Rule:
    """The sides are the same text, spaces at the ends aside."""
    return Rule("identical", "both sides are the same", lambda source, target: source.strip() == target.strip())


def script_rule(sample: Sequence[Pair]) -> Rule:
    """Each side is in the script that a sample tells. Raises UserError where a side of that has no letters."""
    sides = [main_scripts(side) for side in zip(*sample, strict=True)] if sample else []
    if not all(sides) or not sides:
        raise UserError("--script: the first lines of a side have no letters; leave the option out")
    source_scripts, target_scripts = sides

    def rejects(source: str, target: str) -> bool:
        return share_of(source, source_scripts) < OWN_SHARE or share_of(target, target_scripts) < OWN_SHARE

    names = " | ".join("+".join(sorted(side)) for side in sides)
    return Rule("script", f"fewer than half of a side's letters are {names}", rejects)


def duplicates_rule() -> Rule:
    """The same pair came before. Holds a digest of 16 bytes a pair, about 100 bytes of memory."""
    seen: set[bytes] = set()

    def rejects(source: str, target: str) -> bool:
        digest = blake2b(f"{source}\n{target}".encode(), digest_size=16).digest()
        if digest in seen:
            return True
        seen.add(digest)
        return False

    return Rule("duplicates", "the same pair came before", rejects)


def with_script_rule(rules: Sequence[Rule], pairs: Iterable[Pair], at: int) -> tuple[list[Rule], Iterator[Pair]]:
    """The rules with that of scripts at its place, made from the first pairs; and all pairs."""
    stream = iter(pairs)
    sample = list(islice(stream, SAMPLE))
    return [*rules[:at], script_rule(sample), *rules[at:]], chain(sample, stream)


def threshold(scores: Sequence[float], quantile: float) -> float:
    """The score below which a share `quantile` of the scores is (of equal ones, none)."""
    position = math.floor(quantile * len(scores) + 1e-9)  # a share such as 0.29 is just below what it says
    return float(np.partition(np.asarray(scores), position)[position])
