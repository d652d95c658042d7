"""`seq2seq info`: describes a bundle or a run, without loading it.

The exit code is 1 if files are damaged, or a run ended before it was finished.

seq2seq info runs/first/bundle
seq2seq info runs/first --format json
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from seq2seq.errors import UserError


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `seq2seq info`."""
    parser.add_argument("folder", type=Path, metavar="BUNDLE|RUN", help="the folder of a trained model or of a run")
    add_format(parser)


def add_format(parser: ArgumentParser) -> None:
    """Declare the argument `--format`."""
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="text (default), or json for programs"
    )


def run(arguments: Namespace) -> int:
    """Print the facts; return 1 if files are damaged or the run is not finished. Raises `UserError` for other
    folders."""
    facts = describe(arguments.folder)
    show(facts, arguments.format)
    return 1 if facts.get("problems") else 0


def describe(folder: Path) -> dict[str, Any]:
    """The facts of a bundle, a run or a sweep. Raises `UserError` if the folder is none of them."""
    from seq2seq.cli.describing.bundles import CONFIG, describe_bundle
    from seq2seq.cli.describing.runs import RUN, describe_run, describe_sweep

    if not folder.is_dir():
        what = "is a file; give the folder that it is in" if folder.exists() else "there is no such folder"
        raise UserError(f"{folder}: {what}")
    if (folder / CONFIG).exists():
        return describe_bundle(folder)
    if (folder / RUN).exists():
        return describe_run(folder)
    if (sweep := describe_sweep(folder)) is not None:
        return sweep
    if (folder / "bundle" / CONFIG).exists():
        return describe_bundle(folder / "bundle")
    raise UserError(f"{folder}: is neither a bundle (no {CONFIG}) nor a run (no {RUN}); give the folder of one of them")


def show(facts: dict[str, Any], form: str) -> None:
    """Print facts as lines or as JSON, with control characters escaped."""
    from seq2seq.cli.describing.text import lines

    if form == "json":
        print(json.dumps(facts, indent=2, allow_nan=False).replace("\x7f", "\\u007f"))
        return
    for line in lines({key: value for key, value in facts.items() if key != "problems"}):
        print(line)
    for problem in facts.get("problems", []):
        print(f"problem: {_plain(problem)}")


def _plain(text: str) -> str:
    from seq2seq.cli.describing.text import printable

    return printable(text)
