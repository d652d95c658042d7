"""Phrases that the output must hold: dynamic beam allocation (Post and Vilar, NAACL 2018, arXiv:1804.06609), with the
beam's slots dealt out in turn as Hu et al. (NAACL 2019, aclanthology.org/N19-1090) do, for a whole batch at once.

A prefix knows two things of its sentence's phrases: how far into them it is, a node of their Aho-Corasick automaton
(the longest end of the prefix that a phrase begins with), and how many times each is still missing. From these follows
the number of tokens that it needs: it can continue the phrase that it is furthest in, and then write the others out,

    need = Σ_p missing_p · |p| − max over the missing p of the tokens of p that the prefix ends with.

Phrases may overlap (`a b` and `b c` in `a b c`), and hold each other; each occurrence counts for all that end in it.

Each value of `need` is a bank, and the banks take slots in turn, the smallest need first, each its best candidates:
prefixes that began a phrase early, and are less probable for it, compete with each other and not with those that put
it off. So the beam should be wider than the phrases of a sentence have tokens.

What is returned holds all phrases, whatever the width of the beam: a continuation is closed (−∞) where its need is more
than the steps that are left to it, of which one is reserved for eos, and eos is closed while anything is missing. Of an
open prefix with missing phrases one continuation is always open: the next token of its best phrase lowers the need by
one at least, as the steps left. Where the sentence begins this is checked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seq2seq.search.base import Sentences
from seq2seq.search.selection import best_tokens

Phrase = tuple[int, ...]


class Progress(NamedTuple):
    """How far a prefix is."""

    node: Int[Tensor, "N"]
    missing: Int[Tensor, "N P"]


class Candidates(NamedTuple):
    """Continuations among which a prefix's best are; −∞ in a place without one. `needs` tells the bank."""

    log_probs: Float[Tensor, "N k"]
    ids: Int[Tensor, "N k"]
    needs: Int[Tensor, "N k"] | None = None


class Phrases:
    """The automaton of one sentence, as plain lists: A tokens that are in phrases, Q nodes, P different phrases."""

    def __init__(self, constraints: Sequence[Sequence[int]]) -> None:
        wanted = [tuple(phrase) for phrase in constraints]
        self.phrases: list[Phrase] = list(dict.fromkeys(wanted))
        self.missing = [wanted.count(phrase) for phrase in self.phrases]
        self.alphabet = sorted({token for phrase in self.phrases for token in phrase})
        beginnings = {phrase[:length]: None for phrase in self.phrases for length in range(1, len(phrase) + 1)}
        self.nodes: dict[Phrase, int] = {node: i for i, node in enumerate([(), *beginnings])}
        self.following = [[self.node((*node, token)) for token in self.alphabet] for node in self.nodes]
        self.ended = [[int(_ends(node, phrase)) for phrase in self.phrases] for node in self.nodes]
        self.begun = [[_overlap(node, phrase) for phrase in self.phrases] for node in self.nodes]

    def node(self, tokens: Phrase) -> int:
        """That of the longest end of `tokens` that a phrase begins with."""
        return next(self.nodes[tokens[i:]] for i in range(len(tokens) + 1) if tokens[i:] in self.nodes)

    def need(self, prefix: Sequence[int] = ()) -> int:
        """The tokens that a prefix needs, as above."""
        ends = [self.node(tuple(prefix[: i + 1])) for i in range(len(prefix))]
        missing = [max(0, count - sum(self.ended[node][p] for node in ends)) for p, count in enumerate(self.missing)]
        begun = self.begun[ends[-1] if ends else 0]
        saved = max((tokens for tokens, count in zip(begun, missing, strict=True) if count), default=0)
        return sum(count * len(phrase) for count, phrase in zip(missing, self.phrases, strict=True)) - saved


def steps_needed(constraints: Sequence[Sequence[int]], prefix: Sequence[int] = ()) -> int:
    """The steps in which a prefix, and after it all phrases that it does not hold, can be written out; without eos."""
    return len(prefix) + Phrases(constraints).need(prefix)


