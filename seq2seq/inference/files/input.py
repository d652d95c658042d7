"""Input of the commands: lines of a file or of standard input as they arrive; in chunks, for all lines or a shard."""

from __future__ import annotations

import hashlib
import re
import select
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.errors import UserError

STREAM = Path("-")
BLOCK = 1 << 16  # bytes read at once: the capacity of a pipe on Linux
PATIENCE = 0.02  # seconds to wait for more input: too short to notice, long enough for another program to continue
CHUNK = 4096
"""Lines that a process has in memory at once and sorts by length."""


def count(source: Path, errors: str | None = None) -> int | None:
    """The number of lines of a file, all of which are checked to be UTF-8; None for a stream."""
    return None if source == STREAM or not source.is_file() else sum(1 for _ in lines(source, errors))


def lines(path: Path, errors: str | None = None, factors: Mapping[str, Path] | None = None) -> Iterator[str]:
    """The lines of a file, or of standard input; `errors` is that of `corpora.readers.decoded`, and `factors` those of
    `corpora.factored.with_values`."""
    return (line for line in arriving(path, errors, factors) if line is not None)


def arriving(path: Path, errors: str | None = None, factors: Mapping[str, Path] | None = None) -> Iterator[str | None]:
    """`lines`, with None where the next line has not arrived yet."""
    if not factors:
        return _arriving(path, errors)
    from seq2seq.corpora.factored import with_values

    return with_values(_arriving(path, errors), "standard input" if path == STREAM else path, factors, errors)


def _arriving(path: Path, errors: str | None = None) -> Iterator[str | None]:
    from seq2seq.corpora import compression, readers

    if path != STREAM:
        yield from readers.lines(path, errors)
        return
    if sys.stdin is None:
        raise UserError("standard input: is closed; give the name of a file")
    number, name = 0, "standard input"
    try:
        for line in readers.split(compression.unpacked(_blocks(sys.stdin.buffer), name), name):
            if line is None:
                yield None
                continue
            number, content = line
            yield readers.decoded(content, name, number, errors)
    except compression.errors() as error:
        raise UserError(f"{name}: cannot be read after line {number} ({error}); is it complete?") from None


def _blocks(stream: Any) -> Iterator[bytes | None]:
    while block := _read(stream):
        yield block
        if not _soon(stream):
            yield None


def _read(stream: Any) -> bytes:
    try:
        return bytes(stream.read1(BLOCK))
    except OSError as error:
        raise UserError(f"standard input: cannot be read ({error.strerror})") from None


def _soon(stream: Any) -> bool:
    """Whether more can be read within PATIENCE; True if the system does not support `select` for the stream."""
    try:
        return bool(select.select([stream], [], [], PATIENCE)[0])
    except (OSError, ValueError):
        return True


class Shard(NamedTuple):
    """Every `of`-th line, beginning with line `number`, from 1."""

    number: int = 1
    of: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def count(self, lines: int) -> int:
        """How many of the first `lines` lines belong to the shard."""
        return len(range(self.number, lines + 1, self.of))

    def named(self, path: Path) -> Path:
        """The output file of this shard: for out.txt, out.1-of-8.txt, out.2-of-8.txt, …"""
        return path.with_name(f"{path.stem}.{self.number}-of-{self.of}{path.suffix}")


ALL_LINES = Shard()


def shard(text: str) -> Shard:
    """Parse `i/n`, as argparse's type of an argument."""
    if (match := re.fullmatch(r"(\d+)/(\d+)", text, re.ASCII)) and 1 <= int(match[1]) <= int(match[2]):
        return Shard(int(match[1]), int(match[2]))
    raise ArgumentTypeError(f"{text!r} is no shard: 1/8 is the first of eight, 8/8 the last")


class Place(NamedTuple):
    """A position in an input: the number of lines before it, and their sha256, each with its line feed."""

    lines: int
    sha256: str


BEGINNING = Place(0, hashlib.sha256().hexdigest())


class Chunk(NamedTuple):
    """Lines of an input, with their numbers from 0, and the place after the last line that was read."""

    numbers: range
    texts: list[str]
    place: Place


def chunks(
    source: Path,
    size: int,
    part: Shard = ALL_LINES,
    after: Place = BEGINNING,
    errors: str = "strict",
    factors: Mapping[str, Path] | None = None,
) -> Iterator[Chunk | None]:
    """The lines of a shard in chunks of at most `size`, beginning at the place `after`; the last chunk may be empty.

    None means that the next line has not arrived yet; all lines that have arrived are in chunks before it. `errors` is
    that of `corpora.readers.decoded`, for bytes that are not UTF-8; `factors` are files of values for the words of the
    lines, which are in their texts.

    Raises `UserError` if the input does not begin with the lines of `after`.
    """
    stream, digest = arriving(source, errors, factors), hashlib.sha256()
    seen = _skip(stream, source, digest, after)
    texts: list[str] = []

    def chunk() -> Chunk:
        first = (seen - part.number) // part.of * part.of + part.number - 1 - (len(texts) - 1) * part.of
        numbers = range(first, first + len(texts) * part.of, part.of)
        return Chunk(numbers, texts, Place(seen, digest.hexdigest()))

    for line in stream:
        if line is not None:
            digest.update(f"{line}\n".encode())
            seen += 1
            if (seen - part.number) % part.of == 0:
                texts.append(line)
        if len(texts) == size or (line is None and texts):
            yield chunk()
            texts = []
        if line is None:
            yield None
    yield chunk()


def _skip(stream: Iterator[str | None], source: Path, digest: hashlib._Hash, after: Place) -> int:
    """Read and hash the lines before `after`; return their number. Raises `UserError` if the hash is another."""
    given = (line for line in stream if line is not None)
    for line in islice(given, after.lines):
        digest.update(f"{line}\n".encode())
    if digest.hexdigest() != after.sha256:
        where = "standard input" if source == STREAM else str(source)
        raise UserError(
            f"{where}: does not begin with the {after.lines} lines that are done; --resume is for the same input"
        )
    return after.lines
