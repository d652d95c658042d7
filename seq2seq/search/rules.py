"""What may follow a prefix: forced beginnings, and n-grams that come once.

Both close the other ways with −∞, and neither closes all of them. A forced token keeps its own log-probability. Where a
prefix could continue with nothing but n-grams that it holds already (eos, which repeats nothing, being too early), they
are open to it at that step: a prefix is never lost to the rule, and breaks it only where the alternative is no output.
Blocking compares the continuations of one prefix, and here it has nothing to compare.
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
    """Of the open sentences, one row each: one index_select drops the others', as from the memory. None: no rule."""

    prefixes: Int[Tensor, "B P"] | None  # −1 after the end
    automaton: Automaton | None
    mask: Bool[Tensor, "B S"] | None  # see Sentences; for the coverage penalty


class Live(NamedTuple):
    """What the rules remember of each live prefix: one row each, reordered as the state is. None: no rule."""

    written: Int[Tensor, "N t"] | None
    progress: Progress | None
    covered: Float[Tensor, "N S"] | None = None  # Σ_j p_ij, from the first step on

    def follow(self, ids: Int[Tensor, "N"], rules: Rules) -> Live:
        """The prefixes with one more token each."""
        written, progress = self.written, self.progress
        if written is not None:
            written = torch.cat((written, ids[:, None]), dim=1)
        if progress is not None and rules.automaton is not None:
            progress = rules.automaton.follow(progress, ids)
        return Live(written, progress, self.covered)


def start(sentences: Sentences, limits: Int[Tensor, "B"], options: SearchOptions) -> tuple[Rules, Live]:
    """The rules of each sentence, and what they know of its empty prefix."""
    prefixes = automaton = progress = None
    if sentences.prefixes is not None and any(sentences.prefixes):
        for prefix, limit in zip(sentences.prefixes, limits.tolist(), strict=True):
            if len(prefix) > limit:
                raise ValueError(f"search: a prefix of {len(prefix)} tokens, where {limit} steps are to be had")
        prefixes = _padded(sentences.prefixes, limits)
    if sentences.constraints is not None and any(sentences.constraints):
        automaton = Automaton.of(sentences, limits, 0 if options.equal_length else 1)
        progress = automaton.start()
    written = limits.new_zeros((len(limits), 0)) if options.no_repeat_ngram else None
    mask = sentences.mask if options.coverage_penalty else None
    return Rules(prefixes, automaton, mask), Live(written, progress)


def permitted(
    log_probs: Float[Tensor, "N V"], t: int, rules: Rules, live: Live, options: SearchOptions
) -> tuple[Float[Tensor, "N V"], Float[Tensor, "N V"]]:
    """Log-probabilities with −∞ for what may not be token `t`; and the same without the rule of n-grams, from which a
    constraint takes its tokens. Tokens that are banned from every prefix (`SearchOptions.banned`) are left as they are.
    """
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
    """−∞ for each token that would end an n-gram which the row's prefix holds already; a row keeps its values where
    nothing else would be left to it but `banned` tokens."""
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
    """cp(X; Y) = β Σ_i log min(Σ_j p_ij, 1) of Wu et al. 2016, eq. 14, where p_ij is what step j attended to source
    position i.

    Below float32's smallest normal number an attention counts as that: β Σ_i log 0 would compare nothing.
    """
    logs = covered.clamp(torch.finfo(torch.float32).tiny, 1).log()
    if mask is not None:
        logs = logs * mask.repeat_interleave(len(logs) // len(mask), dim=0)
    return coverage_penalty * logs.sum(1)


def _only(values: Float[Tensor, "N V"], tokens: Int[Tensor, "N 1"]) -> Float[Tensor, "N V"]:
    return torch.full_like(values, -math.inf).scatter(1, tokens, values.gather(1, tokens))


def _padded(rows: Sequence[Sequence[int]], like: Tensor) -> Int[Tensor, "B P"]:
    tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=-1).to(like.device)
