"""Lines and sentence pairs from files, as streams: what is read is never held.

A line ends at LF or CR LF and nowhere else: a NO-BREAK SPACE, a U+2028, or a CR within a line is part of the text.
Every file and stream of text is read by `decoded`, in training and in every command: the same file is the same text.
"""

from __future__ import annotations

import json
import logging
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeAlias, cast

from seq2seq.corpora import compression
from seq2seq.errors import UserError
from seq2seq.text import check_text, without_line_end

SUFFIXES = ("", *compression.SUFFIXES)
"""The ends of names under which a corpus's files are looked for; what they hold, their first bytes tell."""

BLOCK = 1 << 16  # bytes read at once
LONGEST = 16 << 20  # bytes of a line; what has none is not held in memory to find that out
TOO_LONG = "is it text, one sentence a line? Split it into sentences (task=language_modeling reads lines of any length)"
PART = 1 << 20  # bytes of a line that is read in parts

Line: TypeAlias = tuple[int, bytes]
"""The number of a line, from 1, and the line without its LF, or a part of it."""

log = logging.getLogger(__name__)


def lines(path: Path, errors: str | None = None) -> Iterator[str]:
    """The lines of a file, plain or compressed, without their ends, else exactly as they are; see `decoded`.

    Raises UserError for a file that is missing, damaged or of a form that is not read, and (with its line) for what is
    not UTF-8 or longer than a sentence can be.
    """
    return _read(path, lambda blocks: split(blocks, path), errors)


def parts(path: Path) -> Iterator[str]:
    """`lines` for text that need not have any: a longer line than PART comes in parts, each cut at a space, which is
    left out as a line's end is, or where there is none within PART, before a character."""
    return _read(path, lambda blocks: split(blocks, path, PART))


def _read(
    path: Path, split: Callable[[Iterator[bytes | None]], Iterator[Line | None]], errors: str | None = None
) -> Iterator[str]:
    number = 0
    try:
        for line in split(compression.unpacked(_blocks(path), path)):
            assert line is not None  # no block is
            number, content = line
            yield decoded(content, path, number, errors)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except compression.errors() as error:
        if isinstance(error, OSError) and error.filename is not None:  # it was not even opened
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        raise UserError(f"{path}: cannot be read after line {number} ({error}); is it whole?") from None


def decoded(line: bytes, name: object, number: int, errors: str | None = None) -> str:
    """One line of UTF-8 as text, without the CR of a CR LF. A byte-order mark at the beginning of a file is left out.

    What is not UTF-8 raises UserError with the line's number, or with errors="replace" becomes U+FFFD, with a warning.
    errors="strict" is for commands with the option --errors, of which the message then tells; None is as strict.
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
    if text[-1:] == "\r":
        text = without_line_end(text)
    if number == 1 and "\r" in text:
        log.warning(
            "%s:1: has a CR within it, and a line ends at LF or CR LF; write LF if the CR is to end a line", name
        )
    return text


def parallel(source: Path, target: Path) -> Iterator[tuple[str, str]]:
    """Pairs from two files of equally many lines; UserError names the line where the shorter one ends."""
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


def tsv(path: Path, source_column: int, target_column: int) -> Iterator[tuple[str, str]]:
    """Pairs from two columns (counted from 1) of a tab-separated file without quoting.

    Raises UserError for a line whose number of columns is too small, or is not that of the first line.
    """
    columns = 0
    for number, line in enumerate(lines(path), 1):
        cells = line.split("\t")
        columns = columns or len(cells)
        if len(cells) != columns:
            raise UserError(f"{path}:{number}: {len(cells)} tab-separated columns, but line 1 has {columns}")
        if max(source_column, target_column) > columns:
            raise UserError(
                f"{path}:{number}: {columns} tab-separated columns, but data.corpus.source_column={source_column} "
                f"and data.corpus.target_column={target_column}"
            )
        yield cells[source_column - 1], cells[target_column - 1]


def json_lines(path: Path, source_field: str, target_field: str) -> Iterator[tuple[str, str]]:
    """Pairs from two text fields of one JSON object a line; a dot in a field's name steps into an object.

    Raises UserError for a line that is not JSON, lacks a field, or whose text holds a line feed.
    """
    for number, line in enumerate(lines(path), 1):
        try:
            item = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}:{number}: is not JSON ({error})") from None
        yield _text(item, source_field, f"{path}:{number}"), _text(item, target_field, f"{path}:{number}")


def chained(paths: Iterable[Path], read: Callable[[Path], Iterator[tuple[str, str]]]) -> Iterator[tuple[str, str]]:
    """The pairs of several files, one after the other."""
    for path in paths:
        yield from read(path)


def step_into(item: Any, name: str, where: str) -> Any:
    """The field `name` of a JSON object; a dot steps into an object. Raises UserError, saying `where`, if there is
    none."""
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
    """A value of JSON that is a text of one line. Raises UserError, saying `where`, for another, and for half of a
    surrogate pair, which UTF-8 cannot say."""
    if not isinstance(value, str):
        raise UserError(f"{where} is {value!r}, not a text")
    if "\n" in value:
        raise UserError(f"{where} holds a line feed; a sentence is one line")
    check_text(value, where)
    return without_line_end(value)


def split(blocks: Iterable[bytes | None], name: object, part: int | None = None) -> Iterator[Line | None]:
    """The lines of a text that comes in blocks, without their LF; a None between blocks is passed on.

    A line of more than `part` bytes comes in parts, see `parts`. Without it, UserError with the `name` and the line is
    raised for what is longer than a sentence can be.
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
            for number, line in enumerate(ended, number):  # noqa: B020 (numbered after the last line of the file before)
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
    """The parts of a line, none of more than `part` bytes."""
    begin = 0
    while len(line) - begin > part:
        end = line.rfind(b" ", begin + 1, begin + part + 1)
        skip = end >= 0
        if not skip:
            end = begin + part
            while end > begin + 1 and line[end] & 0xC0 == 0x80:  # within a character
                end -= 1
        yield line[begin:end]
        begin = end + skip
    yield line[begin:]


def _blocks(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        yield from iter(lambda: file.read(BLOCK), b"")
