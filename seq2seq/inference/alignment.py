"""From attention between tokens to links between words, and the copying of source words that rests on them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from seq2seq.errors import UserError
from seq2seq.text import EOS, PAD, UNK, Tokenizer, Tokenizers
from seq2seq.text.vocabulary import UNKNOWN


class Words:
    """The word that each token belongs to. Words are what is between spaces (U+0020), counted from 0, as in Pharaoh's
    format. `whole`: every token is a word."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        ordinary = tokenizer.pieces(range(EOS + 1, len(tokenizer)))
        subword = tokenizer.kind == "sentencepiece" and not all(piece.startswith("▁") for piece in ordinary)
        self.whole = not subword and tokenizer.kind in ("sentencepiece", "whitespace")

    def of(self, ids: Sequence[int]) -> list[int]:
        """The word of each token; that of a token which ends in a space is the word to come.

        It counts the words of each beginning of the sequence. One that ends within a character spelt in bytes (U+FFFD)
        counts as many as the next.
        """
        if self.whole:
            return list(range(len(ids)))
        texts = self.tokenizer.decode_batch([ids[: i + 1] for i in range(len(ids))])
        if self.tokenizer.kind == "sentencepiece":  # it sets spaces around an unknown token
            texts = [text.replace(f" {UNKNOWN} ", UNKNOWN) for text in texts]
        for i in range(len(texts) - 2, -1, -1):
            texts[i] = texts[i + 1] if texts[i].endswith("\ufffd") else texts[i]
        return [max(0, len(split(text)) - (not text.endswith(" "))) for text in texts]


def split(text: str) -> list[str]:
    """The words of a text."""
    return [word for word in text.split(" ") if word]


class Aligner:
    """Reads word alignments off attention weights; made by `Translator.aligner`.

    A column of the weights is for `stride` tokens of the source, of which the model read the first `limit`.
    """

    def __init__(self, tokenizers: Tokenizers, stride: int, limit: int) -> None:
        self.stride = stride
        self.limit = limit
        self.source = Words(tokenizers.source)
        self.target = Words(tokenizers.target)

    def source_ids(self, text: str) -> list[int]:
        """The tokens of a source that the model read, without eos."""
        return self.source.tokenizer.encode(text)[: self.limit]

    def by_token(self, text: str, attention: Float[Tensor, "T S"]) -> Float[Tensor, "T P"]:
        """Attention to each token of the source and, in the last column, to its eos; a position of several tokens
        divides its weight evenly among them."""
        length = len(self.source_ids(text)) + 1
        spread = attention.repeat_interleave(self.stride, dim=1)[:, :length] / self.stride
        rest = -length % self.stride  # the last position is of fewer tokens, which share all of its weight
        if rest:
            spread[:, rest - self.stride :] *= self.stride / (self.stride - rest)
        return spread

    def matrix(self, text: str, tokens: Sequence[int], attention: Float[Tensor, "T S"]) -> Float[Tensor, "I J"]:
        """How much each target word attended to each source word, summed over the tokens of both; the last column is
        that of the source's eos."""
        by_token = self.by_token(text, attention)[: len(tokens)]
        words = len(split(text))
        columns = torch.tensor([*(min(word, words) for word in self.source.of(self.source_ids(text))), words])
        rows = torch.tensor(self.target.of(tokens), dtype=torch.long)
        links = torch.zeros(int(rows.max()) + 1 if len(rows) else 0, words + 1)
        return links.index_add_(0, rows, torch.zeros(len(by_token), words + 1).index_add_(1, columns, by_token))

    def pharaoh(self, text: str, tokens: Sequence[int], attention: Float[Tensor, "T S"] | None) -> str:
        """Links "source-target" of word positions from 0, one for each target word: to the source word that it attended
        to most. A word that attended most to the end of the source has none."""
        if attention is None or not tokens:
            return ""
        best = self.matrix(text, tokens, attention)[: len(split(self.target.tokenizer.decode(tokens)))].argmax(1)
        end = len(split(text))
        return " ".join(f"{source}-{target}" for target, source in enumerate(best.tolist()) if source != end)

    def copy_unknown(self, text: str, tokens: Sequence[int], attention: Float[Tensor, "T S"]) -> str:
        """The text of the tokens, with each unknown word replaced by the source word that it attended to most (Luong et
        al. 2015, "Addressing the Rare Word Problem"; Jean et al. 2015, §3.3; here without a dictionary)."""
        words = split(text)
        attended = self.matrix(text, tokens, attention)[:, :-1].argmax(1).tolist()
        decode = self.target.tokenizer.decode
        texts = (words[attended[t]] if i == UNK else decode([i]) for t, i in enumerate(tokens))
        return " ".join(word for word in texts if word)


def check_copying(aligner: Aligner) -> str | None:
    """Why copying can change nothing, for a target that is spelt in bytes where it must be.

    Raises `UserError` where unknown tokens are not words.
    """
    tokenizer = aligner.target.tokenizer
    if "<0x00>" in tokenizer.pieces(range(PAD, len(tokenizer))):
        return "the bundle spells unknown words in bytes, so that there is nothing to copy"
    if not aligner.target.whole:
        raise UserError(
            "--copy-unknown: an unknown token of this bundle is a character, not a word; train with "
            "tokenizer.byte_fallback=true, which spells every word, or with tokenizer=whitespace"
        )
    return None
