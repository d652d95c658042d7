"""Unknown tokens of a sentence as tokens of its own, so that a model can copy them (See, Liu & Manning 2017, §2.2).

The k-th different unknown token of a source, in the order of first occurrence, has the id V + k (k from 0), where V is
the size of the vocabulary that source and target share. The same token in the target has the same id. What these ids
mean is known with the sentence only: `decode` needs its unseen tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from seq2seq.text.columns import TAB, ColumnsTokenizer
from seq2seq.text.tokenizer import Tokenizer
from seq2seq.text.vocabulary import UNK


@runtime_checkable
class SplittingTokenizer(Protocol):
    """A tokenizer that splits text into one string a token, unknown ones too, and joins such strings."""

    def split(self, text: str) -> list[str]:
        """The text of each token that `encode` gives."""

    def join(self, tokens: Sequence[str]) -> str:
        """The text of tokens."""


def extend(
    tokenizer: Tokenizer, text: str, ids: Sequence[int], limit: int, unseen: Sequence[str] = ()
) -> tuple[list[int], tuple[str, ...]]:
    """The ids of a source (which may end with eos, or have been cut off) with ids above the vocabulary for the first
    `limit` different unknown tokens, and these tokens, after those that are given as `unseen`. A tokenizer that does
    not split text into strings has none, and of a source of several columns only the first has some."""
    tokens, strings, extended = list(unseen), _strings(tokenizer, text) if UNK in ids else [], list(ids)
    if not strings:
        return extended, tuple(tokens)
    for i, token in enumerate(ids[: len(strings)]):
        if token == UNK:
            if strings[i] not in tokens and len(tokens) < limit:
                tokens.append(strings[i])
            if strings[i] in tokens:
                extended[i] = len(tokenizer) + tokens.index(strings[i])
    return extended, tuple(tokens)


def extend_target(tokenizer: Tokenizer, text: str, ids: Sequence[int], unseen: Sequence[str]) -> list[int]:
    """The ids of a target in which the `unseen` tokens of its source have their ids."""
    return extend(tokenizer, text, ids, 0, unseen)[0] if unseen else list(ids)


def decode(tokenizer: Tokenizer, ids: Sequence[int], unseen: Sequence[str]) -> str:
    """The text of ids, some of which are those of the `unseen` tokens of the source."""
    size, own = len(tokenizer), _of_text(tokenizer)
    if not unseen or not isinstance(own, SplittingTokenizer):
        return tokenizer.decode(ids)
    strings = (unseen[i - size] if i >= size else tokenizer.decode([i]) for i in ids)
    return own.join([string for string in strings if string])


def _strings(tokenizer: Tokenizer, text: str) -> list[str]:
    """The text of each token; of a source of several columns, of the first, whose ids come first. None where a
    tokenizer does not tell."""
    own = _of_text(tokenizer)
    return (
        own.split(text.partition(TAB)[0] if own is not tokenizer else text)
        if isinstance(own, SplittingTokenizer)
        else []
    )


def _of_text(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer of the text itself, of a source of several columns."""
    return tokenizer.columns[0] if isinstance(tokenizer, ColumnsTokenizer) else tokenizer


def decode_batch(tokenizer: Tokenizer, sentences: Sequence[Sequence[int]], unseen: Sequence[str]) -> list[str]:
    """The text of several targets of one source, as `decode` gives it."""
    if not unseen:
        return tokenizer.decode_batch(sentences)
    return [decode(tokenizer, ids, unseen) for ids in sentences]


def known(tokenizer: Tokenizer, ids: Sequence[int]) -> list[int]:
    """The ids with unk in place of those above the vocabulary."""
    return [token if token < len(tokenizer) else UNK for token in ids]
