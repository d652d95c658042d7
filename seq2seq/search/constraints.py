"""Phrases that the output must contain: dynamic beam allocation (Post and Vilar, NAACL 2018, arXiv:1804.06609), with
the beam's slots assigned in turn and batched as in Hu et al. (NAACL 2019, aclanthology.org/N19-1090).

Each prefix stores its progress in the phrases of its sentence: a node of their Aho-Corasick automaton (the longest
suffix of the prefix with which a phrase begins), and how often each phrase is still missing. From these follows the
number of tokens that it needs: it can continue the phrase of which it has most tokens, and then write the others in
full,

    need = Σ_p missing_p · |p| − max over the missing p of the tokens of p that the prefix ends with.

Phrases may overlap (`a b` and `b c` in `a b c`) and contain each other; a token counts for all phrases that end with
it.

The candidates with the same `need` are a bank, and the banks get slots in turn, the smallest need first, each for its
best candidates: so prefixes that began a phrase early, which makes them less probable, do not compete with prefixes
that postpone it. The beam should be wider than the number of tokens in a sentence's phrases.

Reserved tokens (`Sentences.reserved`) make no banks: the model was trained to write them, and knows better than a bank
where they belong; a bank would have them written early, and all other prefixes share fewer slots.

All hypotheses contain all phrases, whatever the width of the beam: a continuation gets −∞ if it needs more steps than
are left (one of which is reserved for eos), and so does eos while a phrase is missing. A prefix with missing phrases
always has a possible continuation: the next token of the phrase that it is in reduces the need by at least one, and the
steps left by one. That the first prefix has enough steps is checked at the start.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seq2seq.search.base import Sentences
from seq2seq.search.hypotheses import best_tokens

Phrase = tuple[int, ...]


class Progress(NamedTuple):
    """The progress of each prefix: its node of the automaton, and how often each phrase is still missing."""

    node: Int[Tensor, "N"]
    missing: Int[Tensor, "N P"]


class Candidates(NamedTuple):
    """Continuations of each prefix, its best ones among them; −∞ in a place without one. `needs` are their banks."""

    log_probs: Float[Tensor, "N k"]
    ids: Int[Tensor, "N k"]
    needs: Int[Tensor, "N k"] | None = None


class Phrases:
    """The automaton of one sentence, as lists: A tokens that occur in phrases, Q nodes, P different phrases."""

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
        """The node of the longest suffix of `tokens` with which a phrase begins."""
        return next(self.nodes[tokens[i:]] for i in range(len(tokens) + 1) if tokens[i:] in self.nodes)

    def need(self, prefix: Sequence[int] = ()) -> int:
        """The `need` of a prefix (see the module's docstring)."""
        ends = [self.node(tuple(prefix[: i + 1])) for i in range(len(prefix))]
        missing = [max(0, count - sum(self.ended[node][p] for node in ends)) for p, count in enumerate(self.missing)]
        begun = self.begun[ends[-1] if ends else 0]
        saved = max((tokens for tokens, count in zip(begun, missing, strict=True) if count), default=0)
        return sum(count * len(phrase) for count, phrase in zip(missing, self.phrases, strict=True)) - saved


def steps_needed(constraints: Sequence[Sequence[int]], prefix: Sequence[int] = ()) -> int:
    """The fewest steps for a prefix and all phrases that it does not contain; without eos."""
    return len(prefix) + Phrases(constraints).need(prefix)


class Automaton(NamedTuple):
    """The automata of the open sentences, padded to the same sizes (others are dropped by one index_select)."""

    alphabet: Int[Tensor, "B A"]  # padded with −1
    following: Int[Tensor, "B Q A"]  # the next node for a token of the alphabet; for other tokens it is 0
    ended: Int[Tensor, "B Q P"]  # 1 where a phrase ends at a node
    begun: Int[Tensor, "B Q P"]  # how many tokens at the end of a node begin a phrase, fewer than all of it
    lengths: Int[Tensor, "B P"]
    missing: Int[Tensor, "B P"]  # for an empty prefix
    banked: Int[Tensor, "B P"]  # 0 for a reserved token, else 1
    last: Int[Tensor, "B"]  # the steps of a sentence, without the one that is reserved for eos
    forced: Int[Tensor, "B"]  # the length of its forced prefix

    @classmethod
    def of(cls, sentences: Sentences, limits: Int[Tensor, "B"], reserved: int) -> Automaton:
        """The automata of the constraints. Raises ValueError for an empty phrase, or a limit that is too small."""
        constraints, prefixes = sentences.constraints or (), sentences.prefixes or [()] * len(limits)
        last = (limits - reserved).tolist()
        for steps, phrases, prefix in zip(last, constraints, prefixes, strict=True):
            if not all(phrases):
                raise ValueError("search: a constraint without a token")
            if phrases and (needed := steps_needed(phrases, prefix)) > steps:
                raise ValueError(f"search: constraints that need {needed} steps, more than the {steps} of the limit")
        made, tokens = [Phrases(phrases) for phrases in constraints], {(token,) for token in sentences.reserved or ()}
        tables = (
            _stacked([phrases.alphabet for phrases in made], -1),
            _stacked([phrases.following for phrases in made]),
            _stacked([phrases.ended for phrases in made]),
            _stacked([phrases.begun for phrases in made]),
            _stacked([[len(phrase) for phrase in phrases.phrases] for phrases in made]),
            _stacked([phrases.missing for phrases in made]),
            _stacked([[int(phrase not in tokens) for phrase in phrases.phrases] for phrases in made]),
            torch.tensor(last),
            torch.tensor([len(prefix) for prefix in prefixes]),
        )
        return cls(*(table.to(limits.device) for table in tables))

    def start(self) -> Progress:
        """The progress of one empty prefix a sentence."""
        return Progress(torch.zeros_like(self.last), self.missing)

    def follow(self, progress: Progress, ids: Int[Tensor, "N"]) -> Progress:
        """The progress of the prefixes after one more token each."""
        rows = self._rows(len(ids))
        is_token = self.alphabet[rows] == ids[:, None]
        node = (self.following[rows, progress.node] * is_token).sum(1)
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
        """The candidates of each prefix: the `size` best tokens that are in no phrase (they all lead to the same need),
        and every token that is in a phrase.

        `log_probs` are those of `rules.permitted`: the strict ones, and the loose ones, which apply to tokens that
        reduce the need.
        """
        plain, values = self._allowed(log_probs, t, progress, eos)
        best, tokens = best_tokens(plain, size, banned)
        rows = self._rows(len(plain))
        after, other = self._needs(rows, progress, self.banked)
        banks = torch.cat((other.expand_as(tokens), after), dim=1)
        ids = self.alphabet[rows].clamp(min=0)
        return Candidates(torch.cat((best, values), dim=1), torch.cat((tokens, ids), dim=1), banks)

    def allowed(
        self, log_probs: tuple[Float[Tensor, "N V"], Float[Tensor, "N V"]], t: int, progress: Progress, eos: int
    ) -> Float[Tensor, "N V"]:
        """The log-probabilities of `rules.permitted` with −∞ for tokens after which a phrase could not be written any
        more: for sampling, which needs those of all tokens."""
        plain, values = self._allowed(log_probs, t, progress, eos)
        alphabet = self.alphabet[self._rows(len(plain))]
        values = torch.where(alphabet < 0, plain[:, eos : eos + 1].float(), values)
        return plain.scatter(1, torch.where(alphabet < 0, eos, alphabet), values.to(plain))

    def _allowed(
        self, log_probs: tuple[Float[Tensor, "N V"], Float[Tensor, "N V"]], t: int, progress: Progress, eos: int
    ) -> tuple[Float[Tensor, "N V"], Float[Tensor, "N A"]]:
        """The log-probabilities of tokens that are in no phrase, and those of the alphabet."""
        strict, loose = log_probs
        rows = self._rows(len(strict))
        needs, other = self._needs(rows, progress)
        before = self._need(rows, progress.node, progress.missing)[:, None]
        alphabet = self.alphabet[rows]
        ids = alphabet.clamp(min=0)
        values = torch.where(needs < before, loose.gather(1, ids), strict.gather(1, ids)).float()
        values = values.masked_fill((alphabet < 0) | ~self._viable(rows, needs, t), -math.inf)
        # The padding of the alphabet masks eos; the last line of these three sets it again.
        plain = strict.masked_fill(~self._viable(rows, other, t), -math.inf)
        plain = plain.scatter(1, torch.where(alphabet < 0, eos, alphabet), -math.inf)
        plain[:, eos] = torch.where(before[:, 0] > 0, -math.inf, strict[:, eos])
        return plain, values

    def _needs(
        self, rows: Int[Tensor, "N"], progress: Progress, counted: Int[Tensor, "B P"] | None = None
    ) -> tuple[Int[Tensor, "N A"], Int[Tensor, "N 1"]]:
        """The need after each token of the alphabet, and after any other token, of the phrases that are `counted`."""
        nodes = self.following[rows, progress.node]
        missing = (progress.missing[:, None] - self.ended[rows[:, None], nodes]).clamp(min=0)
        before = progress.missing
        if counted is not None:
            missing, before = missing * counted[rows, None], before * counted[rows]
        other = (before * self.lengths[rows]).sum(1, keepdim=True)
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
    """The length of the longest proper prefix of `phrase` with which `tokens` ends."""
    return next(length for length in range(len(phrase) - 1, -1, -1) if _ends(tokens, phrase[:length]))


def _stacked(rows: Sequence[Sequence[int]] | Sequence[Sequence[Sequence[int]]], value: int = 0) -> Tensor:
    """Nested lists of two or three levels as one tensor, padded with `value` to the largest sizes."""
    tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
    shape = [max(1, *sizes) for sizes in zip(*(tensor.shape for tensor in tensors), strict=True)]
    made = torch.full((len(tensors), *shape), value)
    for i, tensor in enumerate(tensors):
        made[i][tuple(slice(size) for size in tensor.shape)] = tensor
    return made
