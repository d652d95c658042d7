"""Input and output of the commands: files and standard streams of lines. Output files are written atomically."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from seq2seq.errors import UserError

STREAM = Path("-")
Write: TypeAlias = Callable[[bytes], object]
BLOCK = 1 << 16  # bytes read at once: the capacity of a pipe on Linux
PATIENCE = 0.02  # seconds to wait for more input: too short to notice, long enough for another program to continue


def check(source: Path, target: Path) -> None:
    """Raise `UserError` for an input that does not exist, an output that cannot be written, or the same file."""
    if source != STREAM and not source.exists():
        raise UserError(f"{source}: no such file")
    if STREAM not in (source, target) and target.is_file() and target.samefile(source):
        raise UserError(f"{target}: is the input as well; choose another output")
    check_output(target)


def check_output(target: Path) -> None:
    """Raise `UserError` for an output that cannot be written, or has a suffix of a format that is not written."""
    if target.is_dir() or not target.parent.is_dir():
        raise UserError(f"{target}: is a folder, or in none that exists; give the name of a file")
    from seq2seq.corpora.compression import check_suffix

    check_suffix(target.name)


def count(source: Path, errors: str | None = None) -> int | None:
    """The number of lines of a file, all of which are checked to be UTF-8; None for a stream."""
    return None if source == STREAM or not source.is_file() else sum(1 for _ in lines(source, errors))


def lines(path: Path, errors: str | None = None) -> Iterator[str]:
    """The lines of a file, or of standard input; `errors` is that of `corpora.readers.decoded`."""
    return (line for line in arriving(path, errors) if line is not None)


def arriving(path: Path, errors: str | None = None) -> Iterator[str | None]:
    """`lines`, with None where the next line has not arrived yet."""
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


@contextmanager
def output(path: Path) -> Iterator[Write]:
    """Yield a function that writes bytes to the output `path`, which is replaced at the end of the block.

    Compressed bytes depend on neither name nor time. A pipe or a device is written directly.
    """
    with _named(path):
        if path == STREAM:
            if sys.stdout is None:
                raise UserError("standard output: is closed; give the name of a file")
            yield _to_stdout
        elif path.exists() and not path.is_file():  # a pipe or a device, /dev/null among them
            with path.open("wb") as file:
                yield file.write
        else:
            from seq2seq.corpora.compression import compressing
            from seq2seq.runtime.atomic_files import atomic_write

            with (
                atomic_write(path.resolve()) as temporary,
                temporary.open("wb") as file,
                compressing(file, path.suffix) as packed,
            ):
                yield packed.write


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Add the name of the output to an error of writing, which has none."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is not None:
            raise
        name = "standard output" if path == STREAM else path
        raise UserError(f"{name}: cannot be written ({error.strerror})") from None


def _to_stdout(content: bytes) -> None:
    """Write and flush, as the reader may wait for each line."""
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
