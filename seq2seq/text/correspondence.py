"""Which tokens of one vocabulary those of another are made of."""

from __future__ import annotations

from seq2seq.text.subwords import SPACE, SentencePieceTokenizer
from seq2seq.text.tokenizer import Tokenizer
from seq2seq.text.vocabulary import SPECIALS, UNK

ANCHOR = "\ue000"
"""A character for private use, in no word: what follows it is split as within a word, not as at its beginning."""


def old_tokens(old: Tokenizer, new: Tokenizer) -> list[list[int]]:
    """For each token of `new` the ids of `old` that it consists of: the same token where `old` has it, else those that
    `old` splits it into; none where that is unknown to `old`."""
    first = len(SPECIALS)
    known = {token: i for i, token in enumerate(old.tokens(range(first, len(old))), first)}
    tokens = enumerate(new.tokens(range(first, len(new))), first)
    return [*([i] for i in range(first)), *([known[t]] if t in known else _split(old, new, i) for i, t in tokens)]


def _split(old: Tokenizer, new: Tokenizer, token: int) -> list[int]:
    text = new.decode([token])
    inner = isinstance(new, SentencePieceTokenizer) and not new.tokens([token])[0].startswith(SPACE)
    if inner and isinstance(old, SentencePieceTokenizer):
        ids = old.encode(ANCHOR + text)[len(old.encode(ANCHOR)) :]
    else:
        ids = old.encode(text)
    return [i for i in ids if i != UNK]
