"""Output files of a command that can be resumed after it was killed.

While the command runs, there are two files next to an output OUT:

    OUT.partial           the output so far, uncompressed
    OUT.partial.journal   settings that determine it, and progress

When the command resumes, content after the last position in the journal is truncated: so the outputs are, byte for
byte, those of an uninterrupted run. At the end the partial files are renamed to the outputs, and the journal is
deleted.

Each line of the journal is JSON, a tab, and the JSON's CRC-32. The first has the settings (bundle, options, version);
then, after each chunk, there is one with the number of input lines that are done, their sha256, and the bytes of each
output that belong to them; the last one marks the end.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

from seq2seq.corpora.compression import SUFFIXES
from seq2seq.errors import UserError
from seq2seq.inference.files.input import BEGINNING, STREAM, Place
from seq2seq.inference.files.output import Write, compress, output
from seq2seq.runtime.locks import is_still, try_lock

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


def check_partial(target: Path, resume: bool) -> None:
    """Raise `UserError` if an interrupted run has left lines, and `resume` is False."""
    if not resume and (done := Journal(target).place.lines):
        raise UserError(
            f"{partial_of(target)}: an interrupted run has done {done} lines; add --resume to resume it, or delete it"
        )


@runtime_checkable
class Outputs(Protocol):
    """Files that are being written."""

    @property
    def place(self) -> Place:
        """The place in the input up to which all lines are written."""

    @property
    def ended(self) -> bool:
        """Whether that is the end of the input."""

    def write(self, contents: Sequence[bytes], place: Place) -> None:
        """Write the content of each file for the lines up to `place`."""


def resumable(targets: Sequence[Path]) -> bool:
    """Whether all are regular files (or new), not a stream, a pipe or a device."""
    return all(target != STREAM and (target.is_file() or not target.exists()) for target in targets)


@contextmanager
def outputs(targets: Sequence[Path], made: Made, finish: Callable[[Place], object] | None = None) -> Iterator[Outputs]:
    """Open files that replace their targets at the end of the block; resume where an interrupted run ended.

    `finish` is called after that, with the place at the end of the input. After an exception the partial files stay if
    a line is done. Targets that are not `resumable` are written directly.

    Raises:
        UserError: the interrupted run had other settings, another process writes the same outputs, or a file cannot be
            written.
    """
    if not resumable(targets):
        with ExitStack() as stack:
            yield _Direct([stack.enter_context(output(target)) for target in targets])
        return
    partial = _Partial(targets)
    try:
        partial.open(json.loads(json.dumps(made)))
        yield partial
        partial.install()
        if finish:
            finish(partial.place)
        partial.journal.path.unlink()
    finally:
        partial.close()


class _Direct:
    """Outputs that are written directly and cannot be resumed: streams, pipes and devices."""

    place, ended = BEGINNING, False

    def __init__(self, writes: Sequence[Write]) -> None:
        self._writes = writes

    def write(self, contents: Sequence[bytes], place: Place) -> None:
        for write, content in zip(self._writes, contents, strict=True):
            write(content)


class _Partial:
    """Outputs that are resumable: partial files with a journal."""

    def __init__(self, targets: Sequence[Path]) -> None:
        self._targets = [target.resolve() for target in targets]
        self._partials = [partial_of(target) for target in targets]
        self._files: list[BinaryIO] = []
        self.journal = Journal(targets[0])
        self.place: Place = self.journal.place
        self.ended: bool = self.journal.ended

    def open(self, made: Made) -> None:
        """Open the partial files, truncated to the sizes in the journal."""
        self.journal.check(made)
        if self.ended:  # some may be installed already
            return
        if self.journal.made is None:
            self.journal.path.unlink(missing_ok=True)
        for partial, size in zip(self._partials, self.journal.sizes or [0] * len(self._partials), strict=True):
            self._files.append(_open(partial, size))
        if self.journal.made is None:
            self.journal.begin(made)

    def write(self, contents: Sequence[bytes], place: Place) -> None:
        """Write the content for the lines up to `place`, flush it to the disk, and record it in the journal."""
        with _explained(self._partials[0]):
            for file, content in zip(self._files, contents, strict=True):
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            self.journal.append({**place._asdict(), "bytes": [file.tell() for file in self._files]})
        self.place = place

    def install(self) -> None:
        """Rename (or compress) the partial files to the outputs."""
        with _explained(self._partials[0]):
            if not self.ended:
                self.journal.append({"end": True})
            self.ended = True
            for file in self._files:
                file.close()
            for partial, target in zip(self._partials, self._targets, strict=True):
                if not partial.exists():
                    continue
                if target.suffix in SUFFIXES:
                    compress(partial, target)
                else:
                    os.replace(partial, target)

    def close(self) -> None:
        """Close the files; delete them if no line is done, else print how to resume."""
        for file in self._files:
            with suppress(OSError):  # the disk may still be full
                file.close()
        if not self._files or not self.journal.path.exists():
            return
        if lines := Journal(self._targets[0]).place.lines:  # what is on the disk, after an exception at any point
            stay = f"{lines} lines are done and stay in {self._partials[0]}; --resume resumes after them"
            print(f"seq2seq: {stay}", file=sys.stderr)
        else:
            self.journal.path.unlink()
            for partial, _ in zip(self._partials, self._files, strict=False):
                partial.unlink(missing_ok=True)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None


def _open(path: Path, size: int) -> BinaryIO:
    """Open and lock a file, truncated to its first `size` bytes, to write after them. Raises `UserError` if another
    process writes it, or it is shorter."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
    try:
        _lock(file, path)
        if (actual := file.seek(0, os.SEEK_END)) < size:
            raise UserError(f"{path}: has {actual} bytes, and its journal says {size}; delete it to begin again")
        file.truncate(size)
        file.seek(size)
    except BaseException:
        file.close()
        raise
    return file


def _lock(file: BinaryIO, path: Path) -> None:
    """Lock a file until it is closed, if the system has such locks. Raises `UserError` if another process has it."""
    locked = try_lock(file)
    if locked is False or (locked and not is_still(file, path)):
        raise UserError(f"{path}: another process is writing it; wait for it, or choose another output")


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
