"""Translated TED talks: IWSLT 2014 German–English, and IWSLT 2015 English–Vietnamese.

The talks are for research, under CC BY-NC-ND 4.0 (https://www.ted.com): the files are downloaded, and never passed on.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from html import unescape
from io import TextIOWrapper
from itertools import zip_longest
from pathlib import Path

from seq2seq.corpora import readers
from seq2seq.corpora.corpus import Corpus
from seq2seq.corpora.datasets.published import PublishedFiles
from seq2seq.errors import UserError

ARCHIVE = "de-en.tgz"
MARKUP = re.compile(r"^<(url|keywords|speaker|talkid|reviewer|translator)\b")  # lines without text to translate
TITLES = re.compile(r"</?(title|description)>")
SEGMENT = re.compile(r"<seg id=\"\d+\">(.*)</seg>")
HELD_OUT = 23
"""Of the training pairs each 23rd is of val, as in the preparation that most publications share."""

Read = Callable[[str], str | None]
"""From a line to the text in it; None where it has none."""

TESTS = ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")


class _Talks(Corpus):
    """Talks in two languages, either of which may be the source."""

    languages: tuple[str, str]
    published: PublishedFiles

    def _choose(self, source_language: str, target_language: str) -> None:
        """Set the direction. Raises UserError for other languages."""
        if {source_language, target_language} != set(self.languages):
            raise UserError(
                f"data.corpus.source_language={source_language}, target_language={target_language}: "
                f"{self.name} has {' and '.join(self.languages)}"
            )
        self.source_language, self.target_language = source_language, target_language

    def prepare(self) -> None:
        """Download what is missing, and check it."""
        self.published.prepare()


class IWSLT15(_Talks):
    """133,000 pairs of English and Vietnamese, tst2012 (val) and tst2013, as Luong & Manning (2015) prepared them:
    words and punctuation with spaces between them, and entities such as &apos; as they are there. Not tried on the real
    files.
    """

    languages = ("en", "vi")

    def __init__(
        self,
        source_language: str = "en",
        target_language: str = "vi",
        root: str | None = None,
        url: str = "https://nlp.stanford.edu/projects/nmt/data/iwslt15.en-vi",
    ) -> None:
        self._choose(source_language, target_language)
        names = (f"{name}.{language}" for name in ("train", "tst2012", "tst2013") for language in self.languages)
        self.published = PublishedFiles("iwslt15", url, dict.fromkeys(names), root)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names train, val and tst2013."""
        return ("train", "val", "tst2013")

    def files(self, split: str) -> tuple[Path, ...]:
        """The source file and the target file of a split."""
        name = "tst2012" if split == "val" else split
        return tuple(self.published.path(f"{name}.{one}") for one in (self.source_language, self.target_language))

    def pairs(self, split: str) -> Iterator[tuple[str, str]]:
        """The pairs of a split."""
        source, target = self.files(split)
        return readers.parallel(source, target)


class IWSLT14(_Talks):
    """160,000 pairs of German and English, a 23rd of them val, and the test of most publications: dev2010, dev2012 and
    tst2010 to tst2012 in one. The text is that of the talks: not in lower case and not split into words, as there.
    Read from the archive de-en.tgz, without unpacking it. Not tried on the real files.
    """

    languages = ("de", "en")

    def __init__(
        self,
        source_language: str = "de",
        target_language: str = "en",
        root: str | None = None,
        url: str = "http://dl.fbaipublicfiles.com/fairseq/data/iwslt14",
    ) -> None:
        self._choose(source_language, target_language)
        self.published = PublishedFiles("iwslt14", url, {ARCHIVE: None}, root)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names train, val and test."""
        return ("train", "val", "test")

    def files(self, split: str) -> tuple[Path, ...]:
        """The archive that has all splits."""
        return (self.published.path(ARCHIVE),)

    def pairs(self, split: str) -> Iterator[tuple[str, str]]:
        """The pairs of a split. Raises UserError, naming file and line, where the sides differ in length."""
        (path,) = self.files(split)
        if split == "test":
            for test in TESTS:
                yield from _segments(path, {one: f"IWSLT14.{test}.de-en.{one}.xml" for one in self.languages}, self)
            return
        names = {one: f"train.tags.de-en.{one}" for one in self.languages}
        for number, pair in enumerate(_training(path, names, self), 1):
            if (number % HELD_OUT == 0) == (split == "val"):
                yield pair


def _training(path: Path, names: Mapping[str, str], corpus: Corpus) -> Iterator[tuple[str, str]]:
    """The training pairs, without lines of markup and without those that have an empty side."""
    for source, target in _both(path, names, corpus, _text):
        if source and target:
            yield source, target


def _segments(path: Path, names: Mapping[str, str], corpus: Corpus) -> Iterator[tuple[str, str]]:
    return _both(path, names, corpus, _segment)


def _text(line: str) -> str | None:
    """A line of training; None for one of markup."""
    return None if MARKUP.match(line) else TITLES.sub("", line).strip()


def _segment(line: str) -> str | None:
    """The text of a segment of a test; None for other lines."""
    segment = SEGMENT.search(line)
    return unescape(segment[1]).strip() if segment else None


def _both(path: Path, names: Mapping[str, str], corpus: Corpus, read: Read) -> Iterator[tuple[str, str]]:
    """The texts of both sides, in the order of the corpus's languages."""
    sides = [_texts(path, names[one], read) for one in (corpus.source_language, corpus.target_language)]
    for number, (source, target) in enumerate(zip_longest(*sides), 1):
        if source is None or target is None:
            raise UserError(f"{path}: {' and '.join(names.values())} differ in length after {number - 1} texts")
        yield source, target


def _texts(path: Path, name: str, read: Read) -> Iterator[str]:
    """What `read` finds in the lines of a file of the archive."""
    try:
        with tarfile.open(path) as archive:
            member = next((each for each in archive if each.isfile() and Path(each.name).name == name), None)
            stream = archive.extractfile(member) if member else None
            if stream is None:
                raise UserError(f"{path}: has no {name}; delete it, and it is downloaded again")
            for line in TextIOWrapper(stream, encoding="utf-8", newline="\n"):
                if (text := read(line.strip())) is not None:
                    yield text
    except (tarfile.TarError, EOFError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: cannot be read ({error}); delete it, and it is downloaded again") from None
