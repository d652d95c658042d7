"""The result of a search, and its reconstruction from the tensors that each time step recorded."""

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
    """One output of a search. `token_log_probs` and the rows of `attention` have one entry for each step: |Y| of them,
    one for each token, and one for eos if the hypothesis is finished."""

    tokens: list[int]  # neither bos nor eos
    log_prob: float  # the sum of token_log_probs
    score: float  # log_prob / lp(Y) + cp(X; Y), see SearchOptions.normaliser and rules.coverage
    token_log_probs: list[float]
    finished: bool  # False: the limit came before eos
    attention: Float[Tensor, "T S"] | None = None  # on the CPU; None unless SearchOptions.return_attention

    def cut_off(self, options: SearchOptions) -> bool:
        """Whether the length limit ended it. (With `equal_length` the limit is the intended length, so never.)"""
        return not self.finished and not options.equal_length


class Step(NamedTuple):
    """What one step of a search chose for the B open sentences; K and J are the widths after and before the step."""

    sentences: Int[Tensor, "B"]
    tokens: Int[Tensor, "B K"]
    parents: Int[Tensor, "B K"]  # the slot, before the step, of the prefix that the token continues
    log_probs: Float[Tensor, "B K"]  # of the token alone
    attention: Float[Tensor, "B J S"] | None = None  # of the prefixes before the step
    coverage: Float[Tensor, "B K"] | None = None  # cp of the prefix with the token; None for 0


class Traces(NamedTuple):
    """The n hypotheses of each sentence: `lengths` steps each, 0 for none; entries after these steps have no
    meaning."""

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
        step, at = history[t], slots[history[t].sentences]
        parents = step.parents.gather(1, at)
        tokens[t].index_copy_(0, step.sentences, step.tokens.gather(1, at))
        log_probs[t].index_copy_(0, step.sentences, step.log_probs.gather(1, at))
        if step.coverage is not None:
            ending = last[step.sentences] == t
            values = torch.where(ending, step.coverage.gather(1, at), coverage[step.sentences])
            coverage.index_copy_(0, step.sentences, values)
        if attention is not None and step.attention is not None:
            rows = torch.arange(len(at), device=at.device)[:, None]
            attention[t].index_copy_(0, step.sentences, step.attention[rows, parents].to(attention.dtype))
        slots.index_copy_(0, step.sentences, torch.where(last[step.sentences] >= t, parents, at))
    return Traces(tokens, log_probs, last + 1, attention, coverage)


def to_hypotheses(traces: Traces, options: SearchOptions, groups: int = 1) -> list[list[Hypothesis]]:
    """The hypotheses of each sentence: finished ones first, then unfinished ones, each by descending score.

    The columns of `traces` are split evenly among the `groups` of a diverse beam, from which `one_of_each` chooses.
    Every sentence has at least one hypothesis: an empty, unfinished one of log-probability −∞ if the step function gave
    every token −∞ or NaN.
    """
    traces = map_tensors(Tensor.cpu, traces)
    columns = zip(*(tensor.unbind(1) for tensor in (traces.tokens, traces.log_probs)), strict=True)
    lengths, coverage, sentences = traces.lengths.tolist(), traces.coverage.tolist(), []
    for b, (tokens, log_probs) in enumerate(columns):
        rows = zip(lengths[b], tokens.T.tolist(), log_probs.T.tolist(), coverage[b], strict=True)
        candidates = []
        for i, (length, ids, values, penalty) in enumerate(rows):
            attention = None if traces.attention is None else traces.attention[:length, b, i].clone()
            one = _hypothesis(ids[:length], values[:length], penalty, attention, options) if length else None
            candidates.append(one)
        width = len(candidates) // groups
        best = [_best_first(candidates[i : i + width]) for i in range(0, len(candidates), width)]
        sentences.append(best[0] if groups == 1 else _best_first(one_of_each(best, options.n_best)))
    return [hypotheses or [Hypothesis([], -math.inf, -math.inf, [], finished=False)] for hypotheses in sentences]


def one_of_each(groups: Sequence[Sequence[Hypothesis]], count: int) -> list[Hypothesis]:
    """`count` different hypotheses, or all if there are fewer: the best of each group, then the second of each, …"""
    distinct: dict[tuple[object, ...], Hypothesis] = {}
    for rank in range(max(map(len, groups))):
        for group in groups:
            if rank < len(group):
                distinct.setdefault((*group[rank].tokens, group[rank].finished), group[rank])
    return list(distinct.values())[:count]


def _best_first(candidates: Sequence[Hypothesis | None]) -> list[Hypothesis]:
    hypotheses = [hypothesis for hypothesis in candidates if hypothesis is not None]
    return sorted(hypotheses, key=lambda hypothesis: (hypothesis.finished, hypothesis.score), reverse=True)


def _hypothesis(
    tokens: list[int], log_probs: list[float], coverage: float, attention: Tensor | None, options: SearchOptions
) -> Hypothesis:
    log_prob = math.fsum(log_probs)
    score = log_prob / options.normaliser(len(tokens)) + coverage
    finished = tokens[-1] == options.eos
    return Hypothesis(tokens[:-1] if finished else tokens, log_prob, score, log_probs, finished, attention)