class Automaton(NamedTuple):
    """The automata of the open sentences, padded to each other: one index_select drops the others'."""

    alphabet: Int[Tensor, "B A"]  # −1 pads
    following: Int[Tensor, "B Q A"]  # the node after a node and a token of the alphabet; after others it is 0
    ended: Int[Tensor, "B Q P"]  # 1 where a phrase ends at a node
    begun: Int[Tensor, "B Q P"]  # the tokens of a phrase, fewer than all, that a node ends with
    lengths: Int[Tensor, "B P"]
    missing: Int[Tensor, "B P"]  # of an empty prefix
    last: Int[Tensor, "B"]  # the steps of a sentence, without the one that is reserved for eos
    forced: Int[Tensor, "B"]  # the length of its forced prefix, in which no step is left to choose

    @classmethod
    def of(cls, sentences: Sentences, limits: Int[Tensor, "B"], reserved: int) -> Automaton:
        """Raises ValueError for an empty phrase, or where the steps of a sentence are too few."""
        constraints, prefixes = sentences.constraints or (), sentences.prefixes or [()] * len(limits)
        last = (limits - reserved).tolist()
        for steps, phrases, prefix in zip(last, constraints, prefixes, strict=True):
            if not all(phrases):
                raise ValueError("search: a constraint without a token")
            if phrases and (needed := steps_needed(phrases, prefix)) > steps:
                raise ValueError(f"search: constraints that need {needed} steps, where {steps} are to be had")
        made = [Phrases(phrases) for phrases in constraints]
        tables = (
            _stacked([phrases.alphabet for phrases in made], -1),
            _stacked([phrases.following for phrases in made]),
            _stacked([phrases.ended for phrases in made]),
            _stacked([phrases.begun for phrases in made]),
            _stacked([[len(phrase) for phrase in phrases.phrases] for phrases in made]),
            _stacked([phrases.missing for phrases in made]),
            torch.tensor(last),
            torch.tensor([len(prefix) for prefix in prefixes]),
        )
        return cls(*(table.to(limits.device) for table in tables))

    def start(self) -> Progress:
        """Of an empty prefix a sentence."""
        return Progress(torch.zeros_like(self.last), self.missing)

    def follow(self, progress: Progress, ids: Int[Tensor, "N"]) -> Progress:
        """The prefixes with one more token each."""
        rows = self._rows(len(ids))
        here = self.alphabet[rows] == ids[:, None]
        node = (self.following[rows, progress.node] * here).sum(1)
        return Progress(node, (progress.missing - self.ended[rows, node]).clamp(min=0))

    def candidates(
        self,
        log_probs: tuple[Float[Tensor, "N V"], Float[Tensor, "N V"]],
        t: int,
        progress: Progress,
        size: int,
        eos: int,
        banned: tuple[int, ...],
    ) -> Candidates:
        """The `size` best tokens that are in no phrase, all of which lead to the same need, and all that do.

        `log_probs` are those of `rules.permitted`: the strict ones, and the loose ones for tokens that lower the need.
        """
        strict, loose = log_probs
        rows = self._rows(len(strict))
        needs, other = self._needs(rows, progress)
        before = self._need(rows, progress.node, progress.missing)[:, None]
        alphabet = self.alphabet[rows]
        ids = alphabet.clamp(min=0)
        values = torch.where(needs < before, loose.gather(1, ids), strict.gather(1, ids)).float()
        values = values.masked_fill((alphabet < 0) | ~self._viable(rows, needs, t), -math.inf)
        # An alphabet's padding closes eos, which it must not where nothing is missing: it is opened again below.
        plain = strict.masked_fill(~self._viable(rows, other, t), -math.inf)
        plain = plain.scatter(1, torch.where(alphabet < 0, eos, alphabet), -math.inf)
        plain[:, eos] = torch.where(before[:, 0] > 0, -math.inf, strict[:, eos])
        found, tokens = best_tokens(plain, size, banned)
        all_needs = torch.cat((other.expand_as(tokens), needs), dim=1)
        return Candidates(torch.cat((found, values), dim=1), torch.cat((tokens, ids), dim=1), all_needs)

    def _needs(self, rows: Int[Tensor, "N"], progress: Progress) -> tuple[Int[Tensor, "N A"], Int[Tensor, "N 1"]]:
        """After each token of the alphabet, and after any other."""
        nodes = self.following[rows, progress.node]
        missing = (progress.missing[:, None] - self.ended[rows[:, None], nodes]).clamp(min=0)
        other = (progress.missing * self.lengths[rows]).sum(1, keepdim=True)
        return self._need(rows[:, None], nodes, missing), other

    def _need(self, rows: Tensor, node: Tensor, missing: Tensor) -> Tensor:
        begun = self.begun[rows, node] * (missing > 0)
        return (missing * self.lengths[rows]).sum(-1) - begun.amax(-1)

    def _viable(self, rows: Tensor, needs: Tensor, t: int) -> Tensor:
        left = (self.last[rows] - t - 1).clamp(min=0)
        return (needs <= left[:, None]) | (t < self.forced[rows])[:, None]

    def _rows(self, prefixes: int) -> Int[Tensor, "N"]:
        """The sentence of each prefix."""
        sentences = torch.arange(len(self.last), device=self.last.device)
        return sentences.repeat_interleave(prefixes // len(sentences))


def _ends(tokens: Phrase, phrase: Phrase) -> bool:
    return tokens[max(0, len(tokens) - len(phrase)) :] == phrase


def _overlap(tokens: Phrase, phrase: Phrase) -> int:
    """The tokens of `phrase`, fewer than all, that `tokens` ends with."""
    return next(length for length in range(len(phrase) - 1, -1, -1) if _ends(tokens, phrase[:length]))


def _stacked(rows: Sequence[Sequence[int]] | Sequence[Sequence[Sequence[int]]], value: int = 0) -> Tensor:
    """Lists of lists, or of lists of lists, as one tensor, padded to the largest."""
    tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
    shape = [max(1, *sizes) for sizes in zip(*(tensor.shape for tensor in tensors), strict=True)]
    made = torch.full((len(tensors), *shape), value)
    for i, tensor in enumerate(tensors):
        made[i][tuple(slice(size) for size in tensor.shape)] = tensor
    return made
