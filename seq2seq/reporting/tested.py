"""What runs made of their test sets: the texts, scores by source length, and the words in which outputs differ."""

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
"""SPLIT.NAME.txt holds the output of a task; `lines` those of a language model, each after its bits per character."""

SIGNS = r"!-/:-@\[-`{-~¡-¿‐-⁞、-〿！-／：-＠"  # punctuation of ASCII, Latin, general, CJK and full width
SPACELESS = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana and ideographs
EDGE = rf"[^\s{SIGNS}{SPACELESS}]"
WORD = re.compile(rf"({EDGE}(?:[^\s{SPACELESS}]*{EDGE})?|[{SIGNS}{SPACELESS}])(\s*)")
"""A word without the punctuation at its edges, a sign of punctuation, or a character of a script without spaces."""


class Tested(NamedTuple):
    """A test set and what a run made of it, line by line; `sources` are empty where they are no text."""

    run: Run
    split: str
    sources: Sequence[str]
    references: Sequence[str]
    outputs: Sequence[str]


class Breakdown(NamedTuple):
    """A run's score over buckets of source length: (words, sentences, value)."""

    run: Run
    metric: str
    buckets: Sequence[tuple[str, int, float]]
    overall: Score


class Part(NamedTuple):
    """Neighbouring words: `same` in output and reference, `extra` in the output, or `missing` from it."""

    kind: str
    text: str


def splits(run: Run) -> list[str]:
    """The test sets that a run left output of."""
    suffixes = tuple(f".{name}.txt" for name in OUTPUTS)
    names = sorted(path.name for path in run.folder.glob("*.txt") if path.name.endswith(suffixes))
    return list(dict.fromkeys(name.rsplit(".", 2)[0] for name in names))


def read_tested(run: Run, split: str, notes: Notes) -> Tested | None:
    """Output, sources and references of a test set, from the run's folder, else from its corpus where the data are at
    hand; None, and a note, where there are none or they do not fit each other."""
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
        found = Tested(run, split, sources, references, outputs)
        if not place.exists() and (wrong := _changed(found)):
            raise UserError(f"its corpus is not what it was: {wrong}")
        return found
    except (OSError, ValueError, UserError) as error:
        notes.add(place, f"what {split} was tested on is not at hand, so its texts are left out ({error})")
    return None


def _lines(path: Path) -> list[str]:
    return list(lines(path))


def _stored(run: Run, split: str) -> tuple[list[str], list[str]]:
    sources = run.folder / f"{split}.sources.txt"
    return _lines(sources) if sources.exists() else [], _lines(run.folder / f"{split}.references.txt")


def _corpus(run: Run, split: str) -> tuple[list[str], list[str]]:
    """For runs that did not keep their test sets. Nothing is downloaded."""
    from seq2seq.corpora import Corpus
    from seq2seq.models import factory

    data = run.config.get("data")
    node = data.get("corpus") if isinstance(data, Mapping) else None
    corpus = factory.component(node, "data.corpus", (), (), Corpus)()
    corpus.check(split)
    pairs = list(corpus.pairs(split))
    return [source for source, _ in pairs], [target for _, target in pairs]


def score_by_length(tested: Tested, notes: Notes) -> Breakdown | None:
    """The run's first score over buckets of source length; None where sources are no text, or nothing is scored.

    A note says so where the overall score is not the one that the run recorded: files or versions have changed.
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
    """How the score of these texts differs from that which the run recorded, where it had one test set only."""
    metric, score = _scorer(tested)
    recorded = tested.run.row.get(metric)
    if not finite(recorded) or splits(tested.run) != [tested.split]:
        return ""
    found = score(range(len(tested.outputs))).value
    return f"{metric} is {found:.2f}, but {recorded:.2f} was recorded" if abs(recorded - found) > 0.01 else ""


def _scorer(tested: Tested) -> tuple[str, Callable[[Sequence[int]], Score]]:
    """The metric of a task, and how some lines of its output are scored."""
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
    """Mean of lines of bits per character, a tab, and text, each weighted by its characters, the line feed counted."""
    rates = [(float(bits), len(text) + 1) for bits, _, text in (line.partition("\t") for line in lines)]
    characters = sum(count for _, count in rates)
    return Score("bits per character", sum(bits * count for bits, count in rates) / characters, "of:lines")


def comparable(tests: Sequence[Tested]) -> list[Tested]:
    """Those that were tested on the same lines as the first, and have references to be compared with."""
    alike = [test for test in tests if (test.sources, test.references) == (tests[0].sources, tests[0].references)]
    return [test for test in alike if test.run.task not in TASKS or TASKS[test.run.task].source]


def edits(output: str, reference: str) -> int:
    """Words (see WORD) to insert, delete or replace to turn one text into the other."""
    return int(Levenshtein.distance(*_words(output, reference)))


def differences(output: str, reference: str) -> list[Part]:
    """The output with, where it differs, the words of the reference: by difflib's longest matches, joined as read."""
    (found, right), (shown, expected) = _words(output, reference), _words(output, reference, spaced=True)
    parts: list[Part] = []
    for _, i, j, k, n in SequenceMatcher(None, right, found, autojunk=False).get_opcodes():
        same = right[i:j] == found[k:n]
        texts = [] if same or i == j else [("missing", "".join(expected[i:j]).rstrip() + " ")]
        for kind, text in [*texts, ("same" if same else "extra", "".join(shown[k:n]))]:
            parts += [Part(kind, text.rstrip())] * bool(text.strip()) + [Part("same", " ")] * text.endswith(" ")
    return parts


def _words(output: str, reference: str, *, spaced: bool = False) -> tuple[list[str], list[str]]:
    """The words of both texts; `spaced` keeps the space after each."""
    found, right = ([word + rest * spaced for word, rest in WORD.findall(text)] for text in (output, reference))
    return found, right


def telling(tests: Sequence[Tested], count: int) -> dict[str, list[int]]:
    """Lines worth reading, by why: spread over the test set, and where runs differ most (one run: where it is worst).

    Worse is more `edits` a word of the reference. All tests are of the same lines.
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
