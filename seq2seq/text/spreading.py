"""Which word each token of a text belongs to, so that what is known of words is known of their tokens.

A token belongs to the first word that ends after the token begins; so a space belongs to the word after it, and what is
after the last word to the last. Words are what is separated by spaces (U+0020), and counted from 0.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

from seq2seq.errors import UserError
from seq2seq.text.characters import CharacterTokenizer
from seq2seq.text.factors import sentence_of
from seq2seq.text.subwords import SentencePieceTokenizer
from seq2seq.text.tokenizer import Tokenizer, Tokenizers
from seq2seq.text.words import WhitespaceTokenizer

WORD = re.compile(rb"[^ ]+")


def words_of(tokenizer: Tokenizer, text: str) -> list[int]:
    """The number of the word of each token that `tokenizer.encode` gives; −1 where the text has no word. Raises
    UserError for a tokenizer whose tokens are not parts of the text."""
    if isinstance(tokenizer, WhitespaceTokenizer):
        return list(range(len(tokenizer.split(text))))
    if isinstance(tokenizer, SentencePieceTokenizer):
        begins, content = tokenizer.begins(text)
    elif isinstance(tokenizer, CharacterTokenizer):
        content, begins = b"", []
        for character in tokenizer.split(text):
            begins.append(len(content))
            content += character.encode()
    else:
        raise UserError(
            f"data.corpus.factors: a tokenizer of kind {tokenizer.kind} does not split words into parts; use "
            "tokenizer=sentencepiece or whitespace, without tokenizer.segmenter"
        )
    ends = [match.end() for match in WORD.finditer(content)]
    return [min(bisect_right(ends, begin), len(ends) - 1) for begin in begins]


def factor_rows(tokenizers: Tokenizers, sources: Sequence[str]) -> list[list[tuple[int, ...]]]:
    """The factors of each token of sources with values of them, without eos; see `Factors.rows`."""
    factors = tokenizers.factors
    assert factors is not None
    return [factors.rows(each, words_of(tokenizers.source, sentence_of(each, factors))) for each in sources]
