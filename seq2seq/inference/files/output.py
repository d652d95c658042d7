"""Output of the commands: files, standard output, pipes and devices. Files are written atomically."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from seq2seq.errors import UserError
from seq2seq.inference.files.input import STREAM

Write: TypeAlias = Callable[[bytes], object]


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


@contextmanager
def maybe_output(path: Path | None) -> Iterator[Write]:
    """Open an output (`output`); without a path, all content is discarded."""
    if path is None:
        yield len
        return
    with output(path) as write:
        yield write


def compress(plain: Path, target: Path) -> None:
    """Replace `target` by the content of a file, compressed in the format of the target's suffix; delete the file."""
    packed = plain.with_name(f"{plain.name}{target.suffix}")
    try:
        _pack(plain, packed)
        os.replace(packed, target)
    except BaseException:  # the disk may be full
        packed.unlink(missing_ok=True)
        raise
    plain.unlink()


def _pack(plain: Path, packed: Path) -> None:
    from seq2seq.corpora.compression import compressing

    with plain.open("rb") as content, packed.open("wb") as file:
        with compressing(file, packed.suffix) as stream:
            shutil.copyfileobj(content, stream, 1 << 20)
        file.flush()
        os.fsync(file.fileno())
