"""Readers of CoNLL files: one word a line, with its columns, and an empty line between sentences.

Columns are split at tabs where a line has one, else at spaces; spaces around a column are ignored. So a word of a
tab-separated file may contain a NO-BREAK SPACE, or any other white space but a tab.

Lines that are not words:
- lines that begin with -DOCSTART- (Tjong Kim Sang & De Meulder 2003);
- comments: lines that begin with # before the first word of a sentence, unless they have as many columns as the words,
  and a tag that other words have or that looks like an entity tag (B-PER);
- in CoNLL-U and similar formats, where the first column numbers the words: all lines that begin with # before a
  sentence, multiword tokens (1-2) and empty nodes (1.1).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import cache
from itertools import dropwhile
from pathlib import Path
from typing import NamedTuple

from seq2seq.corpora import readers
from seq2seq.errors import UserError
from seq2seq.text.label_tokenizer import is_entity_tag

CONLL_U = 10  # columns of CoNLL-U and of CoNLL-X
FORM, UPOS = 2, 4  # numbers of CoNLL-U's columns
NUMBER = re.compile(r"\d+")
NO_WORD = re.compile(r"\d+[-.]\d+")
log = logging.getLogger(__name__)


class Options(NamedTuple):
    """Which columns are read, from 1 (None: `survey` chooses), and what replaces a space within a word (None: such a
    word raises `UserError`)."""

    word_column: int | None = None
    tag_column: int | None = None
    space: str | None = None


class Sentence(NamedTuple):
    """The words and tags of a sentence, and the line number of the first word."""

    words: list[str]
    tags: list[str]
    line: int


class Cells(NamedTuple):
    """The columns of a line, trailing empty ones included, and its number."""

    values: list[str]
    line: int

    @property
    def width(self) -> int:
        """The number of columns up to the last that is not empty."""
        return max((i for i, value in enumerate(self.values, 1) if value), default=0)

    @property
    def shown(self) -> str:
        """The line, for a message."""
        return " ".join(self.values)


class Layout(NamedTuple):
    """The layout of a file: the columns of word and tag, from 1 (None: the last is the tag); whether the first column
    numbers the words; and for the lines that are certainly words, their numbers of columns, each with the first line
    that has it, and their tags."""

    word: int
    tag: int | None
    numbered: bool
    widths: dict[int, int]
    tags: set[str]

    def tag_of(self, cells: Cells, width: int) -> str:
        """The tag of a line that should have `width` columns; empty where there is none."""
        column = self.tag or (width if width > self.word else len(cells.values) + 1)
        return cells.values[column - 1] if column <= len(cells.values) else ""

    def is_comment(self, cells: Cells) -> bool:
        """Whether a line that begins with # before the first word of a sentence is a comment."""
        tag = self.tag_of(cells, cells.width)
        assigned = cells.values[0] == "#" and cells.values[2:3] == ["="]  # "# text = …"
        return self.numbered or assigned or not (self.is_wide(cells) and (tag in self.tags or is_entity_tag(tag)))

    def is_wide(self, cells: Cells) -> bool:
        """Whether a line has as many columns as those of words."""
        return cells.width in self.widths


def sentences(path: Path, options: Options) -> Iterator[Sentence]:
    """The sentences of a file. Raises `UserError`, with the line number, for a line that is no word with a tag."""
    if (layout := survey(path, options)) is None:
        return
    doubtful: Cells | None = None
    for block in _blocks(path):
        lines = list(dropwhile(lambda cells: _begins(cells) and layout.is_comment(cells), block))
        if doubtful is None and not layout.numbered:
            doubtful = next(filter(layout.is_wide, block[: len(block) - len(lines)]), None)
            if doubtful:
                _say(f"{path}:{doubtful.line}: {doubtful.shown!r} is left out as a comment, as are others like it")
        if layout.numbered:
            lines = [cells for cells in lines if not NO_WORD.fullmatch(cells.values[0])]
        if lines:
            _check_widths(path, lines, layout)
            pairs = [_pair(path, cells, layout, options) for cells in lines]
            yield Sentence([word for word, _ in pairs], [tag for _, tag in pairs], lines[0].line)


def survey(path: Path, options: Options) -> Layout | None:
    """The layout of a file, from one pass over it; None where no line is certainly a word.

    A file of ten columns whose first is a number is CoNLL-U: by default the word is FORM and the tag UPOS. In others
    the first column is the word and the last the tag. Raises `UserError` where the first column numbers the words, the
    file is not CoNLL-U, and `options` do not name the columns.
    """
    layout: Layout | None = None
    for block in _blocks(path):
        for cells in dropwhile(_begins, block):
            if layout is None:
                layout = _layout(path, block, cells, options)
            if not (layout.numbered and NO_WORD.fullmatch(cells.values[0])):
                layout.widths.setdefault(cells.width, cells.line)
                layout.tags.add(layout.tag_of(cells, cells.width))
    return layout


