"""The journal of an output that is being written: the settings that determine it, and the progress.

Each line is JSON, a tab, and the JSON's CRC-32. The first has the settings (bundle, options, version); then, after each
chunk, there is one with the number of input lines that are done, their sha256, and the bytes of each output that belong
to them; the last one marks the end.
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
"""All settings that determine the content of an output, by name, as JSON."""


def partial_of(target: Path) -> Path:
    """The file that is renamed to `target` (or to the file that `target` links to) at the end."""
    target = target.resolve()
    return target.with_name(f"{target.name}.partial")


def journal_of(target: Path) -> Path:
    """The path of the journal of an output."""
    partial = partial_of(target)
    return partial.with_name(f"{partial.name}.journal")


class Journal:
    """The journal of an output. Lines from the first damaged one on are ignored, and so is a journal without its
    partial file."""

    def __init__(self, target: Path) -> None:
        self.path = journal_of(target)
        self._partial = partial_of(target)
        self._length = 0  # bytes of complete lines
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
        """Raise `UserError`, with the first difference, if the journal's settings are not `made`."""
        if self.made is not None and (differs := difference(self.made, made)):
            raise UserError(f"{self._partial}: was begun with {differs}; give the same to resume, or delete it")

    def begin(self, made: Made) -> None:
        """Overwrite the journal with one line, the settings."""
        self.path.write_bytes(b"")
        self._length = 0
        self.append(made)

    def append(self, entry: Made) -> None:
        """Append a line and flush it to the disk; the outputs that it describes must be flushed before."""
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
    """Parse a line that `_line` wrote. Raises ValueError for a damaged one."""
    content, _, checksum = line.rpartition(b"\t")
    if checksum != b"%08x\n" % zlib.crc32(content):
        raise ValueError("damaged")
    return json.loads(content)


def difference(before: Made, now: Made) -> str | None:
    """A message about the first name whose values differ; None if there is none."""
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            return f"{name} {_shown(before.get(name))}, not {_shown(now.get(name))}"
    return None


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:36]} …"
