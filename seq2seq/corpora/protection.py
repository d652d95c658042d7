"""Symbols in the training pairs, by which a model learns to keep spans (`seq2seq translate-file --protect`).

In half of the pairs, anew in each epoch, symbols are put into both sides. Half of them replace words that are
aligned one to one, as names and numbers do; the others stand between words, as markup does: at a random place that
both sides have, before or after aligned words, or at an end of the sentence. Which words are aligned, the links of the
corpus say; where a pair has none, a word is aligned to the same word of the other side, if it is there once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from seq2seq.corpora.alignments import Link
from seq2seq.corpora.store import pack
from seq2seq.errors import UserError
from seq2seq.nn.types import Pairs, Tokens
from seq2seq.text import Sampling, Tokenizers, TokenizerTrainer
from seq2seq.text.protection import Encode, cut, joined_ids, protecting_symbols, symbol_names

SHARE = 0.5
"""Of the pairs, those that get symbols."""

WORDS = 3
"""Source words for each symbol that a pair gets in addition to its first."""

WORD = re.compile("[^ ]+")
CORE = re.compile(r"\w.*\w|\w")  # a word without the punctuation around it


class Word(NamedTuple):
    """The place in a text of a word, without the punctuation around it, and its letters; empty where it has none.
    `first` and `last` are its place with the punctuation."""

    begin: int
    end: int
    text: str
    first: int
    last: int


class Place(NamedTuple):
    """Where a symbol goes: the part of each side that it replaces, which is empty between words."""

    source: tuple[int, int]
    target: tuple[int, int]


@dataclass(frozen=True)
class WordLinks:
    """Links between words: those of pair i are the rows offsets[i] to offsets[i + 1] of `links` (source, target)."""

    links: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, lines: Iterable[tuple[str, list[Link]]]) -> WordLinks:
        """The links of a split (`alignments.links_of`)."""
        rows = [[(link.source, link.target) for link in links] for _, links in lines]
        flat = np.fromiter(chain.from_iterable(chain.from_iterable(rows)), np.int32)
        return cls(flat.reshape(-1, 2), np.cumsum([0, *map(len, rows)], dtype=np.int64))

    def __getitem__(self, pair: int) -> list[tuple[int, int]]:
        """The links of a pair."""
        rows: NDArray[np.int32] = self.links[self.offsets[pair] : self.offsets[pair + 1]]
        return [(int(source), int(target)) for source, target in rows]


def words_of(text: str) -> list[Word]:
    """The words of a text: what is separated by spaces."""
    words = []
    for match in WORD.finditer(text):
        core = CORE.search(match[0])
        begin, end = core.span() if core else (0, 0)
        words.append(Word(match.start() + begin, match.start() + end, match[0][begin:end], *match.span()))
    return words


def one_to_one(
    source: Sequence[Word], target: Sequence[Word], links: Sequence[tuple[int, int]]
) -> list[tuple[Word, Word]]:
    """The words that are aligned to one word of the other side, which is aligned to no other. Links beyond a side, as
    of a pair that was cut, are left out."""
    if not links:
        here, there = (Counter(word.text for word in side) for side in (source, target))
        other = {word.text: word for word in target}
        return [(word, other[word.text]) for word in source if word.text and here[word.text] == there[word.text] == 1]
    once = [Counter(link[side] for link in links) for side in (0, 1)]
    inside = [(s, t) for s, t in links if s < len(source) and t < len(target) and once[0][s] == once[1][t] == 1]
    return [(source[s], target[t]) for s, t in inside if source[s].text and target[t].text]


def between(texts: Sequence[str], source: Sequence[Word], aligned: Sequence[tuple[Word, Word]]) -> list[Place]:
    """The places between words that both sides have: the two ends, and those before or after aligned words."""
    other = dict(aligned)
    places = [Place((0, 0), (0, 0))]
    for before, after in pairwise(source):
        if after in other:
            at = other[after].first
        elif before in other:
            at = other[before].last
        else:
            continue
        places.append(Place((after.first, after.first), (at, at)))
    ends = [(len(text), len(text)) for text in texts]
    return [*places, Place(*ends)]


class Protection:
    """Puts symbols into the pairs of a batch; where `sampling` says so, the text around them is segmented at random."""

    def __init__(self, tokenizers: Tokenizers, sampling: Sampling | None, links: WordLinks | None) -> None:
        self.tokenizers = tokenizers[:2]
        self.sampled = (False, False) if sampling is None else (sampling.source, sampling.target)
        self.sampling, self.links = sampling, links
        self.symbols = [protecting_symbols(side) for side in self.tokenizers]

    def __call__(self, pairs: Pairs, entropy: np.random.SeedSequence) -> Pairs:
        """The batch with symbols: a pure function of the batch and the entropy."""
        random = np.random.default_rng(entropy)
        chosen = np.flatnonzero(random.random(len(pairs.rows)) < SHARE).tolist()
        sides = [
            [row[: length - 1] for row, length in zip(side.ids.tolist(), side.lengths.tolist(), strict=True)]
            for side in (pairs.source, pairs.target)
        ]
        texts = [
            tokenizer.decode_batch([side[i] for i in chosen])
            for tokenizer, side in zip(self.tokenizers, sides, strict=True)
        ]
        for i, *pair in zip(chosen, *texts, strict=True):
            for side, ids in zip(sides, self._with_symbols(pair, int(pairs.rows[i]), random), strict=False):
                side[i] = ids
        return pairs._replace(source=_padded(sides[0]), target=_padded(sides[1]))

    def _with_symbols(self, texts: Sequence[str], row: int, random: np.random.Generator) -> list[list[int]]:
        """The ids of both sides of pair `row` of the corpus, with symbols; nothing where no words are aligned."""
        words = [words_of(text) for text in texts]
        aligned = one_to_one(words[0], words[1], [] if self.links is None else self.links[row])
        if not aligned:
            return []
        count = 1 + int(random.integers(min(len(self.symbols[0]), 1 + len(words[0]) // WORDS)))
        replaced = [Place((one.begin, one.end), (two.begin, two.end)) for one, two in aligned]
        chosen = [replaced[i] for i in random.permutation(len(replaced))[: int(random.binomial(count, 0.5))]]
        gaps = between(texts, words[0], aligned)
        chosen += [gaps[i] for i in random.integers(len(gaps), size=count - len(chosen))]
        symbols = random.permutation(len(self.symbols[0]))[:count].tolist()
        sides = []
        for side in (0, 1):
            ordered = sorted((place[side], i) for i, place in enumerate(chosen))
            parts, _ = cut(texts[side], [place for place, _ in ordered])
            own = [self.symbols[side][symbols[i]] for _, i in ordered]
            sides.append(joined_ids(self._encode(side, random), parts, own))
        return sides

    def _encode(self, side: int, random: np.random.Generator) -> Encode:
        tokenizer: Any = self.tokenizers[side]
        if not self.sampled[side]:
            return tokenizer.encode_batch  # type: ignore[no-any-return]
        return partial(tokenizer.sample_batch, sampling=self.sampling, seed=int(random.integers(1 << 32)))


def _padded(sentences: Sequence[Sequence[int]]) -> Tokens:
    ids, lengths = pack(sentences).padded(np.arange(len(sentences)))
    return Tokens(torch.from_numpy(ids), torch.from_numpy(lengths))


def with_symbols(trainer: TokenizerTrainer, count: int) -> TokenizerTrainer:
    """A trainer whose tokenizers have so many symbols for spans, next to the others. Raises UserError for tokenizers
    without symbols."""
    if not is_dataclass(trainer) or "symbols" not in {field.name for field in fields(trainer)}:
        raise UserError(
            f"data.protect={count}: this tokenizer has no symbols; use tokenizer=sentencepiece or whitespace"
        )
    more = [name for name in symbol_names(count) if name not in trainer.symbols]
    return replace(trainer, symbols=[*trainer.symbols, *more])


def check_protecting(tokenizers: Tokenizers, count: int) -> None:
    """Raise UserError for tokenizers, of a bundle, that have another number of symbols for spans."""
    have = {len(protecting_symbols(side)) for side in tokenizers[:2]}
    if have != {count}:
        remedy = f"set it to {max(have)}" if len(have) == 1 and max(have) else "add init_vocabulary=extend"
        raise UserError(f"data.protect={count}: the bundle's tokenizers have {max(have)} symbols for spans; {remedy}")
