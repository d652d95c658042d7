"""Scores by properties of lines and of words, which show where a system is weak.

As in Neubig et al., "compare-mt: A Tool for Holistic Comparison of Language Generation Systems", NAACL 2019
(demonstrations): the lines of a corpus are put into buckets, each of which is scored separately; the words of outputs
and references are put into buckets by their frequency in the training text, each of which has an F1.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from rapidfuzz.distance import Levenshtein

from seq2seq.scoring.measurement import NO_RESAMPLING, Measurement, Resampling, Score, f1
from seq2seq.scoring.metrics import Words

LONGEST = (5, 10, 15, 20, 25, 30, 40, 50, 75, 100)
"""Words in the longest sentence of each bucket; one more bucket has longer sentences."""
SHARES = (0, 10, 20, 30, 50, 100)
"""Upper bounds of the buckets by percent of unseen words."""
RAREST = (0, 1, 2, 3, 4, 5, 10, 100, 1000)
"""Lower bounds of the buckets by occurrences in training, as in compare-mt."""
SPEECH = frozenset("N PROPN ADJ PRO CLF ART DET V V.PTCP V.MSDR V.CVB ADV AUX ADP COMP CONJ NUM PART INTJ".split())
"""UniMorph's tags of parts of speech (Sylak-Glassman 2016, §5.15)."""
FEW = 20
"""Lines below which a bucket's score gets no interval."""

Split = Callable[[str], Sequence[str]]
Groups = list[tuple[str, list[int]]]
"""Labels of non-empty buckets, and the numbers of their lines."""


class Bucket(NamedTuple):
    """The scores of a bucket of `size` lines (or words)."""

    label: str
    size: int
    scores: list[Score]


class Breakdown(NamedTuple):
    """The same buckets for each system; `by` is the property that defines them, `counted` the unit of their size."""

    by: str
    counted: str
    systems: Mapping[str, Sequence[Bucket]]


def length_groups(sources: Sequence[str], split: Split = str.split) -> Groups:
    """Lines by number of words in the source; by default, words are separated by white space."""
    bounds = [0, *(longest + 1 for longest in LONGEST)]
    labels = [f"{max(first, 1)}–{last}" for first, last in zip(bounds, LONGEST, strict=False)] + [f"{bounds[-1]}+"]
    return _groups([sum(len(split(source)) > longest for longest in LONGEST) for source in sources], labels)


def unseen_groups(sources: Sequence[str], known: Collection[str], split: Split) -> Groups:
    """Lines by the share of unseen words in their source: words that are not in `known`. Without words it is 0."""
    texts = [split(source) for source in sources]
    shares = [100 * sum(word not in known for word in words) / max(len(words), 1) for words in texts]
    labels = ["0%", *(f">{low}–{high}%" for low, high in pairwise(SHARES))]
    return _groups([sum(share > bound for bound in SHARES) for share in shares], labels)


def speech_groups(tags: Sequence[Sequence[str]]) -> Groups:
    """Lines by the part of speech among their tags (else by their first tag), the most frequent first."""
    groups: dict[str, list[int]] = {}
    for line, each in enumerate(tags):
        groups.setdefault(next((tag for tag in each if tag in SPEECH), each[0] if each else ""), []).append(line)
    return sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))


def tag_groups(tags: Sequence[Sequence[str]]) -> Groups:
    """The lines that have each tag, which may be several groups', the most frequent first."""
    groups: dict[str, list[int]] = {}
    for line, each in enumerate(tags):
        for tag in dict.fromkeys(each):
            groups.setdefault(tag, []).append(line)
    return sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))


def confusions(outputs: Iterable[Sequence[str]], references: Iterable[Sequence[str]]) -> Counter[tuple[str, str]]:
    """How often a segment (letter, phoneme) of a reference became another in the output, by a shortest sequence of
    edits: (reference, output), of which one is empty where the segment is missing from the other."""
    counted = Counter[tuple[str, str]]()
    for output, reference in zip(outputs, references, strict=True):
        for edit in Levenshtein.editops(reference, output):
            kind, i, j = edit.tag, edit.src_pos, edit.dest_pos
            counted["" if kind == "insert" else reference[i], "" if kind == "delete" else output[j]] += 1
    return counted


def by_lines(
    by: str, groups: Groups, systems: Mapping[str, Sequence[Measurement]], draws: Resampling = NO_RESAMPLING
) -> Breakdown:
    """Score each group of lines separately, with every metric of each system. Groups of fewer than `FEW` lines get no
    intervals, as their resamples are not representative."""

    def bucket(label: str, lines: list[int], measured: Sequence[Measurement]) -> Bucket:
        drawn = draws if len(lines) >= FEW else NO_RESAMPLING
        return Bucket(label, len(lines), [each.of(lines).score(drawn) for each in measured])

    scored = {system: [bucket(*group, measured) for group in groups] for system, measured in systems.items()}
    return Breakdown(by, "lines", scored)


def by_frequency(
    systems: Mapping[str, Sequence[str]],
    references: Sequence[Sequence[str]],
    training: Counter[str],
    words: Words,
    draws: Resampling = NO_RESAMPLING,
) -> Breakdown:
    """F1 of words, by their frequency in training (its `counts`).

    The matches of a word in a line are the smaller of its counts on both sides. Over all lines, F1 = 2 · matches /
    (words of the outputs + words of the references), for the words of the bucket. With several references, each is
    paired with the output. A bucket's size is its number of reference words; empty buckets are left out.
    """
    signature = f"nrefs:{len(references)}|unit:word|tok:{words.signature}|case:mixed"
    streams = [[Counter(words(line)) for line in stream] for stream in references]
    scored = {}
    for system, lines in systems.items():
        statistics = _matches([Counter(words(line)) for line in lines], streams, training)
        scored[system] = [
            Bucket(label, int(each[:, 2].sum()), [Measurement("F1", signature, each, f1).score(draws)])
            for label, each in zip(_frequencies(), statistics, strict=True)
            if each[:, 2].any()
        ]
    return Breakdown("frequency of words in training", "words", scored)


def _matches(
    outputs: Sequence[Counter[str]], references: Sequence[Sequence[Counter[str]]], training: Counter[str]
) -> np.ndarray:
    """Counts by bucket and line [buckets, n, 3]: matches, words of the output, words of the reference."""
    statistics = np.zeros((len(RAREST), len(outputs), 3))
    for stream in references:
        for line, (output, right) in enumerate(zip(outputs, stream, strict=True)):
            for column, counted in enumerate((output & right, output, right)):
                for word, count in counted.items():
                    statistics[bisect(RAREST, training[word]) - 1, line, column] += count
    return statistics


def counts(lines: Iterable[str], split: Split) -> Counter[str]:
    """The frequency of each word in `lines`."""
    words = Counter[str]()
    for line in lines:
        words.update(split(line))
    return words


def _groups(buckets: Sequence[int], labels: Sequence[str]) -> Groups:
    """The non-empty buckets, in order, with the numbers of their lines; `buckets` is the bucket of each line."""
    members: dict[int, list[int]] = {}
    for line, bucket in enumerate(buckets):
        members.setdefault(bucket, []).append(line)
    return [(labels[bucket], members[bucket]) for bucket in sorted(members)]


def _frequencies() -> list[str]:
    last = [f"{bound - 1}" for bound in RAREST[1:]]
    ranges = [first if first == end else f"{first}–{end}" for first, end in zip(map(str, RAREST), last, strict=False)]
    return [*ranges, f"{RAREST[-1]}+"]
