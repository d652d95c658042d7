"""`seq2seq merge`: joins the outputs of the shards of `translate-file`.

    seq2seq translate-file BUNDLE in.txt out.txt --shard 1/2        writes out.1-of-2.txt
    seq2seq translate-file BUNDLE in.txt out.txt --shard 2/2        writes out.2-of-2.txt
    seq2seq merge out.txt

checks that all shards are there, complete and unchanged, and have the same bundle, options and input. The shards are
not deleted.
"""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from seq2seq.errors import UserError
from seq2seq.inference.files.input import Shard, lines
from seq2seq.inference.files.output import check_output, maybe_output, output
from seq2seq.inference.files.partial import difference, partial_of
from seq2seq.inference.files.shards import Card, card_of, check_outputs, read_card


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `seq2seq merge`."""
    parser.add_argument("output", type=Path, help="the OUTPUT that was given to translate-file; it is written now")
    parser.add_argument(
        "--alignments", type=Path, metavar="FILE", help="the FILE that was given to translate-file, if any"
    )


def run(arguments: Namespace) -> int:
    """Merge; return the exit code. Raises `UserError` if a shard is missing or damaged, or has other settings."""
    targets = [arguments.output, *([arguments.alignments] if arguments.alignments else [])]
    for target in targets:
        check_output(target)
    cards = _cards(arguments.output)
    for shard, card in cards.items():
        check_outputs(card, [shard.named(target) for target in targets])
    card = next(iter(cards.values()))
    groups = [_groups(shard.named(targets[0]), card) for shard in cards]
    links = [lines(shard.named(targets[1])) for shard in cards] if arguments.alignments else []
    with output(targets[0]) as write, maybe_output(arguments.alignments) as write_links:
        for number in range(card.lines):
            group = next(groups[number % len(cards)])
            write("".join(f"{line}\n" for line in group).encode())
            if links:
                write_links("".join(f"{next(links[number % len(cards)])}\n" for _ in group).encode())
    return 0


def _cards(target: Path) -> dict[Shard, Card]:
    """The cards of all shards, in order. Raises `UserError` if one is missing, or their settings differ."""
    pattern = re.compile(rf"{re.escape(target.stem)}\.([1-9]\d*)-of-([1-9]\d*){re.escape(target.suffix)}\.json")
    names = [pattern.fullmatch(path.name) for path in target.parent.iterdir()]
    shards = sorted(Shard(int(name[1]), int(name[2])) for name in names if name)
    if not shards:
        raise UserError(
            f"{target}: there is no shard of it, as {Shard(1, 8).named(target)}; see translate-file --shard"
        )
    if len(sizes := sorted({shard.of for shard in shards})) > 1:
        raise UserError(f"{target}: there are shards of {sizes[0]} and of {sizes[1]}; delete those that are not meant")
    missing = [shard for number in range(1, sizes[0] + 1) if (shard := Shard(number, sizes[0])) not in shards]
    if missing:
        raise UserError(_missing(target, missing))
    cards = {shard: read_card(card_of(shard.named(target))) for shard in shards}
    first = cards[shards[0]]
    for shard, card in cards.items():
        if differs := difference(_kind(card), _kind(first)):
            raise UserError(
                f"{shard.named(target)}: was made with {differs} as {shards[0].named(target)}; run one again"
            )
    return cards


def _kind(card: Card) -> dict[str, Any]:
    return card.made | {"an input of so many lines:": card.lines, "an input of sha256": card.sha256}


def _missing(target: Path, missing: list[Shard]) -> str:
    names = ", ".join(map(str, missing[:8])) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
    begun = any(partial_of(shard.named(target)).exists() for shard in missing)
    remedy = "let them end, or resume them with --resume" if begun else "run translate-file --shard for them"
    return f"{target}: shards are missing or incomplete: {names}; {remedy}"


def _groups(path: Path, card: Card) -> Iterator[list[str]]:
    """The output lines of each input line."""
    form, listed = card.made["--format"], card.made["--n-best"] > 1
    if form == "text" and not listed:
        return ([line] for line in lines(path))
    index: Callable[[str], int] = {"text": _before(" "), "tsv": _before("\t"), "json": _in_json}[form]
    return (list(group) for _, group in groupby(lines(path), index))


def _before(separator: str) -> Callable[[str], int]:
    return lambda line: int(line.partition(separator)[0])


def _in_json(line: str) -> int:
    return int(json.loads(line)["index"])
