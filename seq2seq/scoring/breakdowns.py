"""Scores by properties of lines and of words: where a system is weak, not only how weak it is.

As in Neubig et al., "compare-mt: A Tool for Holistic Comparison of Language Generation Systems", NAACL 2019
(demonstrations): the lines of a corpus are put into buckets and each is scored by itself; the words of outputs and
references are put into buckets by how often training has them, and each bucket has its F1.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from seq2seq.scoring.measurement import NO_RESAMPLING, Measurement, Resampling, Score, f1
from seq2seq.scoring.metrics import Words

LONGEST = (5, 10, 15, 20, 25, 30, 40, 50, 75, 100)
"""Words in the longest sentence of each bucket; one more bucket holds what is longer."""
SHARES = (0, 10, 20, 30, 50, 100)
"""Percent of unseen words up to which a line belongs to a bucket."""
RAREST = (0, 1, 2, 3, 4, 5, 10, 100, 1000)
"""Occurrences in training from which on a word belongs to a bucket: compare-mt's."""
FEW = 20
"""Lines: a score of fewer says little."""

Split = Callable[[str], Sequence[str]]
Groups = list[tuple[str, list[int]]]
"""Names of buckets and the numbers of their lines, none of them empty."""


class Bucket(NamedTuple):
    """The scores of the lines (or words) that a bucket holds."""

    label: str
    size: int
    scores: list[Score]


class Breakdown(NamedTuple):
    """The same buckets of each system; `by` names what makes a bucket, `counted` what its size counts."""

    by: str
    counted: str
    systems: Mapping[str, Sequence[Bucket]]


def length_groups(sources: Sequence[str], split: Split = str.split) -> Groups:
    """Lines by words of the source: runs without white space, unless `split` finds others."""
    bounds = [0, *(longest + 1 for longest in LONGEST)]
    labels = [f"{max(first, 1)}–{last}" for first, last in zip(bounds, LONGEST, strict=False)] + [f"{bounds[-1]}+"]
    return _groups([sum(len(split(source)) > longest for longest in LONGEST) for source in sources], labels)


def unseen_groups(sources: Sequence[str], known: Collection[str], split: Split) -> Groups:
    """Lines by the share of their source's words that are not among the `known`. A line without words has none."""
    texts = [split(source) for source in sources]
    shares = [100 * sum(word not in known for word in words) / max(len(words), 1) for words in texts]
    labels = ["0%", *(f">{low}–{high}%" for low, high in pairwise(SHARES))]
    return _groups([sum(share > bound for bound in SHARES) for share in shares], labels)


def by_lines(
    by: str, groups: Groups, systems: Mapping[str, Sequence[Measurement]], draws: Resampling = NO_RESAMPLING
) -> Breakdown:
    """Each group of lines scored by itself, under every metric of each system; intervals only of at least `FEW` lines,
    for resamples of fewer do not say what other lines would give."""

    def bucket(label: str, lines: list[int], measured: Sequence[Measurement]) -> Bucket:
        drawn = draws if len(lines) >= FEW else NO_RESAMPLING
        return Bucket(label, len(lines), [each.of(lines).score(drawn) for each in measured])

    found = {system: [bucket(*group, measured) for group in groups] for system, measured in systems.items()}
    return Breakdown(by, "lines", found)


def by_frequency(
    systems: Mapping[str, Sequence[str]],
    references: Sequence[Sequence[str]],
    training: Counter[str],
    words: Words,
    draws: Resampling = NO_RESAMPLING,
) -> Breakdown:
    """F1 of the words that training (`counts` of it) has so often.

    In a line a word matches as often as both sides have it. Over all lines, F1 = 2 · matches / (words of the outputs +
    words of the references), each of those in the bucket. Several references are so many pairs with the same output.
    A bucket's size is its number of reference words; one that has none is left out.
    """
    signature = f"nrefs:{len(references)}|unit:word|tok:{words.signature}|case:mixed"
    streams = [[Counter(words(line)) for line in stream] for stream in references]
    found = {}
    for system, lines in systems.items():
        statistics = _matches([Counter(words(line)) for line in lines], streams, training)
        found[system] = [
            Bucket(label, int(each[:, 2].sum()), [Measurement("F1", signature, each, f1).score(draws)])
            for label, each in zip(_frequencies(), statistics, strict=True)
            if each[:, 2].any()
        ]
    return Breakdown("frequency of words in training", "words", found)


def _matches(
    outputs: Sequence[Counter[str]], references: Sequence[Sequence[Counter[str]]], training: Counter[str]
) -> np.ndarray:
    """By bucket and line [buckets, n, 3]: matches, words of the output, words of the reference."""
    statistics = np.zeros((len(RAREST), len(outputs), 3))
    for stream in references:
        for line, (output, right) in enumerate(zip(outputs, stream, strict=True)):
            for column, counted in enumerate((output & right, output, right)):
                for word, count in counted.items():
                    statistics[bisect(RAREST, training[word]) - 1, line, column] += count
    return statistics


def counts(lines: Iterable[str], split: Split) -> Counter[str]:
    """How often each word occurs."""
    found = Counter[str]()
    for line in lines:
        found.update(split(line))
    return found


def _groups(buckets: Sequence[int], labels: Sequence[str]) -> Groups:
    """Lines by the number of their bucket."""
    members: dict[int, list[int]] = {}
    for line, bucket in enumerate(buckets):
        members.setdefault(bucket, []).append(line)
    return [(labels[bucket], members[bucket]) for bucket in sorted(members)]


def _frequencies() -> list[str]:
    last = [f"{bound - 1}" for bound in RAREST[1:]]
    ranges = [first if first == end else f"{first}–{end}" for first, end in zip(map(str, RAREST), last, strict=False)]
    return [*ranges, f"{RAREST[-1]}+"]
