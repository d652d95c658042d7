"""`seq2seq leaderboard FOLDER`: compare the jobs of a sweep."""

from __future__ import annotations

import argparse
from pathlib import Path

from seq2seq.scoring.seeds import TESTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `seq2seq leaderboard`."""
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="a sweep's folder, with one sub-folder a job; leaderboard.csv, .md and .png are written into it",
    )
    parser.add_argument(
        "--over",
        action="append",
        default=[],
        metavar="KEY",
        help="average runs that differ in this setting only, and test configurations against each other (default: "
        "seed, if it varies); may be repeated",
    )
    parser.add_argument(
        "--baseline",
        metavar="SETTINGS",
        help="the configuration to test others against, such as 'cell=gru' (default: the best)",
    )
    parser.add_argument(
        "--macro", metavar="METRIC", help="also the mean of a test metric over the languages of the sweep, such as wer"
    )
    parser.add_argument(
        "--test", choices=TESTS, default="welch", help="Welch's t-test or a permutation test (%(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the leaderboard, and write it as CSV, Markdown and PNG; return the exit code."""
    from seq2seq.reporting.leaderboard import leaderboard
    from seq2seq.runtime.atomic_files import write_lines

    rows = leaderboard(arguments.folder, arguments.over, arguments.baseline, arguments.test)
    if arguments.macro:
        from seq2seq.reporting.macro import lines, macro_averages

        averages = lines(macro_averages(rows, arguments.macro), arguments.macro)
        write_lines(averages, arguments.folder / "leaderboard.macro.tsv")
        print("\n" + "\n".join(averages))
    print(f"\nwritten: {arguments.folder / 'leaderboard'}.csv, .md and .png")
    return 0
