"""Lines and sentence pairs from files, as streams: no file is ever in memory as one.

A line ends at LF or CR LF only: a NO-BREAK SPACE, a U+2028, or a CR within a line is part of the text. Training and
all commands decode text by `decoded`, so the same file is always the same text.
"""

from __future__ import annotations

import json
import logging
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, TypeAlias, cast

from seq2seq.corpora import compression
from seq2seq.errors import UserError
from seq2seq.text import LINE_END, check_text
from seq2seq.text.columns import check_tags_of
from seq2seq.text.factors import check_values

SUFFIXES = ("", *compression.SUFFIXES)
"""Suffixes that a corpus's files may have; the format is recognised by the first bytes, not by the suffix."""

BLOCK = 1 << 16  # bytes read at once
LONGEST = 16 << 20  # most bytes of a line: a binary file without line ends must not fill the memory
TOO_LONG = "is it text, one sentence a line? Split it into sentences (task=language_modeling reads lines of any length)"
PART = 1 << 20  # bytes: `parts` splits longer lines

Line: TypeAlias = tuple[int, bytes]
"""The number of a line, from 1, and its bytes without the LF (or a part of them)."""

log = logging.getLogger(__name__)


def lines(path: Path, errors: str | None = None) -> Iterator[str]:
    """The lines of a file, plain or compressed, without line ends and otherwise unchanged; `errors` as in `decoded`.

    Raises UserError for a file that is missing, damaged or of an unsupported format, and, with the line number, for a
    line that is not UTF-8 or has more than LONGEST bytes.
    """
    return _read(path, lambda blocks: split(blocks, path), errors)


def parts(path: Path) -> Iterator[str]:
    """`lines` for text that may have no line ends: a line of more than PART bytes is split at spaces, which are left
    out like line ends, or between characters where PART bytes have no space."""
    return _read(path, lambda blocks: split(blocks, path, PART))


def _read(
    path: Path, split: Callable[[Iterator[bytes | None]], Iterator[Line | None]], errors: str | None = None
) -> Iterator[str]:
    number = 0
    try:
        for line in split(_content(path)):
            assert line is not None  # because no block is None
            number, content = line
            yield decoded(content, path, number, errors)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except compression.errors() as error:
        if isinstance(error, OSError) and error.filename is not None:  # open() failed, not read()
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        raise UserError(f"{path}: cannot be read after line {number} ({error}); is it complete?") from None


def decoded(line: bytes, name: object, number: int, errors: str | None = None) -> str:
    """One line of UTF-8 as text, without the CR of a CR LF, and in line 1 without a byte-order mark.

    Bytes that are not UTF-8 raise UserError with the line number; with errors="replace" they become U+FFFD, and a
    warning is logged. errors="strict" raises as None does, but the message mentions the option --errors, for commands
    that have it.
    """
    if number == 1:
        line = line.removeprefix(BOM_UTF8)
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        value, wide = error.object[error.start], number == 1 and line.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
        what = f"byte 0x{value:02x} at position {error.start + 1} is not UTF-8{' (UTF-16, it seems)' if wide else ''}"
        if errors != "replace":
            choice = " (or write U+FFFD in its place: --errors replace)" if errors else ""
            raise UserError(f"{name}:{number}: {what}; convert it to UTF-8{choice}") from None
        log.warning("%s:%d: %s; U+FFFD is written in its place", name, number, what)
        text = line.decode("utf-8", "replace")
    text = text.rstrip(LINE_END)
    if number == 1 and "\r" in text:
        log.warning(
            "%s:1: has a CR within it, and a line ends at LF or CR LF; write LF if the CR is to end a line", name
        )
    return text


def parallel(source: Path, target: Path) -> Iterator[tuple[str, str]]:
    """Pairs from two files. Raises UserError, naming the line, where one file ends before the other."""
    end = object()
    number = 0
    streams = lines(source), lines(target)
    for number, (one, other) in enumerate(zip_longest(*streams, fillvalue=end), 1):
        if one is end or other is end:
            more = 1 + sum(1 for stream in streams for _ in stream)
            short, long = (source, target) if one is end else (target, source)
            raise UserError(
                f"{short}:{number}: ends after {number - 1} lines, but {long} has {number - 1 + more}; "
                f"line n of one must be the translation of line n of the other"
            )
        yield cast(str, one), cast(str, other)


def multi_parallel(sources: Sequence[Path], target: Path) -> Iterator[tuple[str, str]]:
    """Pairs of several source files and a target file: sources have tabs between them. Raises UserError as `parallel`
    does, and for a source with a tab of its own."""
    streams = [parallel(source, target) for source in sources]
    for number, pairs in enumerate(zip(*streams, strict=True), 1):
        for path, (text, _) in zip(sources, pairs, strict=True):
            if "\t" in text:
                raise UserError(f"{path}:{number}: has a tab, which separates several sources; write a space")
        yield "\t".join(text for text, _ in pairs), pairs[0][1]


