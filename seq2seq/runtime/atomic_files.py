"""Atomic writes: a file is there with its whole content or not at all; and checksums of files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

LEFT = ".*.partial"
"""The pattern of the temporary names that a killed process leaves in a folder."""


@contextmanager
def atomic_write(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary name next to `path` to write to: renamed to `path` if the block succeeds, removed if it fails.

    With `durable`, the content is synchronised with the disk before and the name after the renaming, so that a crash of
    the machine leaves the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        if durable:
            _synchronise(temporary, os.O_RDWR)
        os.replace(temporary, path)
        if durable and hasattr(os, "O_DIRECTORY"):  # other systems do not open folders
            _synchronise(path.parent, os.O_RDONLY)
    finally:
        temporary.unlink(missing_ok=True)


def write_lines(lines: Iterable[str], path: Path) -> None:
    """Write the lines as UTF-8, each ended by a line feed."""
    with atomic_write(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def digest_of(path: Path, algorithm: str = "sha256") -> str:
    """Compute the checksum of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _synchronise(path: Path, mode: int) -> None:
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
