"""Corpora whose target is labels: one label or a set of them for each word, or for the text.

Text is tokenised already: words are separated by single spaces. `seq2seq.text.label_tokenizer` defines how sets are
written.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from seq2seq.corpora import conll, readers
from seq2seq.corpora.corpus import Corpus
from seq2seq.corpora.entries import Entry
from seq2seq.corpora.files import _Files
from seq2seq.errors import UserError
from seq2seq.text import LabelTokenizer
from seq2seq.text.label_tokenizer import unknown


class Row(NamedTuple):
    """A text, its labels, and the file and line of both."""

    text: str
    labels: str
    path: Path
    line: int

    def wrong(self, what: str) -> UserError:
        """A `UserError` with this file and line."""
        return UserError(f"{self.path}:{self.line}: {what}")


class LabelCorpus(Corpus):
    """A corpus of texts with labels; `unit` is what the labels belong to: each `word`, or the `text`."""

    unit: str

    @abstractmethod
    def rows(self, split: str) -> Iterator[Row]:
        """The rows of a split as in its files, as a stream."""

    def pairs(self, split: str) -> Iterator[tuple[str, str]]:
        """The (text, labels) of a split. Raises `UserError` where there are not as many tags as words."""
        for row in self.rows(split):
            if self.unit == "word" and (words := _count(row.text)) != (tags := _count(row.labels)):
                raise row.wrong(f"{words} words, but {tags} tags; each word needs one")
            yield row.text, row.labels

    def check_labels(self, labels: LabelTokenizer) -> None:
        """Raise `UserError` for a label of val or a test that training never saw, and for a text that should have
        exactly one label and has not."""
        for split in self.splits:
            for row in self.rows(split):
                if self.unit == "text" and labels.form == "one" and _count(row.labels) != 1:
                    raise row.wrong(f"{row.labels!r} is not exactly one label; for any number set labels.many=true")
                if label := next(unknown(labels, row.labels), None):
                    raise row.wrong(f"label {label!r} was never seen in training; it knows {len(labels.labels)} others")


class Tagged(_Files, LabelCorpus):
    """Sentences with a tag for each word. `format`:

    - `lines`: a sentence a line, WORDS, a tab, TAGS, both with single spaces between them;
    - `conll`: a word a line with its columns, an empty line between sentences, see `seq2seq.corpora.conll`. By default
      the word is the first column and the tag the last, in CoNLL-U FORM and UPOS; `word_column` and `tag_column` (from
      1) choose others. `space` replaces a space within a word; without it, such a word raises `UserError`.
    """

    unit = "word"

    def __init__(
        self,
        source_language: str,
        target_language: str,
        train: str | Sequence[Entry],
        val: Entry,
        tests: Mapping[str, Entry] | None = None,
        format: str = "lines",
        word_column: int | None = None,
        tag_column: int | None = None,
        space: str | None = None,
    ) -> None:
        super().__init__(source_language, target_language, train, val, tests)
        if format not in ("lines", "conll"):
            raise UserError(f"data.corpus.format={format!r} is not known; use lines or conll")
        self.format, self.options = format, conll.Options(word_column, tag_column, space)
        self._check_options()

    def _check_options(self) -> None:
        word, tag, space = self.options
        if self.format != "conll" and self.options != conll.Options():
            raise UserError("data.corpus.word_column, tag_column, space: are for data.corpus.format=conll; set it")
        for key, column in (("word_column", word), ("tag_column", tag)):
            if column is not None and column < 1:
                raise UserError(f"data.corpus.{key}={column}: columns count from 1")
        if tag is not None and tag == (word or 1):
            raise UserError(f"data.corpus.tag_column={tag}: is the column of the word; choose another")
        if space is not None and (not space or set(space) & set(" \t\r\n")):
            raise UserError(f"data.corpus.space={space!r}: must be a sign other than a space, such as _")

    def rows(self, split: str) -> Iterator[Row]:
        """The sentences of all files of a split, in order."""
        for path in self.files(split):
            if self.format == "lines":
                yield from two_columns(path)
                continue
            for words, tags, line in conll.sentences(path, self.options):
                yield Row(" ".join(words), " ".join(tags), path, line)


class Labelled(_Files, LabelCorpus):
    """A text a line: TEXT, a tab, and its label, or any number of labels (also none) with single spaces between
    them."""

    unit = "text"

    def rows(self, split: str) -> Iterator[Row]:
        """The texts of all files of a split, in order."""
        for path in self.files(split):
            yield from two_columns(path)


def two_columns(path: Path) -> Iterator[Row]:
    """The rows of a file with two tab-separated columns. Raises `UserError` for a line with more or fewer."""
    for number, line in enumerate(readers.lines(path), 1):
        cells = line.split("\t")
        if len(cells) != 2:
            raise UserError(f"{path}:{number}: {len(cells)} tab-separated columns; text and labels are two")
        yield Row(cells[0], cells[1], path, number)


def _count(text: str) -> int:
    return sum(1 for word in text.split(" ") if word)
