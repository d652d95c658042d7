"""Atomic writes of files, and checksums of files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

LEFT = ".*.partial"
"""The pattern of temporary files that a killed process leaves in a folder."""


@contextmanager
def atomic_write(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path to write to, which is renamed to `path` if the block succeeds, and removed if it fails.

    With `durable`, the file is flushed to the disk before renaming and the folder after it, so that a crash of the
    machine leaves either the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        if durable:
            _synchronise(temporary, os.O_RDWR)
        os.replace(temporary, path)
        if durable and hasattr(os, "O_DIRECTORY"):  # other systems cannot open folders
            _synchronise(path.parent, os.O_RDONLY)
    finally:
        temporary.unlink(missing_ok=True)


def write_lines(lines: Iterable[str], path: Path) -> None:
    """Write lines atomically as UTF-8, each with a line feed."""
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
