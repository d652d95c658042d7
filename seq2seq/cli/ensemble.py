"""`seq2seq ensemble FOLDER`: the runs of a sweep that differ in their seed only translate the tests as one model.

    seq2seq train -m experiment=g2p data.corpus.language=medium seed=1,2,3,4,5 hydra.sweep.dir=sweeps/g2p
    seq2seq ensemble sweeps/g2p --macro wer

FOLDER/ensembles has a folder for each, with the outputs and scores of each test.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seq2seq.errors import UserError

if TYPE_CHECKING:
    from seq2seq.reporting.runs import Group, Notes


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `seq2seq ensemble`."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a sweep's folder, with runs of several seeds")
    parser.add_argument("--macro", metavar="METRIC", help="also the mean of a metric over the languages, such as wer")
    from seq2seq.cli.arguments import add_running

    add_running(parser)


def run(arguments: Namespace) -> int:
    """Translate, score, print; returns the exit code. Raises `UserError` where no runs differ in their seed only."""
    from seq2seq.reporting import macro
    from seq2seq.reporting.runs import find_runs, groups
    from seq2seq.runtime.threads import limit_threads

    limit_threads(arguments.threads)
    runs, notes = find_runs([arguments.folder])
    several = [group for group in groups(runs) if len(group.runs) > 1]
    if not several:
        raise UserError(f"{arguments.folder}: no finished runs differ in their seed only; train with -m seed=1,2,3,4,5")
    rows = [row for number, group in enumerate(several, 1) for row in _scored(arguments, number, group, notes)]
    for note in notes:
        print(f"note: {note}")
    if arguments.macro:
        print("\n".join(macro.lines(macro.macro_averages(rows, arguments.macro), arguments.macro)))
    return 0


def _scored(arguments: Namespace, number: int, group: Group, notes: Notes) -> list[dict[str, Any]]:
    """Score each test of a group; returns a row of each for `macro_averages`."""
    from seq2seq.inference.translator import Translator
    from seq2seq.reporting.tested import read_tested, splits
    from seq2seq.runtime.atomic_files import write_lines
    from seq2seq.scoring import NAMES, Scorer

    first = group.runs[0]
    bundles = [each.bundle for each in group.runs]
    translator = Translator.load(bundles, arguments.device, None, arguments.trust, unknown_tags=True)
    folder = arguments.folder / "ensembles" / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    keys = [key for key, name in NAMES.items() if name in first.row["signatures"]]
    rows = []
    for split in splits(first):
        if not (test := read_tested(first, split, notes)):
            continue
        outputs = translator.translate(test.sources, batch_size=arguments.batch_size)
        write_lines(outputs, folder / f"{split}.translations.txt")
        scores = Scorer(keys)(outputs, test.references)
        described = {"runs": [str(each.folder) for each in group.runs], "scores": scores.as_dict()}
        write_lines([json.dumps(described, ensure_ascii=False, indent=1)], folder / f"{split}.scores.json")
        for name, score in scores.items():
            print(f"{group.name}: {split}: {name} = {score.text()}")
        rows.append({"varied": first.row["varied"], **{name: score.value for name, score in scores.items()}})
    return rows
