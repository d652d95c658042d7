"""Scores of word forms by their tags and parts of speech, all errors of several runs in one table, and what became of
which letter: for tests whose sources have tags (`kuzu⇥N;LOC;SG`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from seq2seq.errors import UserError
from seq2seq.reporting.runs import Notes
from seq2seq.reporting.tested import Tested
from seq2seq.scoring import Scorer
from seq2seq.scoring.breakdowns import Breakdown, by_lines, confusions, speech_groups, tag_groups
from seq2seq.text import load_tokenizers
from seq2seq.text.tokenizer import Columned, columns_of

METRICS = ("exact", "levenshtein")
ERRORS, CONFUSIONS = 500, 20  # most lines and pairs of segments that a page shows


class Forms(NamedTuple):
    """The forms of a test set: scores by part of speech and by tag, the numbers of the lines in which any run has an
    error, and the most frequent confusions of each run: (of the reference, of the output), and how often."""

    tests: Sequence[Tested]
    breakdowns: Sequence[Breakdown]
    errors: Sequence[int]
    confusions: Sequence[Sequence[tuple[tuple[str, str], int]]]


def breakdowns(
    sources: Sequence[str],
    outputs: Mapping[str, Sequence[str]],
    references: Sequence[str],
    columns: Columned,
    metrics: Sequence[str] = METRICS,
) -> list[Breakdown]:
    """Scores by part of speech and by tag of the outputs of several systems; none where sources have no tags."""
    tags = [columns.tags(source) for source in sources]
    if not any(tags):
        return []
    measured = {name: Scorer(metrics).measure(lines, references) for name, lines in outputs.items()}
    groups = {"part of speech": speech_groups(tags), "tag": tag_groups(tags)}
    return [by_lines(by, each, measured) for by, each in groups.items()]


def rows(breakdown: Breakdown) -> Iterator[list[str]]:
    """A breakdown as the cells of a table: a head, and a row for each bucket with the scores of each system."""
    first, several = next(iter(breakdown.systems.values())), len(breakdown.systems) > 1
    names = [
        f"{score.name} {system}" if several else score.name
        for system, buckets in breakdown.systems.items()
        for score in buckets[0].scores
    ]
    yield [breakdown.by, "forms", *names]
    for number, bucket in enumerate(first):
        scores = (score for buckets in breakdown.systems.values() for score in buckets[number].scores)
        yield [bucket.label, str(bucket.size), *(f"{score.value:.2f}" for score in scores)]


def forms(tests: Sequence[Tested], notes: Notes) -> Forms | None:
    """What a page shows of tests with the same lines; None where their sources have no tags."""
    if not tests or not tests[0].sources or "\t" not in tests[0].sources[0]:
        return None
    first = tests[0]
    try:
        columns = columns_of(load_tokenizers(first.run.bundle).source)
    except UserError as error:
        notes.add(first.run.folder, f"{first.split} has no scores by tag ({error})")
        return None
    outputs = {test.run.name: test.outputs for test in tests}
    if columns is None or not (scored := breakdowns(first.sources, outputs, first.references, columns)):
        return None
    wrong = [i for i, right in enumerate(first.references) if any(test.outputs[i] != right for test in tests)]
    confused = [confusions(test.outputs, first.references).most_common(CONFUSIONS) for test in tests]
    return Forms(tests, scored, wrong, confused)
