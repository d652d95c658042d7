"""`seq2seq report RUN… -o report.html`: compares runs in one HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seq2seq.reporting.contents import Options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `seq2seq report`."""
    add_runs(parser)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("report.html"), metavar="FILE", help="the page to write (%(default)s)"
    )


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of a command that shows runs."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="the folder of a run, or of a sweep of runs")
    parser.add_argument(
        "--top", type=int, default=8, metavar="N", help="show texts and models of the best N runs (%(default)s)"
    )
    parser.add_argument("--sentences", type=int, default=5, metavar="N", help="sentences of each kind (%(default)s)")
    parser.add_argument("--no-model", action="store_true", help="load no model: neither attention nor probabilities")
    parser.add_argument(
        "--trust", action="append", default=[], metavar="PACKAGE", help="a package whose components the models may use"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the page; print its path, and notes on missing content."""
    from seq2seq.inference.files.output import check_output
    from seq2seq.reporting.html import write_report

    check_output(arguments.output)
    notes = write_report(arguments.runs, arguments.output, options(arguments))
    print("".join(f"note: {note}\n" for note in notes) + f"report: {arguments.output}")
    return 0


def options(arguments: argparse.Namespace) -> Options:
    """The options from the arguments of `add_runs`. Raises `UserError` for a number below 1."""
    from seq2seq.errors import UserError
    from seq2seq.reporting.contents import Options

    for name in ("top", "sentences"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name} {getattr(arguments, name)}: must be at least 1")
    return Options(arguments.top, arguments.sentences, not arguments.no_model, tuple(arguments.trust))
