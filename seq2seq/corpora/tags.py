"""Tags: a symbol before a source, for the language of its translation (Johnson et al. 2017), or for sources that were
made by a machine (Caswell et al. 2019).

A tag belongs to an entry of a corpus, whose pairs are consecutive: the text and its encoded form know nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from seq2seq.corpora.corpus import Corpus
from seq2seq.corpora.entries import Part
from seq2seq.corpora.store import Ints
from seq2seq.errors import UserError
from seq2seq.nn.types import Tokens
from seq2seq.text import Tokenizer
from seq2seq.text.tokenizer import symbol_id
from seq2seq.text.vocabulary import PAD

NONE = -1


class Divided(NamedTuple):
    """A split with its parts: part i has the pairs bounds[i] to bounds[i + 1]."""

    parts: Sequence[Part]
    bounds: list[int]

    def part_of(self, index: Ints) -> Ints:
        """The part of each pair."""
        parts: Ints = np.searchsorted(self.bounds, index, side="right") - 1
        return parts

    def tags(self) -> list[str | None]:
        """The tag of each pair."""
        spans = zip(self.parts, self.bounds, self.bounds[1:], strict=False)
        return [part.tag for part, begin, end in spans for _ in range(begin, end)]


def divided(corpus: Corpus, split: str, pairs: int) -> Divided:
    """A split of so many pairs; those of each part are counted where there are several."""
    parts = list(corpus.parts(split))
    if len(parts) == 1:
        return Divided(parts, [0, pairs])
    counts = [sum(1 for _ in corpus.part_pairs(split, number)) for number in range(len(parts))]
    if sum(counts) != pairs:
        raise UserError(f"the split {split!r}: was changed while it was read; run the command again")
    return Divided(parts, [0, *np.cumsum(counts).tolist()])


def check_tags(
    corpus: Corpus, symbols: Iterable[str], *, equal_length: bool = False, learnt_before: bool = False
) -> None:
    """Raise UserError for a tag that is no symbol of the source's tokenizer, for one that no entry of train has, unless
    it may be `learnt_before`, and for any where outputs are as long as their sources."""
    known, trained = list(symbols), {part.tag for part in corpus.parts("train")}
    if equal_length and any(part.tag for split in corpus.splits for part in corpus.parts(split)):
        raise UserError(
            "data.corpus: search.equal_length=true has no place for tags; leave them out, or set it to false"
        )
    for split in corpus.splits:
        for part in corpus.parts(split):
            if part.tag is not None and part.tag not in known:
                told = f"has {', '.join(known)}" if known else "has none"
                raise UserError(
                    f"data.corpus.{split}: the tag {part.tag!r} is no symbol of the tokenizer, which {told}; set "
                    f"tokenizer.symbols=['{part.tag}'] (as many as there are)"
                )
            if part.tag is not None and part.tag not in trained and not learnt_before:
                raise UserError(
                    f"data.corpus.{split}: the tag {part.tag!r} is of no entry of train, so that it means nothing; "
                    "give it to one, or leave it out"
                )


def tag_ids(entries: Divided, tokenizer: Tokenizer) -> Ints | None:
    """The id of each part's tag, NONE where it has none; None where no part has one."""
    if all(part.tag is None for part in entries.parts):
        return None
    ids = [NONE if part.tag is None else symbol_id(tokenizer, part.tag, "data.corpus") for part in entries.parts]
    return np.array(ids, dtype=np.int64)


def with_tags(sentences: Tokens, tags: Int[Tensor, "B"]) -> Tokens:
    """The sentences with a tag before each whose tag is not NONE."""
    tagged = tags != NONE
    before = torch.cat([tags[:, None], sentences.ids], 1)
    plain = torch.nn.functional.pad(sentences.ids, (0, 1), value=PAD)
    ids, lengths = torch.where(tagged[:, None], before, plain), sentences.lengths + tagged
    factors, size = sentences.factors, int(lengths.max())
    if factors is not None:  # a tag is of no word, so its factors are pads
        before, plain = (torch.nn.functional.pad(factors, (0, 0, *at), value=PAD) for at in ((1, 0), (0, 1)))
        factors = torch.where(tagged[:, None, None], before, plain)[:, :size]
    return Tokens(ids[:, :size], lengths, factors)
