"""Lines and sentence pairs from files, as streams: what is read is never held.

A line ends at LF and nowhere else: a NO-BREAK SPACE, a U+2028 or a CR is part of the text.
"""

from __future__ import annotations

import gzip
import json
import logging
import lzma
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, cast

from seq2seq.errors import UserError
from seq2seq.text import check_text

SUFFIXES = ("", ".gz", ".xz", ".zst")
"""The compressions that are read, by the end of a file's name."""

BLOCK = 1 << 16  # bytes read at once
PACKED = 1 << 10  # bytes of zstd unpacked at once: they may become 30,000 times as many
LONGEST = 16 << 20  # bytes of a line; what has none is not held in memory to find that out

log = logging.getLogger(__name__)


def lines(path: Path, errors: str | None = None) -> Iterator[str]:
    """The lines of a plain, .gz, .xz or .zst file, without their LF, exactly as they stand; see `decoded`.

    Raises UserError for a file that is missing or damaged, and (with its line) for what is not UTF-8 or longer than
    a sentence can be.
    """
    number = 0
    try:
        for number, line in enumerate(split(_blocks(path), path), 1):
            assert line is not None  # no block is
            yield decoded(line, path, number, errors)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, EOFError, lzma.LZMAError, _zstd_error()) as error:
        if isinstance(error, OSError) and error.filename is not None:  # it was not even opened
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        raise UserError(f"{path}: cannot be read after line {number} ({error}); is it whole?") from None


def decoded(line: bytes, name: object, number: int, errors: str | None = None) -> str:
    """One line of UTF-8 as text. A byte-order mark at the beginning of a file is no text and is left out.

    What is not UTF-8 raises UserError with the line's number, or with errors="replace" becomes U+FFFD, with a warning.
    errors="strict" is for commands with the option --errors, of which the message then tells; None is as strict.
    """
    if number == 1:
        line = line.removeprefix(BOM_UTF8)
        if line.endswith(b"\r"):
            log.warning("%s: its lines end in CR LF; the CR is read as a part of the text", name)
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        value, wide = error.object[error.start], number == 1 and line.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
        what = f"byte 0x{value:02x} at position {error.start + 1} is not UTF-8{' (UTF-16, it seems)' if wide else ''}"
        if errors != "replace":
            choice = " (or write U+FFFD in its place: --errors replace)" if errors else ""
            raise UserError(f"{name}:{number}: {what}; convert it to UTF-8{choice}") from None
        log.warning("%s:%d: %s; U+FFFD is written in its place", name, number, what)
        return line.decode("utf-8", "replace")


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
    return value


def split(blocks: Iterable[bytes | None], name: object) -> Iterator[bytes | None]:
    """The lines of a text that comes in blocks, without their LF; a None between blocks is passed on.

    Raises UserError, with the `name` and the line, for what is longer than a sentence can be.
    """
    rest: list[bytes] = []
    number = size = 0
    for block in blocks:
        if block is None:
            yield None
            continue
        first, *others = block.split(b"\n")
        rest.append(first)
        number, size = number + len(others), len(others[-1]) if others else size + len(first)
        if size > LONGEST:
            raise UserError(f"{name}:{number + 1}: has more than {LONGEST:,} bytes without a line's end; is it text?")
        if others:
            yield b"".join(rest)
            yield from others[:-1]
            rest = others[-1:]
    if last := b"".join(rest):
        yield last


def _blocks(path: Path) -> Iterator[bytes]:
    if path.suffix == ".zst":
        yield from _zstd_blocks(path)
        return
    openers: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}
    with openers.get(path.suffix, open)(path, "rb") as file:
        yield from iter(lambda: file.read(BLOCK), b"")


def _zstd_blocks(path: Path) -> Iterator[bytes]:
    """Frame by frame: zstandard's own file object takes a truncated file for a whole one."""
    import zstandard

    frame: Any = None
    with open(path, "rb") as file:
        while block := file.read(PACKED):
            while block:
                frame = frame or zstandard.ZstdDecompressor().decompressobj()
                yield frame.decompress(block)
                block = frame.unused_data if frame.eof else b""
                frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError("compressed file ended before its last frame did")


def _zstd_error() -> type[Exception]:
    import zstandard

    return cast("type[Exception]", zstandard.ZstdError)
