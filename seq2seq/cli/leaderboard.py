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
        help="take runs together that differ in this setting only, and test configurations against each other "
        "(default: seed, where it varies); several times for several",
    )
    parser.add_argument(
        "--baseline", metavar="SETTINGS", help="the configuration, as 'cell=gru', that others are tested against (best)"
    )
    parser.add_argument("--test", choices=TESTS, default="welch", help="Welch's t-test, or exact permutations (welch)")


def run(arguments: argparse.Namespace) -> int:
    """Print the table, write it as CSV and Markdown, and draw it."""
    from seq2seq.reporting.leaderboard import leaderboard

    leaderboard(arguments.folder, arguments.over, arguments.baseline, arguments.test)
    print(f"\nwritten: {arguments.folder / 'leaderboard'}.csv, .md and .png")
    return 0