def _layout(path: Path, block: list[Cells], first: Cells, options: Options) -> Layout:
    number = first.values[0]
    numbered = bool(NUMBER.fullmatch(number) or NO_WORD.fullmatch(number))
    if options.word_column is not None:
        return Layout(options.word_column, options.tag_column, numbered and options.word_column > 1, {}, set())
    if numbered and len(first.values) == CONLL_U:
        tag = options.tag_column or UPOS
        _say(f"{path}: is CoNLL-U; its words are column {FORM} and its tags column {tag} (data.corpus.tag_column)")
        return Layout(FORM, tag, True, {}, set())
    numbers = [cells.values[0] for cells in block if not _begins(cells) and not NO_WORD.fullmatch(cells.values[0])]
    if len(numbers) > 1 and first.width > 2 and numbers == [str(i) for i in range(1, len(numbers) + 1)]:
        raise UserError(
            f"{path}:{first.line}: the first of its {first.width} columns numbers the words; say which column is the "
            "word (data.corpus.word_column=2) and which the tag (data.corpus.tag_column)"
        )
    return Layout(1, options.tag_column, False, {}, set())


def _blocks(path: Path) -> Iterator[list[Cells]]:
    """The lines of each sentence, with the comments before it."""
    block: list[Cells] = []
    tabbed = False
    for number, line in enumerate(readers.lines(path), 1):
        tabbed = tabbed or ("\t" in line.strip() and not line.startswith("#"))
        cells = Cells(_split(line, tabbed), number)
        if cells.width and not cells.values[0].startswith("-DOCSTART-"):
            block.append(cells)
        elif block:
            yield block
            block = []
    if block:
        yield block


def _split(line: str, tabbed: bool) -> list[str]:
    """The columns of a line; if its only tabs are trailing, they separate columns only if earlier lines have tabs
    (`tabbed`)."""
    if "\t" in line if tabbed else "\t" in line.rstrip():
        return [cell.strip(" ") for cell in line.split("\t")]
    return [cell for cell in line.rstrip().split(" ") if cell] if line.strip() else []


def _begins(cells: Cells) -> bool:
    return cells.values[0].startswith("#")


def _check_widths(path: Path, lines: list[Cells], layout: Layout) -> None:
    """Raise `UserError` where the numbers of columns differ within the file, or, if the tag's column is given, within a
    sentence: some formats have more columns in some sentences."""
    width, line = next(iter(layout.widths.items())) if layout.tag is None else (lines[0].width, lines[0].line)
    for cells in lines:
        if cells.width <= layout.word and layout.tag is None:
            raise UserError(
                f"{path}:{cells.line}: {cells.shown!r} has no tag; a line is a word, a tab or spaces, and its tag"
            )
        if not cells.width <= width <= len(cells.values):
            raise UserError(
                f"{path}:{cells.line}: {cells.width} columns, but line {line} has {width}; columns are split at tabs "
                "where a line has one, else at spaces"
            )


def _pair(path: Path, cells: Cells, layout: Layout, options: Options) -> tuple[str, str]:
    """The word and the tag of a line."""
    where, width = f"{path}:{cells.line}:", next(iter(layout.widths)) if layout.tag is None else cells.width
    word = cells.values[layout.word - 1] if layout.word <= len(cells.values) else ""
    tag = layout.tag_of(cells, width)
    if not word:
        raise UserError(f"{where} {cells.shown!r} has no word in column {layout.word} (data.corpus.word_column)")
    if not tag or (tag == "_" and layout.numbered and options.tag_column is None):
        raise UserError(f"{where} {cells.shown!r} has no tag in column {layout.tag or width} (data.corpus.tag_column)")
    if " " in tag:
        raise UserError(f"{where} the tag {tag!r} holds a space; columns are split at tabs where a line has one")
    if " " in word:
        if options.space is None:
            raise UserError(
                f"{where} the word {word!r} holds a space, and a text has spaces between its words only; "
                "data.corpus.space=_ (or a NO-BREAK SPACE) writes another sign for it, in prediction do so yourself"
            )
        word = word.replace(" ", options.space)
    return word, tag


@cache
def _say(message: str) -> None:
    """Log a warning, once for each message, although a file is read several times."""
    log.warning(message)
