"""Shards of an input, for parallel jobs: the card that each writes next to its output, and its checks.

Shard i/n of an input has the lines i, i + n, i + 2n, …, counted from 1. So the length of the input need not be known
(it may be a stream), and the shards of a sorted file take equally long. Next to the finished output of a shard is its
card, a JSON file with the settings, the input's length and hash, the outputs' hashes, and a checksum of all these.

A shard has other batches than the complete input, and floating-point sums depend on the batch: scores may differ in
their last digit from those of one run over all lines (with --batch-size 1 they do not).
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.errors import UserError
from seq2seq.inference.files.input import CHUNK, Place, Shard, chunks
from seq2seq.inference.files.partial import difference, journal_of
from seq2seq.runtime.atomic_files import digest_of

FORMAT = 1


class Card(NamedTuple):
    """The content of a shard's card."""

    made: dict[str, Any]  # all settings that determine the content, without the shard
    lines: int  # of the complete input
    sha256: str  # of these lines, each with its line feed
    outputs: list[str]  # sha256 of each file


def card_of(output: Path) -> Path:
    """The path of the card of a shard's output."""
    return output.with_name(f"{output.name}.json")


def write_card(made: Mapping[str, Any], lines: int, sha256: str, outputs: Sequence[Path]) -> None:
    """Write the card of a shard whose outputs are complete."""
    from seq2seq.runtime.atomic_files import write_lines

    card = Card(dict(made), lines, sha256, [digest_of(path) for path in outputs])
    write_lines([json.dumps(signed(card), ensure_ascii=False)], card_of(outputs[0]))


def read_card(path: Path) -> Card:
    """Read a card. Raises `UserError` for a file that is none, or whose checksum is wrong."""
    try:
        content = json.loads(path.read_bytes())
        card = Card(*(content[name] for name in Card._fields))
        if content == signed(card):
            return card
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise UserError(f"{path}: is not what `translate-file --shard` leaves; delete it, and run its shard again")


def is_complete(
    targets: Sequence[Path],
    made: Mapping[str, Any],
    source: Path,
    part: Shard,
    errors: str,
    factors: Mapping[str, Path] | None = None,
) -> bool:
    """Whether this shard is complete already. Raises `UserError` if it is, but is damaged or has other settings."""
    if journal_of(targets[0]).exists() or not card_of(targets[0]).is_file():
        return False
    card = read_card(card_of(targets[0]))
    if differs := difference(card.made, made):
        raise UserError(f"{targets[0]}: is complete, but was made with {differs}; delete {card_of(targets[0])}")
    check_outputs(card, targets)
    for chunk in filter(None, chunks(source, CHUNK, part, Place(card.lines, card.sha256), errors, factors)):
        if chunk.place.lines > card.lines:
            raise UserError(
                f"{targets[0]}: is complete, but was made of the first {card.lines} lines of the input only"
            )
    print(f"seq2seq: {targets[0]}: is complete", file=sys.stderr)
    return True


def signed(card: Card) -> dict[str, Any]:
    """The content of a card's file: its fields, with a format version and a checksum."""
    content = {"format": FORMAT, **card._asdict()}
    return {**content, "checksum": hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()}


def check_outputs(card: Card, outputs: Sequence[Path]) -> None:
    """Raise `UserError` if an output is missing or was changed, or their number is another."""
    if len(outputs) != len(card.outputs):
        raise UserError(
            f"{outputs[0]}: was made {'with' if len(card.outputs) > 1 else 'without'} --alignments; so merge"
        )
    for path, expected in zip(outputs, card.outputs, strict=True):
        if not path.is_file() or digest_of(path) != expected:
            raise UserError(f"{path}: is not as it was written; delete {card_of(outputs[0])}, and run its shard again")
