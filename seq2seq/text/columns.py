"""A source of several columns, with tabs between them: a text and its tags, or several texts of one meaning.

    kuzu⇥N;LOC;SG     k u z u N LOC SG            the tags after the letters (Kann & Schütze 2016)
                      k u z u </s> N LOC SG       with `ends`: each column ends with eos, for an encoder of its own

Each column has a tokenizer; the ids of the second follow those of the first, and so on, so that a tag is never a
letter, however both are written. Columns of the same tokenizer have the same ids.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, NamedTuple

from seq2seq.errors import UserError
from seq2seq.text.tokenizer import (
    PlainFiles,
    Sampling,
    TextPairs,
    Tokenizer,
    Tokenizers,
    TokenizerTrainer,
    train_tokenizers,
)
from seq2seq.text.vocabulary import EOS, SPECIALS, UNK, UNKNOWN

TAB = "\t"
FIRST = len(SPECIALS)


class Column(NamedTuple):
    """A column of a corpus's sources: its name, and what separates its tags; None for text."""

    name: str
    separator: str | None = None


class TagTokenizer(PlainFiles):
    """Tags between separators, each one token: those of `tags` have the ids 4, 5, …, all others are unk."""

    kind: ClassVar[str] = "tags"

    def __init__(self, tags: Sequence[str], separator: str) -> None:
        self.tags, self.separator = list(tags), separator
        self._ids = {tag: i for i, tag in enumerate(self.tags, FIRST)}
        if len(self._ids) != len(self.tags) or not separator:
            raise UserError("tag tokenizer: a tag is twice in its list, or the separator is empty")

    def __len__(self) -> int:
        return FIRST + len(self.tags)

    def describe(self) -> dict[str, Any]:
        """The tags, in the order of their ids, and the separator."""
        return {"tags": self.tags, "separator": self.separator}

    def encode(self, text: str) -> list[int]:
        """The id of each tag, in their order; unk for one that is not in the list."""
        return [self._ids.get(tag, UNK) for tag in split_tags(text, self.separator)]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, as `encode` gives them."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """The tags with separators between them; pad, bos and eos are dropped, unk is ⁇."""
        return self.separator.join(UNKNOWN if i == UNK else self.tags[i - FIRST] for i in ids if i > EOS or i == UNK)

    def decode_batch(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The tags of each text, as `decode` gives them."""
        return [self.decode(each) for each in ids]

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The tag of each id."""
        return [SPECIALS[i] if i < FIRST else self.tags[i - FIRST] for i in ids]

    def check(self, text: str, where: str) -> None:
        """Raise UserError, naming `where`, for a tag that is not in the list."""
        for tag in split_tags(text, self.separator):
            if tag not in self._ids:
                near = difflib.get_close_matches(tag, self.tags, 3, 0.5) or self.tags[:8]
                raise UserError(
                    f"{where}: the tag {tag!r} is not one of the {len(self.tags)} that the model was trained with; "
                    f"did you mean {', '.join(near)}?"
                )


class ColumnsTokenizer(PlainFiles):
    """A tokenizer for each column of a source; `ends` puts eos between columns. A text of one column, such as a target
    of a joint vocabulary, is one of the first. The text of ids is that of the first column's."""

    kind: ClassVar[str] = "columns"

    def __init__(self, names: Sequence[str], columns: Sequence[Tokenizer], *, ends: bool) -> None:
        self.names, self.columns, self.ends = tuple(names), tuple(columns), ends
        begins: dict[str, int] = {}
        self._size = FIRST
        for column in self.columns:
            if column.fingerprint not in begins:
                begins[column.fingerprint] = self._size - FIRST
                self._size += len(column) - FIRST
        self._begins = [begins[column.fingerprint] for column in self.columns]

    def __len__(self) -> int:
        return self._size

    @property
    def symbols(self) -> dict[str, int]:
        """The symbols of the first column."""
        return getattr(self.columns[0], "symbols", {})

    def describe(self) -> dict[str, Any]:
        """The columns' names and descriptions; of the model, so many bytes are each column's."""
        columns = [
            {"name": name, "kind": column.kind, "model_bytes": len(column.model), **column.describe()}
            for name, column in zip(self.names, self.columns, strict=True)
        ]
        return {"columns": columns, "ends": self.ends}

    @property
    def model(self) -> bytes:
        """The columns' models, in order."""
        return b"".join(column.model for column in self.columns)

    def encode(self, text: str) -> list[int]:
        """Ids of all columns of a text, without bos and the last eos."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, as `encode` gives them."""
        encoded: list[list[int]] = [[] for _ in texts]
        split = [text.split(TAB, len(self.columns) - 1) for text in texts]
        for number, (column, begin) in enumerate(zip(self.columns, self._begins, strict=True)):
            rows = [i for i, cells in enumerate(split) if len(cells) > number]
            for i, ids in zip(rows, column.encode_batch([split[i][number] for i in rows]), strict=True):
                between = [EOS] if self.ends and number else []
                encoded[i] += [*between, *(each + begin * (each >= FIRST) for each in ids)]
        return encoded

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the first column."""
        return self.columns[0].decode([i for i in ids if i < len(self.columns[0])])

    def decode_batch(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of each, as `decode` gives it."""
        size = len(self.columns[0])
        return self.columns[0].decode_batch([[i for i in each if i < size] for each in ids])

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The token of each id."""
        return [self._token(i) for i in ids]

    def _token(self, token: int) -> str:
        for column, begin in zip(self.columns, self._begins, strict=True):
            if token < FIRST or begin + FIRST <= token < begin + len(column):
                return column.tokens([token - begin * (token >= FIRST)])[0]
        raise IndexError(f"{token} is no id of {len(self)}")

    def cut(self, ids: Sequence[int], most: int) -> list[int]:
        """The first ids of a source, at most so many; of each column where columns end with eos."""
        if not self.ends:
            return list(ids[:most])
        kept: list[int] = []
        count = 0
        for token in ids:
            count = 0 if token == EOS else count + 1
            if count <= most:
                kept.append(token)
        return kept

    def first(self, ids: list[int]) -> list[int]:
        """The ids of a source that the first encoder reads: all, or where columns end with eos, the first column's."""
        return ids[: ids.index(EOS)] if self.ends and EOS in ids else ids

    def tags(self, text: str) -> list[str]:
        """The tags of a source, of its first column of tags; none where it has no such column."""
        cells = zip(text.split(TAB), self.columns, strict=False)
        return next((split_tags(cell, each.separator) for cell, each in cells if isinstance(each, TagTokenizer)), [])

    def check(self, text: str, where: str, *, known: bool = True) -> None:
        """Raise UserError, naming `where`, for a source of another number of columns and, if tags must be `known`, for
        one that the tokenizer does not have."""
        cells = text.split(TAB)
        if len(cells) != len(self.columns):
            raise UserError(
                f"{where}: has {len(cells)} tab-separated columns, and this model reads {len(self.columns)}: "
                f"{'<TAB>'.join(self.names)}"
            )
        for cell, column in zip(cells, self.columns, strict=True):
            if isinstance(column, TagTokenizer):
                check_tags_of(cell, column.separator, where)
                if known:
                    column.check(cell, where)


