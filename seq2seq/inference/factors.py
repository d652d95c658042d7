"""Sources with factors for a model: rows of a token's id and its factors' ids (`seq2seq.text.factors`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from seq2seq.errors import UserError
from seq2seq.text import PAD, Tokenizers, sentence_of
from seq2seq.text.spreading import factor_rows
from seq2seq.text.unseen import extend


def check_factor_names(names: Iterable[str], given: Sequence[str], shown: Callable[[str], str]) -> None:
    """Raise `UserError` unless the names are those of the factors that are `given` to the model; `shown` is what gives
    it one."""
    for name in names:
        if name not in given:
            has = f"the factors {', '.join(given)}" if given else "no factors"
            raise UserError(f"{shown(name)}: this bundle reads {has}; leave {name} out")
    for name in given:
        if name not in names:
            raise UserError(f"this bundle reads the factor {name} of each word, and it is missing; add {shown(name)}")


def with_rows(sources: Sequence[Sequence[int]], texts: Sequence[str], tokenizers: Tokenizers) -> list[list[Any]]:
    """The ids of sources, which end with eos and may have been truncated, as rows of an id and its factors."""
    read = [text if source else "" for source, text in zip(sources, texts, strict=True)]
    made = []
    for source, rows in zip(sources, factor_rows(tokenizers, read), strict=True):
        tokens, end = source[:-1], source[-1:]
        made.append(
            [(token, *row) for token, row in zip(tokens, rows)] + [beyond_words(each, tokenizers) for each in end]
        )
    return made


def beyond_words(token: int, tokenizers: Tokenizers) -> Any:
    """The id of a token that is of no word; a row of it and pads where sources have factors."""
    return token if tokenizers.factors is None else (token, *[PAD] * len(tokenizers.factors.values))


def extended(
    tokenizers: Tokenizers, text: str, source: Sequence[Any], limit: int
) -> tuple[Sequence[Any], tuple[str, ...]]:
    """The ids of a source, or rows of an id and its factors, with the ids of its unknown tokens that can be copied, at
    most `limit`, and these tokens."""
    if tokenizers.factors is None:
        return extend(tokenizers.source, text, source, limit)
    ids, unseen = extend(tokenizers.source, sentence_of(text, tokenizers.factors), [row[0] for row in source], limit)
    return [(token, *row[1:]) for token, row in zip(ids, source, strict=True)], unseen
