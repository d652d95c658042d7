"""The unknown tokens of a split's pairs, by which a model that copies reads and writes them (`seq2seq.text.unseen`).

The encoded text on disk has unk for them. So for the pairs whose source has an unknown token, and only for these, what
their tokens are is held in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch

from seq2seq.errors import UserError
from seq2seq.nn.types import Pairs, Tokens
from seq2seq.text import UNK, Tokenizers, sentence_of
from seq2seq.text.unseen import extend, extend_target


class UnseenTokens(NamedTuple):
    """The unknown tokens of a source, and the ids of both sides, without eos, in which they are no longer unk."""

    tokens: tuple[str, ...]
    source: list[int]
    target: list[int]


def unseen_tokens(pairs: Iterable[tuple[str, str]], tokenizers: Tokenizers, limit: int) -> dict[int, UnseenTokens]:
    """By the number of the pair, where its source has unknown tokens; at most `limit` different ones."""
    by_row = {}
    for row, (text, target) in enumerate(pairs):
        source = sentence_of(text, tokenizers.factors)
        ids = tokenizers.source.encode(source)
        if UNK in ids:
            extended, tokens = extend(tokenizers.source, source, ids, limit)
            if tokens:
                answer = extend_target(tokenizers.target, target, tokenizers.target.encode(target), tokens)
                by_row[row] = UnseenTokens(tokens, extended, answer)
    return by_row


def with_unseen(pairs: Pairs, by_row: dict[int, UnseenTokens]) -> Pairs:
    """A batch in which the unknown tokens of each source have ids of their own."""
    source, target = pairs.source.ids.clone(), pairs.target.ids.clone()
    for i, row in enumerate(pairs.rows.tolist()):
        if (unseen := by_row.get(row)) is not None:
            source[i, : len(unseen.source)] = torch.tensor(unseen.source)
            target[i, : len(unseen.target)] = torch.tensor(unseen.target)
    return pairs._replace(source=pairs.source._replace(ids=source), target=Tokens(target, pairs.target.lengths))


def check_one_vocabulary(tokenizers: Tokenizers) -> None:
    """Raise `UserError` unless both sides have the same tokens."""
    if tokenizers.source.fingerprint != tokenizers.target.fingerprint:
        raise UserError(
            "head=pointer: copies source tokens, so it needs one vocabulary for both sides, and these tokenizers "
            "differ; set tokenizer.joint=true"
        )
