"""What a search returns, and how it is read off the tensors that the loop over time recorded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seq2seq.nn.types import map_tensors
from seq2seq.search.options import SearchOptions


class Hypothesis(NamedTuple):
    """One output of a search. There is one entry of `token_log_probs`, and one row of `attention`, a step: |Y| of them,
    that is one a token, and one for eos if the hypothesis is finished."""

    tokens: list[int]  # neither bos nor eos
    log_prob: float  # the sum of token_log_probs
    score: float  # log_prob / lp(Y) + cp(X; Y), see SearchOptions.normaliser and rules.coverage
    token_log_probs: list[float]
    finished: bool  # False: the limit came before eos
    attention: Float[Tensor, "T S"] | None = None  # on the CPU; None unless SearchOptions.return_attention

    def cut_off(self, options: SearchOptions) -> bool:
        """Whether the limit ended it. (With `equal_length` it ends where it is to end.)"""
        return not self.finished and not options.equal_length


class Step(NamedTuple):
    """What one step of a beam chose for the B sentences that were open; K and J are the widths after and before it."""

    sentences: Int[Tensor, "B"]
    tokens: Int[Tensor, "B K"]
    parents: Int[Tensor, "B K"]  # the slot, before the step, of the prefix that the token continues
    log_probs: Float[Tensor, "B K"]  # of the token alone
    attention: Float[Tensor, "B J S"] | None = None  # of the prefixes before the step
    coverage: Float[Tensor, "B K"] | None = None  # cp of the prefix with the token; None for 0


class Traces(NamedTuple):
    """The n hypotheses of each sentence: `lengths` steps each, 0 for none; what follows them has no meaning."""

    tokens: Int[Tensor, "T B n"]
    log_probs: Float[Tensor, "T B n"]
    lengths: Int[Tensor, "B n"]
    attention: Float[Tensor, "T B n S"] | None
    coverage: Float[Tensor, "B n"]


def trace_back(history: list[Step], last: Int[Tensor, "B n"], slots: Int[Tensor, "B n"]) -> Traces:
    """Follow the parents of the hypotheses that ended in step `last` (−1: none) at slot `slots`; one loop over time."""
    tokens = slots.new_zeros((len(history), *slots.shape))
    log_probs = torch.zeros(tokens.shape, dtype=torch.float32, device=slots.device)
    coverage = torch.zeros(slots.shape, dtype=torch.float32, device=slots.device)
    attention = None
    if history and history[0].attention is not None:
        attention = log_probs.new_zeros((*tokens.shape, history[0].attention.size(2)))
    slots = slots.clone()
    for t in range(len(history) - 1, -1, -1):
        step, here = history[t], slots[history[t].sentences]
        parents = step.parents.gather(1, here)
        tokens[t].index_copy_(0, step.sentences, step.tokens.gather(1, here))
        log_probs[t].index_copy_(0, step.sentences, step.log_probs.gather(1, here))
        if step.coverage is not None:
            ending = last[step.sentences] == t
            values = torch.where(ending, step.coverage.gather(1, here), coverage[step.sentences])
            coverage.index_copy_(0, step.sentences, values)
        if attention is not None and step.attention is not None:
            rows = torch.arange(len(here), device=here.device)[:, None]
            attention[t].index_copy_(0, step.sentences, step.attention[rows, parents].to(attention.dtype))
        slots.index_copy_(0, step.sentences, torch.where(last[step.sentences] >= t, parents, here))
    return Traces(tokens, log_probs, last + 1, attention, coverage)


def to_hypotheses(traces: Traces, options: SearchOptions, groups: int = 1) -> list[list[Hypothesis]]:
    """The hypotheses of each sentence: finished ones first, each kind by descending score.

    Each of the groups of a beam has as many neighbouring columns of `traces`; see `one_of_each`. Every sentence has at
    least one hypothesis: an empty, unfinished one of log-probability −∞ where the step function gave every token −∞ or
    NaN.
    """
    traces = map_tensors(Tensor.cpu, traces)
    columns = zip(*(tensor.unbind(1) for tensor in (traces.tokens, traces.log_probs)), strict=True)
    lengths, coverage, sentences = traces.lengths.tolist(), traces.coverage.tolist(), []
    for b, (tokens, log_probs) in enumerate(columns):
        rows = zip(lengths[b], tokens.T.tolist(), log_probs.T.tolist(), coverage[b], strict=True)
        found = []
        for i, (length, ids, values, penalty) in enumerate(rows):
            attention = None if traces.attention is None else traces.attention[:length, b, i].clone()
            found.append(_hypothesis(ids[:length], values[:length], penalty, attention, options) if length else None)
        width = len(found) // groups
        best = [_best_first(found[i : i + width]) for i in range(0, len(found), width)]
        sentences.append(best[0] if groups == 1 else _best_first(one_of_each(best, options.n_best)))
    return [found or [Hypothesis([], -math.inf, -math.inf, [], finished=False)] for found in sentences]


def one_of_each(groups: Sequence[Sequence[Hypothesis]], count: int) -> list[Hypothesis]:
    """`count` different hypotheses (all there are, if they are fewer): the best of each group, the second of each, …"""
    found: dict[tuple[object, ...], Hypothesis] = {}
    for rank in range(max(map(len, groups))):
        for group in groups:
            if rank < len(group):
                found.setdefault((*group[rank].tokens, group[rank].finished), group[rank])
    return list(found.values())[:count]


def _best_first(found: Sequence[Hypothesis | None]) -> list[Hypothesis]:
    hypotheses = [hypothesis for hypothesis in found if hypothesis is not None]
    return sorted(hypotheses, key=lambda hypothesis: (hypothesis.finished, hypothesis.score), reverse=True)


def _hypothesis(
    tokens: list[int], log_probs: list[float], coverage: float, attention: Tensor | None, options: SearchOptions
) -> Hypothesis:
    log_prob = math.fsum(log_probs)
    score = log_prob / options.normaliser(len(tokens)) + coverage
    finished = tokens[-1] == options.eos
    return Hypothesis(tokens[:-1] if finished else tokens, log_prob, score, log_probs, finished, attention)
