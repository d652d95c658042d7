"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

LEFT = ".*.partial"
"""What names in a folder look like that a process which was killed has left."""


@contextmanager
def whole(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A name beside `path` to write to; it becomes `path` if the block succeeds and disappears if it does not.

    `durable`: the disk confirms the content before and the name after, so that no crash of the machine can spoil both
    the old file and the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        if durable:
            _confirm(temporary, os.O_RDWR)
        os.replace(temporary, path)
        if durable and hasattr(os, "O_DIRECTORY"):  # other systems do not open folders
            _confirm(path.parent, os.O_RDONLY)
    finally:
        temporary.unlink(missing_ok=True)


def write_lines(lines: Iterable[str], path: Path) -> None:
    """A file of these lines, UTF-8, each ended by a line feed."""
    with whole(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def _confirm(path: Path, mode: int) -> None:
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
