"""What all searches share: the best tokens of a step, and the hypotheses traced back from what each step recorded.

The selection is fast, and deterministic on every device: of equal values, the smaller column wins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seq2seq.nn.types import Structure, map_tensors
from seq2seq.search.options import SearchOptions

BLOCK = 64
"""Columns of a block of the vocabulary, whose maximum is found before its columns are sorted."""


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


def select_rows(structure: Structure, rows: Int[Tensor, "M"]) -> Structure:
    """Select rows of every tensor of a nested structure, in the order of `rows`."""
    return map_tensors(lambda tensor: tensor.index_select(0, rows), structure)


def best_columns(values: Float[Tensor, "N V"], size: int) -> Int[Tensor, "N k"]:
    """The columns of the `size` largest values of each row (all if there are fewer), largest first.

    `topk` does not define which of two equal values it takes. So it gets unique 64-bit keys: the upper half is the
    float32's bits, mapped to an integer of the same order; the lower half is the column, negated.
    """
    bits = values.float().view(torch.int32)
    ordered = (bits >> 31).bitwise_and_(0x7FFFFFFF).bitwise_xor_(bits)  # a more negative float has larger bits
    columns = torch.arange(values.size(1), device=values.device)
    keys = torch.add(-columns, ordered, alpha=1 << 32)
    return keys.topk(min(size, values.size(1)), dim=1).indices


def balanced_columns(values: Float[Tensor, "N M"], banks: Int[Tensor, "N M"], size: int) -> Int[Tensor, "N k"]:
    """The columns of `size` values of each row, chosen from the banks in turn: the largest of each bank (the smallest
    bank first), then the second largest of each, and so on; −∞ last. With one bank this is `best_columns`."""
    order = best_columns(values, values.size(1))
    banks, by_bank = banks.gather(1, order).sort(dim=1, stable=True)
    order = order.gather(1, by_bank)
    places = torch.arange(values.size(1), device=values.device).expand_as(order)
    begins = torch.cat((torch.ones_like(banks[:, :1], dtype=torch.bool), banks[:, 1:] != banks[:, :-1]), dim=1)
    rounds = places - places.masked_fill(~begins, 0).cummax(dim=1).values
    rounds = rounds.masked_fill(values.gather(1, order) == -math.inf, values.size(1))
    turns = (rounds * (banks.amax() + 1) + banks).sort(dim=1, stable=True).indices
    return order.gather(1, turns[:, :size])


def best_tokens(
    log_probs: Float[Tensor, "N V"], size: int, banned: tuple[int, ...]
) -> tuple[Float[Tensor, "N k"], Int[Tensor, "N k"]]:
    """Log-probabilities (float32) and ids of at least the `size` best tokens of each row that are not banned.

    size + len(banned) tokens are returned; banned ones and NaN have −∞. So no masked copy of the N·V log-probabilities
    is needed.
    """
    candidates = _candidates(log_probs, size + len(banned))
    values = log_probs if candidates is None else log_probs.gather(1, candidates)
    columns = best_columns(values, size + len(banned))
    values = values.gather(1, columns).float()
    ids = columns if candidates is None else candidates.gather(1, columns)
    allowed = values > -math.inf
    for token in banned:
        allowed &= ids != token
    return values.masked_fill(~allowed, -math.inf), ids


def _candidates(log_probs: Float[Tensor, "N V"], size: int) -> Int[Tensor, "N C"] | None:
    """Ascending columns that include those of the `size` largest values of each row; None means all columns.

    A value among the `size` largest is in one of the `size` blocks with the largest maxima, for outside of them, at
    least `size` values are larger. So it takes one pass over V, and then only `size` blocks are sorted.
    """
    vocabulary = log_probs.size(1)
    blocks = vocabulary // BLOCK
    if 2 * size > blocks:
        return None
    covered = blocks * BLOCK
    maxima = log_probs[:, :covered].view(-1, blocks, BLOCK).amax(2)
    chosen = best_columns(maxima, size).sort(dim=1).values
    offsets = torch.arange(BLOCK, device=log_probs.device)
    inside = (chosen[:, :, None] * BLOCK + offsets).flatten(1)
    rest = torch.arange(covered, vocabulary, device=log_probs.device).expand(log_probs.size(0), -1)
    return torch.cat((inside, rest), dim=1)
