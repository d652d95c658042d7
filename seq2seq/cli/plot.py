"""`seq2seq plot RUN… -o FOLDER --format pdf`: the figures of a report as files for a paper."""

from __future__ import annotations

import argparse
from pathlib import Path

from seq2seq.cli.report import add_runs, options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `seq2seq plot`."""
    add_runs(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="the folder for the figures; created if missing",
    )
    parser.add_argument(
        "--format", choices=("png", "pdf"), default="pdf", help="the format of the figures (%(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Draw the figures; print their paths, and notes on missing content."""
    from seq2seq.errors import UserError
    from seq2seq.reporting.paper import write_pictures

    if arguments.output.exists() and not arguments.output.is_dir():
        raise UserError(f"{arguments.output}: is a file; give the name of a folder for the figures")
    written, notes = write_pictures(arguments.runs, arguments.output, arguments.format, options(arguments))
    print("".join(f"note: {note}\n" for note in notes) + "\n".join(map(str, written)))
    return 0
