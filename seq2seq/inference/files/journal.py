"""The journal of an output that is being written: what is made, and how far it has come.

Lines of JSON, a tab, and the JSON's CRC-32: first what is made (bundle, options, version); then, after each chunk, how
many lines of the input are done, their sha256, and how many bytes of each output belong to them; and, when all are,
that this is the end.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from seq2seq.errors import UserError
from seq2seq.inference.files.chunks import BEGINNING, Place

Made = Mapping[str, Any]
"""What decides the content of an output, by name: plain JSON."""


def partial_of(target: Path) -> Path:
    """The file that is to become `target`, or what `target` links to."""
    target = target.resolve()
    return target.with_name(f"{target.name}.partial")


def journal_of(target: Path) -> Path:
    """The journal of an output."""
    partial = partial_of(target)
    return partial.with_name(f"{partial.name}.journal")


class Journal:
    """The lines of a journal; from one that is torn or damaged on they count for nothing, as does a journal without its
    file."""

    def __init__(self, target: Path) -> None:
        self.path = journal_of(target)
        self._partial = partial_of(target)
        self._length = 0  # bytes of whole lines
        self.made: Made | None = None
        self.place = BEGINNING
        self.ended = False
        self.sizes: list[int] | None = None  # bytes of each output that are done
        for entry in self._read():
            if self.made is None:
                self.made = entry
            elif "end" in entry:
                self.ended = True
            else:
                self.place = Place(entry["lines"], entry["sha256"])
                self.sizes = entry["bytes"]
        if not self.ended and not self._partial.exists():
            self.made = None
            self.place = BEGINNING
            self.sizes = None

    def _read(self) -> Iterator[Any]:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for line in file:
                try:
                    yield _entry(line)
                except ValueError:
                    return
                self._length += len(line)

    def check(self, made: Made) -> None:
        """Raise `UserError` where the journal describes something else than `made`, with the first difference."""
        if self.made is not None and (differs := difference(self.made, made)):
            raise UserError(f"{self._partial}: was begun with {differs}; give the same to resume, or delete it")

    def begin(self, made: Made) -> None:
        """Start the journal anew, with a line of what is made."""
        self.path.write_bytes(b"")
        self._length = 0
        self.append(made)

    def append(self, entry: Made) -> None:
        """Append a line; what it says is on the disk already."""
        with self.path.open("r+b") as file:
            file.seek(self._length)
            file.truncate()
            file.write(_line(entry))
            file.flush()
            os.fsync(file.fileno())
            self._length = file.tell()


def _line(entry: Made) -> bytes:
    content = json.dumps(entry, ensure_ascii=False).encode()
    return b"%b\t%08x\n" % (content, zlib.crc32(content))


def _entry(line: bytes) -> Any:
    """What `_line` wrote. Raises ValueError for anything else."""
    content, _, checksum = line.rpartition(b"\t")
    if checksum != b"%08x\n" % zlib.crc32(content):
        raise ValueError("damaged")
    return json.loads(content)


def difference(before: Made, now: Made) -> str | None:
    """In words, the first name whose values differ: `X instead of Y`."""
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            return f"{name} {_shown(before.get(name))}, not {_shown(now.get(name))}"
    return None


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:36]} …"
