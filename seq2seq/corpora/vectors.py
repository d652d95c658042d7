"""Pretrained word vectors from text files (word2vec, fastText, GloVe), for the tokens of a vocabulary.

A line is a token and its numbers between spaces; a first line of two whole numbers (how many, how wide) may come before
them. Compressed files are read as they are. Only the numbers of tokens that are needed are parsed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seq2seq.corpora import readers
from seq2seq.errors import UserError
from seq2seq.text import SentencePieceTokenizer, Tokenizer
from seq2seq.text.subwords import SPACE
from seq2seq.text.vocabulary import SPECIALS

COMPOSED = 200_000  # words of a file, the most frequent first, of which subwords are composed
CHUNK = 4096  # of them at once
Rows = NDArray[np.float32]


class Vectors(NamedTuple):
    """A row a token: `values` [V, E], of which `exact` [V] are the file's and `composed` [V] are means of words."""

    values: Rows
    exact: NDArray[np.bool_]
    composed: NDArray[np.bool_]

    def __str__(self) -> str:
        """How much of the vocabulary has a vector."""
        size, exact, composed = len(self.exact), int(self.exact.sum()), int(self.composed.sum())
        means = f", {composed} the mean of the words that they are in" if composed else ""
        left = size - exact - composed
        return f"{exact} of {size} tokens ({exact / size:.1%}) have a vector of the file{means}, {left} have none"


def read_vectors(path: Path, tokenizer: Tokenizer, width: int) -> Vectors:
    """The vectors of a tokenizer's tokens.

    A word is looked up as it is. Of subwords (sentencepiece), one that begins a word is looked up as that word, and
    others get the mean of the words that hold them, as this tokenizer splits them; a file of subwords, whose tokens
    begin with U+2581, is looked up as it is. Of a token that is there twice the first counts.

    Raises UserError for a file whose vectors are not `width` wide, what is no number, and where no token has a vector.
    """
    entries = _entries(path, width)
    first = list(islice(entries, CHUNK))
    marked = any(word.startswith(SPACE) for _, word, _ in first)
    wanted = _wanted(tokenizer, marked)
    vectors = Vectors(np.zeros((len(tokenizer), width), np.float32), *np.zeros((2, len(tokenizer)), bool))
    composing = isinstance(tokenizer, SentencePieceTokenizer) and not marked
    mixture = _Mixture(tokenizer, width)
    for line, word, numbers in chain(first, entries):
        ids = [i for i in wanted.get(word, ()) if not vectors.exact[i]]
        mixed = composing and line <= COMPOSED
        if ids or mixed:
            row = _parsed(numbers, width, f"{path}:{line}", word)
            vectors.values[ids], vectors.exact[ids] = row, True
            if mixed:
                mixture.add(word, row)
    mixture.into(vectors)
    if not vectors.exact.any() and not vectors.composed.any():
        raise UserError(f"{path}: has a vector for none of the {len(tokenizer)} tokens; are they of another language?")
    return vectors


def _wanted(tokenizer: Tokenizer, marked: bool) -> dict[str, list[int]]:
    """The tokens under the name that a file has for them; none of those that only begin or continue a word."""
    tokens = tokenizer.tokens(range(len(tokenizer)))
    wanted: dict[str, list[int]] = {}
    for i, token in enumerate(tokens):
        if i < len(SPECIALS) or marked or not isinstance(tokenizer, SentencePieceTokenizer):
            wanted.setdefault(token, []).append(i)
        elif token.startswith(SPACE) and len(token) > 1:
            wanted.setdefault(token.removeprefix(SPACE), []).append(i)
    return wanted


def _entries(path: Path, width: int) -> Iterator[tuple[int, str, str]]:
    """The line of each token, the token, and its numbers, as text."""
    for number, line in enumerate(readers.lines(path, "replace"), 1):
        if number == 1:
            fields = line.rstrip(" ").split(" ")
            header = len(fields) == 2 and all(field.isdecimal() for field in fields)
            there = int(fields[1]) if header else len(fields) - 1
            if there != width:
                raise UserError(
                    f"{path}: its vectors are {there} numbers wide, and embedding.size={width}; "
                    f"set embedding.size={there}, or use a file of vectors of that width"
                )
            if header:
                continue
        parts = line.rstrip(" ").split(" ", 1)
        if len(parts) == 2 and parts[0]:
            yield number, parts[0], parts[1]


def _parsed(numbers: str, width: int, place: str, word: str) -> Rows:
    fields = numbers.split(" ")
    try:
        row = np.array(fields[-width:], dtype=np.float32)
    except ValueError as error:
        raise UserError(f"{place}: the vector of {word!r} is none ({error}); take the line out") from None
    if len(fields) != width or not np.isfinite(row).all():
        raise UserError(f"{place}: the vector of {word!r} is not {width} finite numbers; take the line out")
    return row


class _Mixture:
    """Sums of the vectors of words, by the subwords that they consist of."""

    def __init__(self, tokenizer: Tokenizer, width: int) -> None:
        self.tokenizer = tokenizer
        self.sums = np.zeros((len(tokenizer), width))
        self.counts = np.zeros(len(tokenizer))
        self.words: list[str] = []
        self.rows: list[Rows] = []

    def add(self, word: str, row: Rows) -> None:
        self.words.append(word)
        self.rows.append(row)
        if len(self.words) == CHUNK:
            self._count()

    def _count(self) -> None:
        if not self.words:
            return
        split = [sorted(set(ids)) for ids in self.tokenizer.encode_batch(self.words)]
        flat = np.array([i for ids in split for i in ids], dtype=np.int64)
        owner = np.repeat(np.arange(len(split)), [len(ids) for ids in split])
        np.add.at(self.sums, flat, np.stack(self.rows)[owner])
        np.add.at(self.counts, flat, 1)
        self.words, self.rows = [], []

    def into(self, vectors: Vectors) -> None:
        """Give the means to those that have no vector of their own."""
        self._count()
        special = np.arange(len(self.counts)) < len(SPECIALS)
        chosen = (self.counts > 0) & ~vectors.exact & ~special
        vectors.values[chosen] = self.sums[chosen] / self.counts[chosen, None]
        vectors.composed[chosen] = True
