"""`seq2seq score REFERENCE... -i HYPOTHESIS...`: BLEU, chrF and TER with signatures, in sacreBLEU's convention."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from seq2seq.errors import UserError
from seq2seq.scoring import DEFAULT, NAMES, Scorer, Scores

STDIN = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `seq2seq score`."""
    parser.add_argument(
        "references",
        nargs="+",
        metavar="REFERENCE",
        help="raw reference text, one sentence a line; plain, .gz, .xz or .zst; several files are several references",
    )
    parser.add_argument(
        "-i",
        "--input",
        nargs="+",
        default=[STDIN],
        metavar="HYPOTHESIS",
        dest="systems",
        help="translations, one file a system; - is standard input (default: %(default)s)",
    )
    parser.add_argument(
        "-m",
        "--metrics",
        nargs="+",
        choices=NAMES,
        default=DEFAULT,
        metavar="METRIC",
        help=f"of {', '.join(NAMES)} (default: {' '.join(DEFAULT)})",
    )
    parser.add_argument(
        "-f", "--format", choices=("text", "json"), default="text", help="what to print (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Score every system against the references and print the scores."""
    if [*arguments.references, *arguments.systems].count(STDIN) > 1:
        raise UserError(f"score: {STDIN} (standard input) is given more than once; it can be read only once")
    references = {path: _lines(path) for path in arguments.references}
    for path, reference in references.items():
        if not reference:
            raise UserError(f"{path}: no lines, so there is nothing to score; give the raw reference text")
    scorer = Scorer(arguments.metrics)
    scores = {}
    for system in arguments.systems:
        hypotheses = _lines(system)
        for path, reference in references.items():
            if len(reference) != len(hypotheses):
                raise UserError(
                    f"{system}: {len(hypotheses)} lines, but {path} has {len(reference)}; "
                    "line n of one must be the translation of line n of the other"
                )
        scores[system] = scorer(hypotheses, list(references.values()))
    print(as_json(scores) if arguments.format == "json" else as_text(scores))
    return 0


def as_json(systems: Mapping[str, Scores]) -> str:
    """`{"hypotheses.de": {"BLEU": {"value": 37.3, "signature": "nrefs:1|…"}, …}, …}`."""
    return json.dumps({system: scores.as_dict() for system, scores in systems.items()}, indent=2, ensure_ascii=False)


def as_text(systems: Mapping[str, Scores]) -> str:
    """One line a score; for several systems a table, and the signatures, which they share, below it."""
    first, *others = systems.values()
    if not others:
        return str(first)
    from tabulate import tabulate

    rows = [[system, *(f"{score.value:.2f}" for score in scores.values())] for system, scores in systems.items()]
    alignment = ["left", *("right" for _ in first)]
    table = tabulate(rows, ["system", *first], "simple", disable_numparse=True, colalign=alignment)
    return "\n".join([table, "", *(f"{score.name:4}  {score.signature}" for score in first.values())])


def _lines(path: str) -> list[str]:
    """The lines of a file or of standard input, exactly as they stand: each ends at LF and nowhere else."""
    if path != STDIN:
        from seq2seq.corpora.readers import lines

        return list(lines(Path(path)))
    raw = sys.stdin.buffer.read().removesuffix(b"\n")
    texts = []
    for number, line in enumerate(raw.split(b"\n") if raw else [], 1):
        try:
            texts.append(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise UserError(f"standard input:{number}: not UTF-8 ({error.reason}); convert it to UTF-8") from None
    return texts
