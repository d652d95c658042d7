"""`seq2seq alignment-error`: how well word alignments agree with given ones.

Both files have a line a sentence pair, links SOURCE-TARGET of word positions from 0, as `translate-file --alignments`
and `force-decode --alignments` write them. In the reference a link SOURCE?TARGET is possible: a system is neither
blamed for it nor for its lack (Och and Ney 2003).

    seq2seq force-decode BUNDLE pairs.tsv scores.tsv --alignments system.align
    seq2seq alignment-error gold.align system.align
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from seq2seq.errors import UserError


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `seq2seq alignment-error`."""
    parser.add_argument("reference", type=Path, help="links by people; possible ones are SOURCE?TARGET")
    parser.add_argument("links", type=Path, help="the links of a system")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of what is printed (%(default)s)")


def run(arguments: Namespace) -> int:
    """Print error rate, precision and recall; returns the exit code. Raises `UserError` for files that do not fit."""
    from seq2seq.scoring.alignment_error import alignment_error

    rates = alignment_error(_sentences(arguments.reference, arguments.links))
    values = {"aer": rates.aer, "precision": rates.precision, "recall": rates.recall}
    if arguments.format == "json":
        print(json.dumps({**values, "links": rates.system, "sure": rates.sure}))
    else:
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        print(f"{numbers}  ({rates.system:,} links, {rates.sure:,} sure ones)")
    return 0


def _sentences(
    reference: Path, system: Path
) -> Iterator[tuple[list[tuple[int, int]], list[tuple[int, int]], list[tuple[int, int]]]]:
    """The system's, the sure and the possible links of each line."""
    from seq2seq.corpora.alignments import read_links

    for number, (given, own) in enumerate(zip_longest(read_links(reference), read_links(system)), 1):
        if given is None or own is None:
            short, long = (reference, system) if given is None else (system, reference)
            raise UserError(f"{short}:{number}: ends before {long} does; both need a line a sentence pair")
        yield (
            [link[:2] for link in own],
            [link[:2] for link in given if link.sure],
            [link[:2] for link in given if not link.sure],
        )