def tsv(
    path: Path,
    source_column: int,
    target_column: int,
    features: tuple[int, str] | None = None,
    factors: Mapping[str, int] | None = None,
) -> Iterator[tuple[str, str]]:
    """Pairs from two columns (counted from 1) of a tab-separated file without quoting; with `features`, a column of
    tags and their separator, sources are text, a tab and the tags; with columns of `factors`, these after a tab each.

    Raises UserError for a line with too few columns, or with another number of them than the first line, and for what
    are no tags, or no values of factors.
    """
    columns, factors = 0, factors or {}
    settings = {"source_column": source_column, "target_column": target_column}
    settings |= {"features_column": features[0]} if features else {}
    settings |= {f"factors.{name}": column for name, column in factors.items()}
    for number, line in enumerate(lines(path), 1):
        cells = line.split("\t")
        columns = columns or len(cells)
        if len(cells) != columns:
            raise UserError(f"{path}:{number}: {len(cells)} tab-separated columns, but line 1 has {columns}")
        if max(settings.values()) > columns:
            *first, last = (f"data.corpus.{name}={value}" for name, value in settings.items())
            raise UserError(f"{path}:{number}: {columns} tab-separated columns, but {', '.join(first)} and {last}")
        source = cells[source_column - 1]
        if features:
            check_tags_of(tags := cells[features[0] - 1], features[1], f"{path}:{number}")
            source = f"{source}\t{tags}"
        for name, column in factors.items():
            check_values(cells[source_column - 1], cells[column - 1], name, f"{path}:{number}")
            source = f"{source}\t{cells[column - 1]}"
        yield source, cells[target_column - 1]


def json_lines(path: Path, source_field: str, target_field: str) -> Iterator[tuple[str, str]]:
    """Pairs from two text fields of one JSON object a line; a dot in a field's name steps into an object.

    Raises UserError for a line that is not JSON, lacks a field, or has a line feed in its text.
    """
    for number, line in enumerate(lines(path), 1):
        try:
            item = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}:{number}: is not JSON ({error})") from None
        yield _text(item, source_field, f"{path}:{number}"), _text(item, target_field, f"{path}:{number}")


def chained(paths: Iterable[Path], read: Callable[[Path], Iterator[tuple[str, str]]]) -> Iterator[tuple[str, str]]:
    """The pairs of several files, in order."""
    for path in paths:
        yield from read(path)


def step_into(item: Any, name: str, where: str) -> Any:
    """The field `name` of a JSON object; a dot steps into an object. Raises UserError, naming `where`, if it is
    missing."""
    value = item
    for key in name.split("."):
        if not isinstance(value, dict) or key not in value:
            known = f"it has {', '.join(map(repr, value))}" if isinstance(value, dict) else "it is not an object"
            raise UserError(f"{where}: no field {key!r} (of data.corpus field {name!r}): {known}")
        value = value[key]
    return value


def _text(item: Any, name: str, where: str) -> str:
    return one_line(step_into(item, name, where), f"{where}: field {name!r}")


def one_line(value: Any, where: str) -> str:
    """A JSON value that must be a string of one line. Raises UserError, naming `where`, if it is not, and for half of a
    surrogate pair, which UTF-8 cannot encode."""
    if not isinstance(value, str):
        raise UserError(f"{where} is {value!r}, not a text")
    if "\n" in value:
        raise UserError(f"{where} holds a line feed; a sentence is one line")
    check_text(value, where)
    return value.rstrip(LINE_END)


def split(blocks: Iterable[bytes | None], name: object, part: int | None = None) -> Iterator[Line | None]:
    """The lines of a stream of blocks, without their LF; a None between blocks (no data yet) is passed on.

    A line of more than `part` bytes is split as in `parts`. Without `part`, a line of more than LONGEST bytes raises
    UserError with the `name` and the line number.
    """
    rest: list[bytes] = []
    number, size, limit = 1, 0, part or LONGEST
    for block in blocks:
        if block is None:
            yield None
            continue
        *ended, last = block.split(b"\n")
        if ended:
            ended[0] = b"".join([*rest, ended[0]])
            for number, line in enumerate(ended, number):  # noqa: B020 (continues the numbers of the block before)
                if len(line) <= limit:
                    yield number, line
                else:
                    yield from ((number, each) for each in _cut(line, limit))
            number, size, rest = number + 1, 0, []
        rest.append(last)
        size += len(last)
        if size > limit:
            if part is None:
                raise UserError(f"{name}:{number}: has more than {LONGEST:,} bytes without a line's end; {TOO_LONG}")
            *cut, last = _cut(b"".join(rest), part)
            yield from ((number, each) for each in cut)
            rest, size = [last], len(last)
    if size:
        yield number, b"".join(rest)


def _cut(line: bytes, part: int) -> Iterator[bytes]:
    """The parts of a line, each of at most `part` bytes, split at a space or between characters."""
    begin = 0
    while len(line) - begin > part:
        end = line.rfind(b" ", begin + 1, begin + part + 1)
        skip = end >= 0
        if not skip:
            end = begin + part
            while end > begin + 1 and line[end] & 0xC0 == 0x80:  # a continuation byte of UTF-8
                end -= 1
        yield line[begin:end]
        begin = end + skip
    yield line[begin:]


def _content(path: Path) -> Iterator[bytes | None]:
    """The blocks of a file, decompressed if it is compressed."""
    with open(path, "rb") as file:
        first = file.read(BLOCK)
        blocks = chain((first,), iter(lambda: file.read(BLOCK), b""))
        yield from compression.unpacked(blocks, path) if compression.MARK.match(first) else blocks
