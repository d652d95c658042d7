"""Rules on what may follow a prefix: forced prefixes, n-gram blocking, and tokens that only constraints ask for.

All set the log-probability of forbidden tokens to −∞, and never that of all tokens. A forced token keeps its own
log-probability. If every continuation of a prefix would repeat an n-gram (and eos is not allowed yet), the rule is
ignored at that step: so a prefix is never lost to blocking, which only ranks the continuations of one prefix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seq2seq.search.base import Sentences
from seq2seq.search.constraints import Automaton, Progress
from seq2seq.search.options import SearchOptions


class Rules(NamedTuple):
    """The rules of the open sentences, one row each (others are dropped by one index_select); None without a rule."""

    prefixes: Int[Tensor, "B P"] | None  # padded with −1
    automaton: Automaton | None
    mask: Bool[Tensor, "B S"] | None  # Sentences.mask; for the coverage penalty
    reserved: Int[Tensor, "B R"] | None = None  # Sentences.reserved, the same in each row


class Live(NamedTuple):
    """The state of the rules, one row for each live prefix, reordered like the decoder's state; None without a rule."""

    written: Int[Tensor, "N t"] | None
    progress: Progress | None
    covered: Float[Tensor, "N S"] | None = None  # Σ_j p_ij; None before the first step
    left: Int[Tensor, "N R"] | None = None  # how often each reserved token may still be written

    def follow(self, ids: Int[Tensor, "N"], rules: Rules) -> Live:
        """The state after one more token of each prefix."""
        written, progress, left = self.written, self.progress, self.left
        if written is not None:
            written = torch.cat((written, ids[:, None]), dim=1)
        if progress is not None and rules.automaton is not None:
            progress = rules.automaton.follow(progress, ids)
        if left is not None and rules.reserved is not None:
            left = left - (rules.reserved[:1] == ids[:, None]).long()
        return Live(written, progress, self.covered, left)


def start(sentences: Sentences, limits: Int[Tensor, "B"], options: SearchOptions) -> tuple[Rules, Live]:
    """The rules of each sentence, and their state for its empty prefix. Raises ValueError for a prefix that is longer
    than its limit."""
    prefixes = automaton = progress = None
    if sentences.prefixes is not None and any(sentences.prefixes):
        for prefix, limit in zip(sentences.prefixes, limits.tolist(), strict=True):
            if len(prefix) > limit:
                raise ValueError(f"search: a prefix of {len(prefix)} tokens, more than the {limit} steps of the limit")
        prefixes = _padded(sentences.prefixes, limits)
    if sentences.constraints is not None and any(sentences.constraints):
        automaton = Automaton.of(sentences, limits, 0 if options.equal_length else 1)
        progress = automaton.start()
    written = limits.new_zeros((len(limits), 0)) if options.no_repeat_ngram else None
    mask = sentences.mask if options.coverage_penalty else None
    reserved, left = _reserved(sentences, limits)
    return Rules(prefixes, automaton, mask, reserved), Live(written, progress, left=left)


def permitted(
    log_probs: Float[Tensor, "N V"], t: int, rules: Rules, live: Live, options: SearchOptions
) -> tuple[Float[Tensor, "N V"], Float[Tensor, "N V"]]:
    """Log-probabilities with −∞ for tokens that the rules forbid at position `t` (strict); and the same without n-gram
    blocking (loose), for the tokens of constraints. `SearchOptions.banned` is not applied."""
    if live.left is not None and rules.reserved is not None:
        spent = torch.where(live.left > 0, 0.0, -math.inf).to(log_probs)
        log_probs = log_probs.scatter_add(1, rules.reserved[:1].expand_as(live.left), spent)
    loose = log_probs
    if live.written is not None:
        log_probs = without_repeats(log_probs, live.written, options.no_repeat_ngram, options.banned(t))
    if rules.prefixes is not None and t < rules.prefixes.size(1):
        tokens = rules.prefixes[:, t].repeat_interleave(len(log_probs) // len(rules.prefixes))[:, None]
        forced = _only(loose, tokens.clamp(min=0))
        log_probs, loose = (torch.where(tokens < 0, open, forced) for open in (log_probs, loose))
    return log_probs, loose


def without_repeats(
    log_probs: Float[Tensor, "N V"], written: Int[Tensor, "N t"], n: int, banned: tuple[int, ...]
) -> Float[Tensor, "N V"]:
    """Log-probabilities with −∞ for each token that would complete an n-gram which the row's prefix already contains;
    a row in which only `banned` tokens would remain is unchanged."""
    if written.size(1) < n:
        return log_probs
    grams = written.unfold(1, n, 1)
    repeats = (grams[:, :, :-1] == written[:, None, written.size(1) - n + 1 :]).all(dim=2)
    values = torch.zeros_like(grams[:, :, -1], dtype=log_probs.dtype).masked_fill(repeats, -math.inf)
    blocks = torch.zeros_like(log_probs).scatter_reduce(1, grams[:, :, -1], values, "amin")
    left = log_probs + blocks
    stuck = ~(left.index_fill(1, torch.tensor(banned, device=left.device), -math.inf) > -math.inf).any(1, keepdim=True)
    return torch.where(stuck, log_probs, left)


def coverage(
    covered: Float[Tensor, "N S"], mask: Bool[Tensor, "B S"] | None, coverage_penalty: float
) -> Float[Tensor, "N"]:
    """cp(X; Y) = β Σ_i log min(Σ_j p_ij, 1) of Wu et al. 2016, eq. 14, where p_ij is the attention weight of step j to
    source position i.

    Sums are clamped to float32's smallest normal number: with log 0 = −∞, hypotheses would not be comparable.
    """
    logs = covered.clamp(torch.finfo(torch.float32).tiny, 1).log()
    if mask is not None:
        logs = logs * mask.repeat_interleave(len(logs) // len(mask), dim=0)
    return coverage_penalty * logs.sum(1)


def _reserved(
    sentences: Sentences, limits: Int[Tensor, "B"]
) -> tuple[Int[Tensor, "B R"] | None, Int[Tensor, "B R"] | None]:
    """The reserved tokens in a row for each sentence, and how often its constraints list each."""
    if sentences.reserved is None:
        return None, None
    constraints = sentences.constraints or [()] * len(limits)
    counts = [[list(map(tuple, phrases)).count((token,)) for token in sentences.reserved] for phrases in constraints]
    reserved = torch.tensor([list(sentences.reserved)], device=limits.device)
    return reserved.expand(len(limits), -1), torch.tensor(counts, device=limits.device)


def _only(values: Float[Tensor, "N V"], tokens: Int[Tensor, "N 1"]) -> Float[Tensor, "N V"]:
    return torch.full_like(values, -math.inf).scatter(1, tokens, values.gather(1, tokens))


def _padded(rows: Sequence[Sequence[int]], like: Tensor) -> Int[Tensor, "B P"]:
    tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=-1).to(like.device)
