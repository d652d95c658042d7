"""Word vectors: a row of a table, and what an encoder reads from the word's characters.

    e_w = [E_w ; summary(b_1 … b_n)]

after Ling et al. (2015) and Lample et al. (2016), §4.1, whose encoder is a bidirectional LSTM over the characters; here
it is any `Encoder`, over the bytes of the word. A word that training never saw shares the row of unk, and is
distinguished from others by its characters.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seq2seq.nn.embedding import Dropout, Embedding
from seq2seq.nn.encoders import Encoder
from seq2seq.nn.types import Tokens


class Words(NamedTuple):
    """A batch of sentences as vectors, one a word."""

    vectors: Float[Tensor, "B T E"]
    mask: Bool[Tensor, "B T"]


class Spelled(NamedTuple):
    """Word ids, and each word's characters: 0 where there is none, else a number from 1."""

    words: Tokens
    characters: Int[Tensor, "B T N"]


class CharacterEncoder(nn.Module):
    """From a word's characters to one vector: a table of `size` for `count` of them, and the summary of `encoder`."""

    def __init__(self, count: int, size: int, encoder: Encoder, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.table = Embedding(count + 1, size)
        self.encoder = encoder
        self.dropout = Dropout(dropout)
        self.output_size = encoder.output_size

    def forward(self, characters: Int[Tensor, "B T N"]) -> Float[Tensor, "B T D"]:
        """One vector a word; each different word of the batch is read once."""
        different, where = torch.unique(characters.flatten(0, 1), dim=0, return_inverse=True)
        summary: Tensor = self.encoder(self.table(different), different > 0).summary
        vectors: Tensor = self.dropout(summary[where].unflatten(0, characters.shape[:2]))
        return vectors


class WordEmbedding(nn.Module):
    """Tokens to word vectors of `size`. With `characters`, ids of the range `spelling` spell the word before them."""

    def __init__(
        self, table: Embedding, characters: CharacterEncoder | None = None, spelling: range = range(0)
    ) -> None:
        super().__init__()
        self.table = table
        self.characters = characters
        self.spelling = spelling
        self.size = table.size + (characters.output_size if characters else 0)

    def forward(self, tokens: Tokens) -> Words:
        """The words of each sentence, as many as its words are."""
        if self.characters is None:
            return Words(self.table(tokens.ids), tokens.mask)
        words, characters = split(tokens, self.spelling)
        return Words(torch.cat([self.table(words.ids), self.characters(characters)], -1), words.mask)


def split(tokens: Tokens, spelling: range) -> Spelled:
    """Take spelt sentences apart. The ids of words close the gap that the characters' leave."""
    ids, mask = tokens.ids, tokens.mask
    spells = mask & (ids >= spelling.start) & (ids < spelling.stop)
    begins = mask & ~spells
    word = begins.cumsum(1) - 1  # which word of its sentence a position belongs to
    t = torch.arange(ids.size(1), device=ids.device).expand_as(ids)
    since = t - torch.where(begins, t, 0).cummax(1).values  # positions since its word began
    row = torch.arange(ids.size(0), device=ids.device)[:, None].expand_as(ids)
    lengths = begins.sum(1)
    words = ids.new_zeros(ids.size(0), max(1, int(lengths.max())))
    words[row[begins], word[begins]] = ids[begins] - len(spelling) * (ids[begins] >= spelling.stop)
    longest = max(1, int((since * spells).max()))
    characters = ids.new_zeros(*words.shape, longest)
    characters[row[spells], word[spells], since[spells] - 1] = ids[spells] - spelling.start + 1
    return Spelled(Tokens(words, lengths), characters)


def without_last(tokens: Tokens) -> Tokens:
    """The same sentences without their last token, eos, which then counts as padding."""
    return tokens._replace(lengths=tokens.lengths - 1)