@dataclass(frozen=True)
class ColumnsTrainer(TokenizerTrainer):
    """Trains `texts` on all columns of text (one tokenizer for all if it is joint, else one each), and lists the tags
    of the others. With a joint tokenizer of text and tags, the target has the same vocabulary."""

    texts: TokenizerTrainer
    columns: tuple[Column, ...]
    ends: bool = False

    @property
    def joint(self) -> bool:  # type: ignore[override]
        """Whether all texts, of both sides, have one tokenizer."""
        return self.texts.joint

    @property
    def training_lines(self) -> int:  # type: ignore[override]
        """Those of the tokenizer of text."""
        return self.texts.training_lines

    @property
    def symbols(self) -> Sequence[str]:  # type: ignore[override]
        """Those of the tokenizer of text."""
        return self.texts.symbols

    @property
    def sampling(self) -> Sampling | None:
        """None: raises UserError where the tokenizer of text samples."""
        if self.texts.sampling:
            raise UserError("tokenizer.sampling_alpha: sources of several columns cannot be sampled; set it to 0")
        return None

    def settings(self) -> dict[str, Any]:
        """All that affects the tokenizer."""
        return {"kind": "columns", "texts": self.texts.settings(), "columns": self.columns, "ends": self.ends}

    def train(self, lines: Iterable[str]) -> Tokenizer:
        """Train on text without columns."""
        return self.texts.train(lines)

    def train_sides(self, pairs: TextPairs, count: int) -> Tokenizers:
        """The tokenizers of both sides; see the class."""
        texts = [number for number, column in enumerate(self.columns) if column.separator is None]
        read = texts if self.joint else texts[:1]
        trained = train_tokenizers(self.texts, lambda: _texts(pairs(), read), count * len(read))
        tokenizers: dict[int, Tokenizer] = dict.fromkeys(texts, trained.source)
        for number in () if self.joint else texts[1:]:
            step = max(1, -(-count // self.training_lines))
            tokenizers[number] = self.train(cells[number] for cells in islice(_cells(pairs()), 0, None, step))
        tags = {n: column.separator for n, column in enumerate(self.columns) if column.separator is not None}
        tokenizers |= {number: _tags(_cells(pairs()), number, separator) for number, separator in tags.items()}
        columns = [tokenizers[number] for number in range(len(self.columns))]
        source = ColumnsTokenizer([column.name for column in self.columns], columns, ends=self.ends)
        if self.joint and tags:
            return Tokenizers(source, source, joint=True)
        return Tokenizers(source, trained.target, joint=False)


def with_columns(trainer: TokenizerTrainer, columns: Sequence[Column], *, ends: bool = False) -> TokenizerTrainer:
    """The trainer for sources of these columns; itself where there are none, or where it is for columns already."""
    if not columns or isinstance(trainer, ColumnsTrainer):
        return trainer
    return ColumnsTrainer(trainer, tuple(columns), ends)


def split_tags(text: str, separator: str) -> list[str]:
    """The tags of a cell, without spaces around them."""
    return [tag for tag in (each.strip() for each in text.split(separator)) if tag]


def check_tags_of(text: str, separator: str, where: str) -> None:
    """Raise UserError, naming `where`, for a cell without tags, and for a tag that is a letter: one character that
    letters of words are written with, other than a capital (such as N, V) or a digit (a person of a verb)."""
    tags = split_tags(text, separator)
    if not tags:
        raise UserError(f"{where}: has no tags; write them with {separator!r} between them, such as N{separator}SG")
    for tag in tags:
        if len(tag) == 1 and tag.isalpha() and not tag.isupper():
            raise UserError(
                f"{where}: the tag {tag!r} is a letter; tags are words of capitals or digits, such as N{separator}SG "
                "(is data.corpus.features_column the column of the tags?)"
            )


def _cells(pairs: Iterable[tuple[str, str]]) -> Iterator[list[str]]:
    return (source.split(TAB) for source, _ in pairs)


def _texts(pairs: Iterable[tuple[str, str]], columns: Sequence[int]) -> Iterator[tuple[str, str]]:
    """A pair for each text of a source; the target is in the first only, so that it counts once."""
    for source, target in pairs:
        cells = source.split(TAB)
        yield from ((cells[number], "" if place else target) for place, number in enumerate(columns))


def _tags(rows: Iterable[list[str]], column: int, separator: str) -> TagTokenizer:
    return TagTokenizer(sorted({tag for cells in rows for tag in split_tags(cells[column], separator)}), separator)
