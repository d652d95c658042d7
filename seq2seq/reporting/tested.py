"""The outputs of runs for their test sets: texts, scores by source length, and differences in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rapidfuzz.distance import Levenshtein

from seq2seq.corpora.readers import lines
from seq2seq.errors import UserError
from seq2seq.models.task_descriptors import TASKS
from seq2seq.reporting.runs import Notes, Run
from seq2seq.reporting.wording import finite
from seq2seq.scoring import NAMES, Score, Scorer
from seq2seq.scoring.breakdowns import length_groups

OUTPUTS = tuple(dict.fromkeys(each.output for each in TASKS.values()))
"""The names in SPLIT.NAME.txt, a task's output; `lines` has a language model's lines, each after its bits per
character."""

SIGNS = r"!-/:-@\[-`{-~¡-¿‐-⁞、-〿！-／：-＠"  # punctuation: ASCII, Latin, general, CJK and full width
SPACELESS = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana and ideographs
EDGE = rf"[^\s{SIGNS}{SPACELESS}]"
WORD = re.compile(rf"({EDGE}(?:[^\s{SPACELESS}]*{EDGE})?|[{SIGNS}{SPACELESS}])(\s*)")
"""A word without adjacent punctuation, a punctuation mark, or a character of a script without spaces."""


class Tested(NamedTuple):
    """A test set and a run's output for it, line by line; `sources` are empty if they are not text."""

    run: Run
    split: str
    sources: Sequence[str]
    references: Sequence[str]
    outputs: Sequence[str]


class Breakdown(NamedTuple):
    """A run's score in buckets of source length: (words, sentences, value)."""

    run: Run
    metric: str
    buckets: Sequence[tuple[str, int, float]]
    overall: Score


class Part(NamedTuple):
    """Adjacent words that are the `same` in output and reference, `extra` in the output, or `missing` from it."""

    kind: str
    text: str


def splits(run: Run) -> list[str]:
    """The test sets for which a run has output."""
    suffixes = tuple(f".{name}.txt" for name in OUTPUTS)
    names = sorted(path.name for path in run.folder.glob("*.txt") if path.name.endswith(suffixes))
    return list(dict.fromkeys(name.rsplit(".", 2)[0] for name in names))


def read_tested(run: Run, split: str, notes: Notes) -> Tested | None:
    """Output, sources and references of a test set, from the run's folder, or else from its corpus; None, with a note,
    if they are missing or do not belong together."""
    place = run.folder / f"{split}.references.txt"
    try:
        output = next(path for name in OUTPUTS if (path := run.folder / f"{split}.{name}.txt").exists())
        outputs = _lines(output)
        if output.name.endswith(".lines.txt"):
            texts = [line.partition("\t")[2] for line in outputs]
            return Tested(run, split, texts, texts, outputs)
        sources, references = _stored(run, split) if place.exists() else _corpus(run, split)
        if len(references) != len(outputs) or (sources and len(sources) != len(outputs)):
            raise UserError(f"{len(outputs)} outputs, {len(sources)} sources and {len(references)} references")
        test = Tested(run, split, sources, references, outputs)
        if not place.exists() and (wrong := _changed(test)):
            raise UserError(f"its corpus is not what it was: {wrong}")
        return test
    except (OSError, ValueError, UserError) as error:
        notes.add(place, f"the test set {split} is missing, so its texts are left out ({error})")
    return None


def _lines(path: Path) -> list[str]:
    return list(lines(path))


def _stored(run: Run, split: str) -> tuple[list[str], list[str]]:
    sources = run.folder / f"{split}.sources.txt"
    return _lines(sources) if sources.exists() else [], _lines(run.folder / f"{split}.references.txt")


def _corpus(run: Run, split: str) -> tuple[list[str], list[str]]:
    """Sources and references from the run's corpus, if its folder has none. Nothing is downloaded."""
    from seq2seq.corpora import Corpus
    from seq2seq.models import factory

    data = run.config.get("data")
    node = data.get("corpus") if isinstance(data, Mapping) else None
    corpus = factory.component(node, "data.corpus", (), (), Corpus)()
    corpus.check(split)
    pairs = list(corpus.pairs(split))
    return [source for source, _ in pairs], [target for _, target in pairs]


def score_by_length(tested: Tested, notes: Notes) -> Breakdown | None:
    """The run's first metric in buckets of source length; None if the sources are not text, or scoring fails.

    A note is added if the overall score is not the recorded one, because files or versions have changed.
    """
    if not tested.sources:
        return None
    try:
        metric, score = _scorer(tested)
        every = score(range(len(tested.sources)))
        buckets = [(words, len(lines), score(lines).value) for words, lines in length_groups(tested.sources)]
    except (UserError, ValueError, KeyError) as error:
        notes.add(tested.run.folder, f"{tested.split} has no scores by length ({error})")
        return None
    if wrong := _changed(tested):
        notes.add(tested.run.folder, f"its files are not what they were: {wrong}")
    return Breakdown(tested.run, metric, buckets, every)


