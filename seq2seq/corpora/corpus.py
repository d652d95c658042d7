"""The base class of corpora, and the one pass over a corpus's text that checks, counts and hashes it."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from seq2seq.corpora.entries import Part
from seq2seq.corpora.folders import write_file
from seq2seq.errors import UserError
from seq2seq.runtime.atomic_files import digest_of
from seq2seq.runtime.paths import cached
from seq2seq.text import Column

FORMAT = 2  # version of the cached scans, to be raised when files are read differently
Item = TypeVar("Item")


class Corpus(ABC):
    """Sentence pairs in splits: "train", "val", and any number of tests. A subclass names its files and reads them.
    `has_features` tells whether sources are numbers instead of text."""

    has_features = False
    source_language: str
    target_language: str
    columns: Sequence[Column] = ()
    """What a source consists of, with tabs between them, if it is more than a text."""

    factors: Sequence[str] = ()
    """What the words of a source have values of (`seq2seq.text.factors`): in its text after a tab each."""

    def prepare(self) -> None:
        """Download or write missing files; called once, before anything is read."""
        return None

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, "train" and "val" first."""

    @abstractmethod
    def files(self, split: str) -> tuple[Path, ...]:
        """The files of a split; if their contents are unchanged, a scan is not repeated. Empty: it is always
        repeated."""

    @abstractmethod
    def pairs(self, split: str) -> Iterator[tuple[str, str]]:
        """The (source, target) texts of a split exactly as in its files, as a stream."""

    temperature: float | None = None
    """Mixes the parts of "train" by their sizes to the power of 1 / temperature."""

    def parts(self, split: str) -> Sequence[Part]:
        """What a split consists of, in order; one part where nothing distinguishes them."""
        return [Part("")]

    def part_pairs(self, split: str, number: int) -> Iterator[tuple[str, str]]:
        """The pairs of a part of a split."""
        return self.pairs(split)

    @property
    def name(self) -> str:
        """The name of the corpus in logs and model cards."""
        return type(self).__name__

    def remedy(self, split: str) -> str:
        """The remedy for a split without any pair, for the message."""
        where = split if split in ("train", "val") else f"tests.{split}"
        return f"give data.corpus.{where} a file with text{'' if where == split else ', or leave it out'}"

    def check(self, split: str) -> None:
        """Raise UserError if the corpus has no such split."""
        if split not in self.splits:
            raise UserError(f"{self.name}: no split {split!r}; there are {', '.join(self.splits)}")


class Scan(NamedTuple):
    """The result of one pass over a split: the number of pairs, and the sha256 of their text."""

    pairs: int
    sha256: str


def scan(corpus: Corpus, split: str) -> Scan:
    """Read a split once, so that every mistake in its files raises now, before any work. Files whose content was
    scanned before are only hashed: an unchanged time stamp or size does not prove an unchanged content.

    Raises UserError where `corpus.pairs` does, and for a split without any pair.
    """
    corpus.check(split)
    files = corpus.files(split)
    state = _state(corpus, split, files)
    note = cached("scans", f"{state}.json")
    if state and (known := _read(note)):
        return known
    result = _scan(corpus.pairs(split))
    if not result.pairs:
        raise UserError(
            f"{', '.join(map(str, files)) or corpus.name}: the split {split!r} is empty; {corpus.remedy(split)}"
        )
    if state and _state(corpus, split, files) == state:  # the files did not change meanwhile
        write_file(note, json.dumps(result._asdict()))
    return result


def verified(
    items: Iterable[Item], expected: Scan, where: str, text: Callable[[Item], tuple[str, str]]
) -> Iterator[Item]:
    """The same items, checked while they are read again. Raises UserError, naming `where`, after the last one if their
    `text` is not the one that was scanned: what is made from them is cached under the scan's hash."""
    digest, count = hashlib.sha256(), 0
    for count, item in enumerate(items, 1):  # noqa: B007
        _add(digest, *text(item))
        yield item
    if Scan(count, digest.hexdigest()) != expected:
        raise UserError(f"{where}: was changed while it was read; run the command again")


def _scan(pairs: Iterator[tuple[str, str]]) -> Scan:
    digest, count = hashlib.sha256(), 0
    for count, pair in enumerate(pairs, 1):  # noqa: B007
        _add(digest, *pair)
    return Scan(count, digest.hexdigest())


def _add(digest: hashlib._Hash, source: str, target: str) -> None:
    digest.update(f"{source}\n{target}\n".encode())


def _state(corpus: Corpus, split: str, files: Sequence[Path]) -> str | None:
    """A hash of all that determines a split's text; None where that is not only the content of files."""
    if not files or not all(file.is_file() for file in files):
        return None
    settings = sorted((key, repr(value)) for key, value in vars(corpus).items())
    try:
        contents = [digest_of(file, "blake2b") for file in files]
    except OSError:
        return None
    return hashlib.sha256(
        json.dumps([FORMAT, type(corpus).__qualname__, settings, split, contents]).encode()
    ).hexdigest()


def _read(note: Path) -> Scan | None:
    try:
        return Scan(**json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
