"""Sources with the values of token factors (`seq2seq.text.factors`), from files with a line for each line of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import tee
from pathlib import Path

from seq2seq.corpora import readers
from seq2seq.errors import UserError
from seq2seq.text import Tokenizers
from seq2seq.text.factors import SUBWORD, check_values, train_factors


def factored(pairs: Iterable[tuple[str, str]], source: Path, factors: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Pairs whose sources have values of `factors` after a tab each, from files with a line for each line of `source`.

    Raises UserError as `with_values` does, and for a source with a tab of its own.
    """

    def texts(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
        for number, (text, _) in enumerate(pairs, 1):
            if "\t" in text:
                raise UserError(f"{source}:{number}: has a tab, which separates a text from its factors; write a space")
            yield text

    one, other = tee(pairs)
    for text, (_, target) in zip(with_values(texts(one), source, factors), other):
        assert text is not None  # because no text of a pair is
        yield text, target


def with_values(
    texts: Iterable[str | None], source: object, factors: Mapping[str, Path], errors: str | None = None
) -> Iterator[str | None]:
    """Lines with the values of `factors` after their first column, after a tab each; None (no line yet) is passed on.

    Raises UserError, naming file and line, where one of the files has another number of lines than the `source`, or a
    line of it another number of values than the source has words.
    """
    rule, number = "each line of the source needs a line of values", 0
    streams = {name: readers.lines(path, errors) for name, path in factors.items()}
    for text in texts:
        if text is None:
            yield None
            continue
        number += 1
        sentence, tab, rest = text.partition("\t")
        cells = [next(stream, None) for stream in streams.values()]
        for (name, path), cell in zip(factors.items(), cells, strict=True):
            if cell is None:
                raise UserError(f"{path}:{number}: ends after {number - 1} lines, but {source} has more; {rule}")
            check_values(sentence, cell, name, f"{path}:{number}")
        yield "\t".join([sentence, *map(str, cells)]) + tab + rest
    for name, stream in streams.items():
        if next(stream, None) is not None:
            raise UserError(f"{source}: ends after {number} lines, but {factors[name]} has more; {rule}")


def sentence(source: str, factors: Sequence[str]) -> str:
    """A source without the values of the factors of these names."""
    return source.partition("\t")[0] if any(name != SUBWORD for name in factors) else source


def sentences(pairs: Iterable[tuple[str, str]], factors: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Pairs whose sources are without the values of the factors of these names."""
    return ((sentence(source, factors), target) for source, target in pairs) if factors else pairs


def with_factors(trained: Tokenizers, factors: Sequence[str], pairs: Iterable[tuple[str, str]]) -> Tokenizers:
    """Tokenizers with the vocabularies of the factors of these names, from training pairs."""
    return trained._replace(factors=train_factors(factors, (source for source, _ in pairs))) if factors else trained
