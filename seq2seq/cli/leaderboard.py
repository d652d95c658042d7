"""`seq2seq leaderboard FOLDER`: compare the jobs of a sweep."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `seq2seq leaderboard`."""
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="a sweep's folder, with one sub-folder a job; leaderboard.csv, .md and .png are written into it",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the table, write it as CSV and Markdown, and draw it."""
    from seq2seq.reporting.leaderboard import leaderboard

    leaderboard(arguments.folder)
    print(f"\nwritten: {arguments.folder / 'leaderboard'}.csv, .md and .png")
    return 0
