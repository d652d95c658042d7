"""Beam search: at every step, the best K continuations of a sentence's live prefixes.

Those of the K that end with eos are finished: they leave the beam, and the n best of them are kept. The others are
the live prefixes of the next step. The search of a sentence ends as soon as no live prefix can become better than the
worst kept hypothesis. This is exact, not a heuristic: log-probabilities are at most 0, so no continuation of a prefix
of log-probability ℓ has more than ℓ; lp (see SearchOptions.normaliser) never falls as Y grows; and the coverage penalty
cp (see rules.coverage) is a sum of logarithms of numbers that are at most 1. Therefore

    score(Y) = log p(Y) / lp(Y) + cp(X; Y) ≤ ℓ / lp(limit)      for every Y that continues the prefix within its limit.

Rules and constraints only remove continuations, so the bound holds with them, too. A tie also ends the search: of equal
scores, the hypothesis that finished first is kept. At a sentence's limit its search ends, and the live prefixes with
the best scores fill the places that are still free. They come after the finished hypotheses whatever their score: the
probability of a prefix is the sum over all its continuations, and not comparable.

The K are chosen by log-probability alone, within a bank of constraints and a group of a diverse beam; lp and cp rank
finished hypotheses only, as in Wu et al. 2016. Each group keeps n hypotheses, and a sentence is open while one of its
groups is.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seq2seq.errors import UserError
from seq2seq.search.base import NOTHING, Memory, Sentences, State, StepFn
from seq2seq.search.constraints import Candidates
from seq2seq.search.diversity import diverse_columns
from seq2seq.search.hypotheses import (
    Hypothesis,
    Step,
    balanced_columns,
    best_columns,
    best_tokens,
    select_rows,
    to_hypotheses,
    trace_back,
)
from seq2seq.search.options import SearchOptions, steps_allowed
from seq2seq.search.rules import Live, Rules, coverage, permitted, start
from seq2seq.search.watching import Watching


class Beam(NamedTuple):
    """The beam of the open sentences (others are dropped by one index_select). The slots of each of the G groups are
    adjacent, and so are its places for hypotheses."""

    sentences: Int[Tensor, "B"]  # their positions in the original batch
    limits: Int[Tensor, "B"]
    limit_penalties: Float[Tensor, "B"]  # lp(limit)
    totals: Float[Tensor, "B K"]  # log-probabilities of the live prefixes; −∞ in a slot without one
    scores: Float[Tensor, "B P"]  # of the hypotheses kept, P = G·n, each group's best first; −∞ in a free place
    ends: Int[Tensor, "B P"]  # their last step and slot, as step · beam_size + slot; −1 in a free place
    groups: int

    def by_group(self, tensor: Tensor) -> Tensor:
        """[B, G·m] → [B·G, m]."""
        return tensor.reshape(len(self.sentences) * self.groups, -1)


@torch.no_grad()
def beam(
    step: StepFn[State, Memory],
    state: State,
    memory: Memory,
    limits: Int[Tensor, "B"],
    options: SearchOptions,
    sentences: Sentences = NOTHING,
) -> list[list[Hypothesis]]:
    """The `n_best` hypotheses of each sentence, or all if there are fewer. The arguments are those of `Search`.

    Of equal candidates, the one of the better prefix wins, then the smaller id. The state is expanded to B·K rows only
    after the first step, because a sentence starts as one prefix.
    """
    stops, size = set(steps_allowed(limits)), options.beam_size
    longest = max(stops, default=0)
    penalties = torch.tensor([options.normaliser(length) for length in range(longest + 1)], device=limits.device)
    batch = _start(limits, penalties[limits], options)
    rules, live = start(sentences, limits, options)
    ids, ends = torch.full_like(batch.sentences, options.bos), batch.ends.clone()
    history: list[Step] = []
    watching = Watching(sentences.watchers, size, options.eos) if sentences.watchers else None
    for t in range(longest):
        width = batch.totals.size(1)
        log_probs, state, weights = step(ids, state, memory)
        chosen, batch = _extend(batch, _candidates(log_probs, t, rules, live, options), options)
        if options.coverage_penalty:
            live, chosen = _covered(live, rules, chosen, weights, options)
        if options.return_attention and weights is not None:
            chosen = chosen._replace(attention=weights.view(-1, width, weights.size(1)))
        history.append(chosen)
        batch = _finish(batch, chosen, chosen.tokens == options.eos, penalties[t + 1], t * size)
        if t + 1 in stops:
            batch = _stop(batch, chosen, t + 1, t * size)
        _tell(watching, batch, chosen, penalties[t + 1], t * size)
        kept = _open(batch).nonzero()[:, 0]
        if len(kept) < len(batch.sentences):
            ends.index_copy_(0, batch.sentences, batch.ends)
            batch, memory, rules = select_rows((batch, memory, rules), kept)
        if len(kept) == 0:
            break
        state, live = select_rows((state, live), (kept[:, None] * width + chosen.parents[kept]).flatten())
        ids = chosen.tokens[kept].flatten()
        live = live.follow(ids, rules)
    last = torch.div(ends, size, rounding_mode="floor")
    return to_hypotheses(trace_back(history, last, ends.clamp(min=0) % size), options, options.diversity_groups)


def _start(limits: Int[Tensor, "B"], limit_penalties: Float[Tensor, "B"], options: SearchOptions) -> Beam:
    """The beam before the first step: one empty prefix a sentence, and no hypotheses."""
    groups = options.diversity_groups
    scores = limit_penalties.new_full((len(limits), groups * options.n_best), -math.inf)
    sentences = torch.arange(len(limits), device=limits.device)
    ends = sentences.new_full(scores.shape, -1)
    return Beam(sentences, limits, limit_penalties, torch.zeros_like(scores[:, :1]), scores, ends, groups)


def _candidates(
    log_probs: Float[Tensor, "N V"], t: int, rules: Rules, live: Live, options: SearchOptions
) -> Candidates:
    """Continuations of each prefix, a superset of those that the beam can choose."""
    banned, size = options.banned(t), options.beam_size
    strict, loose = permitted(log_probs, t, rules, live, options)
    if rules.automaton is None or live.progress is None:
        return Candidates(*best_tokens(strict, size, banned))
    return rules.automaton.candidates((strict, loose), t, live.progress, size, options.eos, banned)


def _extend(batch: Beam, continuations: Candidates, options: SearchOptions) -> tuple[Step, Beam]:
    """Choose the best continuations of each sentence; only the `beam_size` best of a prefix can be among them."""
    values, ids = (tensor.view(len(batch.sentences), -1) for tensor in (continuations.log_probs, continuations.ids))
    branches = values.size(1) // batch.totals.size(1)
    candidates = batch.totals.repeat_interleave(branches, dim=1) + values
    order = _order(candidates, ids, continuations.needs, options, shared=batch.totals.size(1) == 1)
    parents = torch.div(order, branches, rounding_mode="floor")
    chosen = Step(batch.sentences, ids.gather(1, order), parents, values.gather(1, order))
    return chosen, batch._replace(totals=candidates.gather(1, order))


def _order(
    candidates: Float[Tensor, "B M"],
    ids: Int[Tensor, "B M"],
    needs: Int[Tensor, "N k"] | None,
    options: SearchOptions,
    *,
    shared: bool,
) -> Int[Tensor, "B K"]:
    """The columns of the candidates that are chosen, in the order of the slots."""
    size, groups = options.beam_size // options.diversity_groups, options.diversity_groups
    banks = None if needs is None else needs.view(len(candidates), -1)

    def choose(values: Tensor, place: slice) -> Tensor:
        return best_columns(values, size) if banks is None else balanced_columns(values, banks[:, place], size)

    if groups == 1:
        return choose(candidates, slice(None))
    return diverse_columns(candidates, ids, groups, options.diversity_penalty, shared, choose)


def _covered(
    live: Live, rules: Rules, chosen: Step, weights: Tensor | None, options: SearchOptions
) -> tuple[Live, Step]:
    """The sum of each prefix's attention weights, with those of this step, and cp of the chosen continuations; it is
    that of their parents, because the weights of a step do not depend on the token that it chooses."""
    if weights is None:
        raise UserError("search.coverage_penalty: the model has no attention that could cover the source; set it to 0")
    covered = weights.float() if live.covered is None else live.covered + weights
    penalties = coverage(covered, rules.mask, options.coverage_penalty).view(len(chosen.parents), -1)
    return live._replace(covered=covered), chosen._replace(coverage=penalties.gather(1, chosen.parents))


def _finish(batch: Beam, chosen: Step, ended: Bool[Tensor, "B K"], penalty: Float[Tensor, ""], first_end: int) -> Beam:
    """Move the prefixes that `ended` out of the beam; the n best of each group are kept as hypotheses."""
    finished = _scores(batch, chosen, penalty).masked_fill(~ended, -math.inf)
    totals = batch.totals.masked_fill(ended, -math.inf)
    return _keep(batch._replace(totals=totals), finished, first_end, batch.scores)


def _stop(batch: Beam, chosen: Step, limit: int, first_end: int) -> Beam:
    """End sentences that reach their limit: their best live prefixes fill the free places, and none stays live."""
    stopped = (batch.limits == limit)[:, None]
    unfinished = _scores(batch, chosen, batch.limit_penalties[:, None]).masked_fill(~stopped, -math.inf)
    totals = batch.totals.masked_fill(stopped, -math.inf)
    taken = batch.scores.masked_fill(batch.scores > -math.inf, math.inf)
    return _keep(batch._replace(totals=totals), unfinished, first_end, taken)


def _scores(batch: Beam, chosen: Step, penalty: Tensor) -> Float[Tensor, "B K"]:
    scores = batch.totals / penalty
    return scores if chosen.coverage is None else scores + chosen.coverage


def _tell(watching: Watching | None, batch: Beam, chosen: Step, penalty: Float[Tensor, ""], first_end: int) -> None:
    """Tell who looks on where the best of the hypotheses kept and the live prefixes ends, with the scores that these
    would have if they ended here; −1 where nothing is possible."""
    if watching is None:
        return
    live = _scores(batch, chosen, penalty)
    slots = torch.arange(first_end, first_end + live.size(1), device=live.device).expand_as(live)
    first = slice(None, None, batch.scores.size(1) // batch.groups)  # of each group
    scores, ends = torch.cat((batch.scores[:, first], live), dim=1), torch.cat((batch.ends[:, first], slots), dim=1)
    best = best_columns(scores, 1)
    watching(chosen, ends.gather(1, best).masked_fill(scores.gather(1, best) == -math.inf, -1)[:, 0])


def _keep(batch: Beam, new_scores: Float[Tensor, "B K"], first_end: int, ranks: Float[Tensor, "B P"]) -> Beam:
    """Keep the n best of [hypotheses so far | slots of this step] in each group. `ranks` are the values by which the
    former are compared with the `new_scores` of the latter; the first slot ends at `first_end`.

    A slot with −∞ is never kept: hypotheses and free places are n together, and both come before it.
    """
    slots = torch.arange(first_end, first_end + new_scores.size(1), device=new_scores.device).expand_as(new_scores)
    scores, ends, ranks = (
        torch.cat((batch.by_group(before), batch.by_group(new)), dim=1)
        for before, new in ((batch.scores, new_scores), (batch.ends, slots), (ranks, new_scores))
    )
    order = best_columns(ranks, batch.ends.size(1) // batch.groups)
    return batch._replace(
        scores=scores.gather(1, order).view_as(batch.scores), ends=ends.gather(1, order).view_as(batch.ends)
    )


def _open(batch: Beam) -> Bool[Tensor, "B"]:
    """True where a live prefix can still become better than the worst kept hypothesis of its group."""
    best = batch.totals.view(len(batch.sentences), batch.groups, -1).amax(2) / batch.limit_penalties[:, None]
    return (best > batch.scores.view(len(batch.sentences), batch.groups, -1)[:, :, -1]).any(1)
