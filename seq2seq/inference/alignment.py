"""Word alignments from attention between tokens, and copying of source words based on them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from seq2seq.errors import UserError
from seq2seq.text import EOS, PAD, UNK, Tokenizer, Tokenizers, columns_of, sentence_of
from seq2seq.text.vocabulary import UNKNOWN


class Words:
    """Maps tokens to words. Words are separated by spaces (U+0020) and counted from 0, as in Pharaoh's format.
    `token_is_word` is True if every token of the tokenizer is a word."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        symbols = getattr(tokenizer, "symbols", {})
        ordinary = tokenizer.tokens(range(EOS + 1 + len(symbols), len(tokenizer)))
        subword = tokenizer.kind == "sentencepiece" and not all(token.startswith("▁") for token in ordinary)
        self.token_is_word = not subword and tokenizer.kind in ("sentencepiece", "whitespace")

    def of(self, ids: Sequence[int]) -> list[int]:
        """The word of each token; a token that ends in a space belongs to the next word.

        It is the number of words in the text decoded up to the token. Where that ends within a character of several
        byte tokens (U+FFFD), it is that of the next token.
        """
        if self.token_is_word:
            return list(range(len(ids)))
        texts = self.tokenizer.decode_batch([ids[: i + 1] for i in range(len(ids))])
        if self.tokenizer.kind == "sentencepiece":  # it decodes an unknown token with spaces around it
            texts = [text.replace(f" {UNKNOWN} ", UNKNOWN) for text in texts]
        for i in range(len(texts) - 2, -1, -1):
            texts[i] = texts[i + 1] if texts[i].endswith("\ufffd") else texts[i]
        return [max(0, len(split(text)) - (not text.endswith(" "))) for text in texts]


def split(text: str) -> list[str]:
    """The words of a text: what is separated by spaces (U+0020)."""
    return [word for word in text.split(" ") if word]


class Aligner:
    """Derives word alignments from attention weights; `Translator.aligner` makes one.

    A column of the weights belongs to `stride` source tokens; the model reads the first `limit` tokens of a source.
    """

    def __init__(self, tokenizers: Tokenizers, stride: int, limit: int) -> None:
        self.stride = stride
        self.limit = limit
        self.factors = tokenizers.factors
        self.source = Words(tokenizers.source)
        self.target = Words(tokenizers.target)

    def source_ids(self, text: str) -> list[int]:
        """The tokens of a source that the model reads, without eos."""
        ids, columns = self.source.tokenizer.encode(self._sentence(text)), columns_of(self.source.tokenizer)
        return columns.first(columns.cut(ids, self.limit)) if columns else ids[: self.limit]

    def _sentence(self, text: str) -> str:
        return sentence_of(text, self.factors)

    def by_token(self, text: str, attention: Float[Tensor, "T S"]) -> Float[Tensor, "T P"]:
        """The attention weight of each source token and, in the last column, of eos; the weight of a position that
        stands for several tokens is divided evenly among them."""
        length = len(self.source_ids(text)) + 1
        spread = attention.repeat_interleave(self.stride, dim=1)[:, :length] / self.stride
        rest = -length % self.stride  # the last position may stand for fewer tokens, which share all of its weight
        if rest:
            spread[:, rest - self.stride :] *= self.stride / (self.stride - rest)
        return spread

    def matrix(self, text: str, tokens: Sequence[int], attention: Float[Tensor, "T S"]) -> Float[Tensor, "I J"]:
        """The attention of each target word to each source word, summed over the tokens of both; the last column is the
        source's eos."""
        by_token = self.by_token(text, attention)[: len(tokens)]
        words = len(split(self._sentence(text)))
        columns = torch.tensor([*(min(word, words) for word in self.source.of(self.source_ids(text))), words])
        rows = torch.tensor(self.target.of(tokens), dtype=torch.long)
        links = torch.zeros(int(rows.max()) + 1 if len(rows) else 0, words + 1)
        return links.index_add_(0, rows, torch.zeros(len(by_token), words + 1).index_add_(1, columns, by_token))

    def pharaoh(self, text: str, tokens: Sequence[int], attention: Float[Tensor, "T S"] | None) -> str:
        """Links "source-target" between word positions, from 0: each target word is linked to the source word with the
        most attention. A word with most attention on eos has no link."""
        if attention is None or not tokens:
            return ""
        best = self.matrix(text, tokens, attention)[: len(split(self.target.tokenizer.decode(tokens)))].argmax(1)
        end = len(split(self._sentence(text)))
        return " ".join(f"{source}-{target}" for target, source in enumerate(best.tolist()) if source != end)

    def copy_unknown(self, text: str, tokens: Sequence[int], attention: Float[Tensor, "T S"]) -> str:
        """The text of the tokens, with each unknown word replaced by the source word with the most attention (Luong et
        al. 2015, "Addressing the Rare Word Problem"; Jean et al. 2015, §3.3; but without a dictionary)."""
        words = split(self._sentence(text))
        attended = self.matrix(text, tokens, attention)[:, :-1].argmax(1).tolist()
        decode = self.target.tokenizer.decode
        texts = (words[attended[t]] if i == UNK else decode([i]) for t, i in enumerate(tokens))
        return " ".join(word for word in texts if word)


def check_copying(aligner: Aligner) -> str | None:
    """A warning if copying has no effect, because the target tokenizer has byte tokens and no unknown words.

    Raises `UserError` if unknown tokens are not words.
    """
    tokenizer = aligner.target.tokenizer
    if "<0x00>" in tokenizer.tokens(range(PAD, len(tokenizer))):
        return "the bundle spells unknown words in bytes, so that there is nothing to copy"
    if not aligner.target.token_is_word:
        raise UserError(
            "--copy-unknown: an unknown token of this bundle is a character, not a word; train with "
            "tokenizer.byte_fallback=true, which spells every word, or with tokenizer=whitespace"
        )
    return None
