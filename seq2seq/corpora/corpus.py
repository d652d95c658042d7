"""What every corpus offers, and the one pass over its text that checks, counts and hashes it."""

from __future__ import annotations

import hashlib
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from seq2seq.corpora.folders import write_file
from seq2seq.errors import UserError
from seq2seq.paths import cache_root

SETTLED = 2.0  # seconds: a file changed more recently may change again within the resolution of its time stamp


class Corpus(ABC):
    """Sentence pairs in splits: "train", "val", and any number of tests. A subclass names its files and reads them."""

    source_language: str
    target_language: str

    def prepare(self) -> None:
        """Download or write what is not there yet; called once, before anything is read."""
        return None

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, "train" and "val" first."""

    @abstractmethod
    def files(self, split: str) -> tuple[Path, ...]:
        """The files that hold a split; their times and sizes tell whether it changed. Empty: always read it again."""

    @abstractmethod
    def pairs(self, split: str) -> Iterator[tuple[str, str]]:
        """The (source, target) texts of a split exactly as they stand in its files, as a stream."""

    @property
    def name(self) -> str:
        """How the corpus is called in logs and model cards."""
        return type(self).__name__

    def check(self, split: str) -> None:
        """Raise UserError if there is no such split."""
        if split not in self.splits:
            raise UserError(f"{self.name}: no split {split!r}; there are {', '.join(self.splits)}")


class Scan(NamedTuple):
    """What one pass over a split finds: the number of pairs, and the sha256 of their text."""

    pairs: int
    sha256: str


def scan(corpus: Corpus, split: str) -> Scan:
    """Read a split once: every fault of its files shows here, before any work. Files read before are not read again.

    Raises UserError for whatever `corpus.pairs` refuses, and for a split without a single pair.
    """
    corpus.check(split)
    files = corpus.files(split)
    note = cache_root() / "scans" / f"{_state(corpus, split, files)}.json"
    settled = bool(files) and all(file.exists() and time.time() - file.stat().st_mtime > SETTLED for file in files)
    if settled and (known := _read(note)):
        return known
    found = _scan(corpus.pairs(split))
    if not found.pairs:
        raise UserError(f"{', '.join(map(str, files)) or corpus.name}: the split {split!r} is empty")
    if settled:
        write_file(note, json.dumps(found._asdict()))
    return found


def _scan(pairs: Iterator[tuple[str, str]]) -> Scan:
    digest, count = hashlib.sha256(), 0
    for count, (source, target) in enumerate(pairs, 1):  # noqa: B007
        digest.update(f"{source}\n{target}\n".encode())
    return Scan(count, digest.hexdigest())


def _state(corpus: Corpus, split: str, files: Sequence[Path]) -> str:
    stats = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists()]
    settings = sorted((key, repr(value)) for key, value in vars(corpus).items())
    return hashlib.sha256(json.dumps([type(corpus).__qualname__, settings, split, stats]).encode()).hexdigest()


def _read(note: Path) -> Scan | None:
    try:
        return Scan(**json.loads(note.read_text()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