def _changed(tested: Tested) -> str:
    """A message if the score of these texts is not the one that the run recorded (only known with one test set)."""
    metric, score = _scorer(tested)
    recorded = tested.run.row.get(metric)
    if not finite(recorded) or splits(tested.run) != [tested.split]:
        return ""
    current = score(range(len(tested.outputs))).value
    return f"{metric} is {current:.2f}, but {recorded:.2f} was recorded" if abs(recorded - current) > 0.01 else ""


def _scorer(tested: Tested) -> tuple[str, Callable[[Sequence[int]], Score]]:
    """The metric of a run, and a function that scores a subset of its lines."""
    run, outputs, references = tested.run, tested.outputs, tested.references
    task = TASKS.get(run.task, TASKS["translation"])
    scorer: Any
    metric = task.test_metric
    if task.source is None:
        return metric, lambda lines: _bits_per_character([outputs[i] for i in lines])
    if task.label_unit:
        scorer = _label_scorer(run, task.label_unit)
    else:
        by_name = {name: key for key, name in NAMES.items()}
        metric = next((name for name in run.row["signatures"] if name in by_name), metric)
        scorer = Scorer((by_name[metric],))
    return metric, lambda lines: scorer([outputs[i] for i in lines], [references[i] for i in lines])[metric]


def _label_scorer(run: Run, unit: Literal["word", "text"]) -> Any:
    from seq2seq.scoring.label_metrics import LabelScorer
    from seq2seq.text import LabelTokenizer, load_tokenizer

    labels = load_tokenizer(run.bundle, "target")
    assert isinstance(labels, LabelTokenizer)
    entities = bool(run.settings.get("task.entities"))
    return LabelScorer(labels, entities=entities, unit=unit)


def _bits_per_character(lines: Sequence[str]) -> Score:
    """The mean bits per character of lines (bits, a tab, text), weighted by their characters with the line feed."""
    rates = [(float(bits), len(text) + 1) for bits, _, text in (line.partition("\t") for line in lines)]
    characters = sum(count for _, count in rates)
    return Score("bits per character", sum(bits * count for bits, count in rates) / characters, "of:lines")


def comparable(tests: Sequence[Tested]) -> list[Tested]:
    """The tests that have the same lines as the first, and references."""
    alike = [test for test in tests if (test.sources, test.references) == (tests[0].sources, tests[0].references)]
    return [test for test in alike if test.run.task not in TASKS or TASKS[test.run.task].source]


def edits(output: str, reference: str) -> int:
    """The edit distance between two texts in words (of WORD)."""
    return int(Levenshtein.distance(*_words(output, reference)))


def differences(output: str, reference: str) -> list[Part]:
    """The output in parts, with the reference's words where they differ, by difflib's longest matches."""
    (output_words, reference_words), (shown, expected) = (
        _words(output, reference),
        _words(output, reference, spaced=True),
    )
    parts: list[Part] = []
    for _, i, j, k, n in SequenceMatcher(None, reference_words, output_words, autojunk=False).get_opcodes():
        same = reference_words[i:j] == output_words[k:n]
        texts = [] if same or i == j else [("missing", "".join(expected[i:j]).rstrip() + " ")]
        for kind, text in [*texts, ("same" if same else "extra", "".join(shown[k:n]))]:
            parts += [Part(kind, text.rstrip())] * bool(text.strip()) + [Part("same", " ")] * text.endswith(" ")
    return parts


def _words(output: str, reference: str, *, spaced: bool = False) -> tuple[list[str], list[str]]:
    """The words of both texts; `spaced` includes the space after each."""
    output_words, reference_words = (
        [word + rest * spaced for word, rest in WORD.findall(text)] for text in (output, reference)
    )
    return output_words, reference_words


def telling(tests: Sequence[Tested], count: int) -> dict[str, list[int]]:
    """Select lines, by reason: some spread over the test set, and those where runs differ most (or one run is worst).

    A line is worse if it has more `edits` a word of the reference. All tests have the same lines.
    """
    references = tests[0].references
    rates = [
        [edits(output, right) / max(1, len(WORD.findall(right))) for output, right in zip(test.outputs, references)]
        for test in tests
    ]
    each = list(zip(*rates, strict=True))
    spread = list(range(0, len(references), max(1, len(references) // count)))[:count]
    if len(tests) > 1:
        apart = sorted(range(len(each)), key=lambda i: min(each[i]) - max(each[i]))
        apart = [i for i in apart if max(each[i]) > min(each[i]) and i not in spread]
        return {"Spread over the test set": spread, "Where the runs differ most": apart[:count]}
    worst = [i for i in sorted(range(len(each)), key=lambda i: -each[i][0]) if each[i][0] and i not in spread]
    return {"Spread over the test set": spread, "Furthest from the reference": worst[:count]}
