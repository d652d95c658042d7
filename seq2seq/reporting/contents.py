"""The content of a report or its figures: read from the folders of runs, and computed with their models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from seq2seq.reporting import series, tested
from seq2seq.reporting.forms import Forms, forms
from seq2seq.reporting.inspection import Inspected, inspect
from seq2seq.reporting.runs import Group, Notes, Run, find_runs, groups
from seq2seq.reporting.series import Chart, Lengths
from seq2seq.reporting.tested import Tested

LONG, LETTERS = 40, 300  # words and letters: longer sentences get no heat map


class Options(NamedTuple):
    """What is shown: texts of the `top` runs of each task, `sentences` of each kind; whether the `models` are run, and
    the trusted packages for their components."""

    top: int = 8
    sentences: int = 5
    models: bool = True
    trusted: Sequence[str] = ()


class Comparison(NamedTuple):
    """Outputs of one or several runs for the same lines of a test set; `why` says how `lines` were selected."""

    split: str
    why: str
    tests: Sequence[Tested]
    lines: Sequence[int]


class InspectedSource(NamedTuple):
    """The outputs of several models for one source."""

    source: str
    answers: Sequence[tuple[Run, Inspected]]


class Contents(NamedTuple):
    """All content of a report; `groups` are the runs, grouped if they differ in their seed only."""

    runs: Sequence[Run]
    groups: Sequence[Group]
    charts: Sequence[Chart]
    lengths: Sequence[tuple[str, Lengths]]  # with the name of the test set
    comparisons: Sequence[Comparison]
    forms: Sequence[Forms]
    inspected: Sequence[InspectedSource]
    notes: Notes

    @property
    def tasks(self) -> list[str]:
        """The tasks of the runs, in order of their first run."""
        return list(dict.fromkeys(run.task for run in self.runs))

    def place(self, task: str, split: str) -> str:
        """The label of a test set; it includes the task if there are several."""
        return f"{task.replace('_', ' ')}, {split}" if len(self.tasks) > 1 else split


def gather(paths: Sequence[Path], options: Options) -> Contents:
    """Read the runs in `paths`, the folders of runs or sweeps. Raises `UserError` if there are none."""
    runs, notes = find_runs(paths)
    grouped = groups(runs)
    top = _top(runs, options.top)
    if len(top) < len(runs):
        notes.append(f"texts and models are those of {len(top)} runs of {len(runs)}, the best ones (see --top)")
    lengths: list[tuple[str, Lengths]] = []
    comparisons: list[Comparison] = []
    by_tag: list[Forms] = []
    inspected: list[InspectedSource] = []
    for split in dict.fromkeys(split for run in runs for split in tested.splits(run)):
        tests = [test for run in runs if split in tested.splits(run) if (test := tested.read_tested(run, split, notes))]
        scores = [score for test in tests if (score := tested.score_by_length(test, notes))]
        lengths += [(split, each) for each in series.lengths(grouped, scores)]
        for task in dict.fromkeys(test.run.task for test in tests):
            of_task = [test for test in tests if test.run in top and test.run.task == task]
            compared = list(_compare(split, of_task, options.sentences, notes))
            comparisons += compared
            by_tag += [each for each in [forms(tested.comparable(of_task), notes)] if each]
            inspected += _inspect(compared, options, notes) if options.models else []
    return Contents(runs, grouped, series.charts(grouped), lengths, comparisons, by_tag, inspected, notes)


def _top(runs: Sequence[Run], count: int) -> list[Run]:
    """The first `count` runs of each task, in the order of the leaderboard."""
    tasks = dict.fromkeys(run.task for run in runs)
    return [run for task in tasks for run in [each for each in runs if each.task == task][:count]]


def _compare(split: str, tests: Sequence[Tested], count: int, notes: Notes) -> Iterator[Comparison]:
    alike = tested.comparable(tests)
    for test in tests:
        if alike and test not in alike:
            notes.add(test.run.folder, f"its {split} has other lines than that of the best run, so is not shown")
    for why, lines in (tested.telling(alike, count) if alike else {}).items():
        if lines:
            yield Comparison(split, why, alike, lines)


def _inspect(comparisons: Sequence[Comparison], options: Options, notes: Notes) -> list[InspectedSource]:
    """Run every model on the first lines of each kind that are neither too short nor too long for a heat map."""
    lines = dict.fromkeys(line for each in zip(*(one.lines for one in comparisons), strict=False) for line in each)
    tests = comparisons[0].tests if comparisons else []
    sources = [tests[0].sources[line] for line in lines] if tests and tests[0].sources else []
    short = [source for source in sources if source.strip() and len(source.split()) <= LONG and len(source) < LETTERS]
    sources = ([source for source in short if len(source.split()) > 2] or short)[: options.sentences]
    answers = [(test.run, inspect(test.run, sources, options.trusted, notes)) for test in tests if sources]
    inspected = (
        InspectedSource(source, [(run, all_[i]) for run, all_ in answers if all_]) for i, source in enumerate(sources)
    )
    return [each for each in inspected if each.answers]
