"""Beam search: at every step, the best K continuations of a sentence's live prefixes.

Those of the K that end with eos are finished: they leave the beam, and the n best of them are kept. The others are
the live prefixes of the next step. A sentence is closed as soon as no live prefix can become better than the worst
kept hypothesis. That takes no heuristic: log-probabilities are at most 0, so that no continuation of a prefix of
log-probability ℓ has more than ℓ, and lp (see SearchOptions.normaliser) never falls as Y grows. Therefore

    score(Y) = log p(Y) / lp(Y) ≤ ℓ / lp(limit)        for every Y that continues the prefix within the limit.

A tie closes the sentence too: of equal scores, the hypothesis that finished first is kept. At its limit a sentence is
closed, and its best live prefixes fill the places that no finished hypothesis took. They stay behind the finished
ones whatever their score: the probability of a prefix is that of all its continuations together.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seq2seq.search.base import Memory, State, StepFn
from seq2seq.search.hypotheses import Hypothesis, Step, to_hypotheses, trace_back
from seq2seq.search.options import SearchOptions, steps_allowed
from seq2seq.search.selection import best_columns, best_tokens, select_rows


class Beam(NamedTuple):
    """The sentences still open: one index_select drops the others."""

    sentences: Int[Tensor, "B"]  # where they stand in the batch that was given
    limits: Int[Tensor, "B"]
    limit_penalties: Float[Tensor, "B"]  # lp(limit)
    totals: Float[Tensor, "B K"]  # log-probabilities of the live prefixes; −∞ in a slot without one
    scores: Float[Tensor, "B n"]  # of the hypotheses kept, best first; −∞ in a free place
    ends: Int[Tensor, "B n"]  # where they end: step · beam_size + slot; −1 in a free place


@torch.no_grad()
def beam(
    step: StepFn[State, Memory],
    state: State,
    memory: Memory,
    limits: Int[Tensor, "B"],
    options: SearchOptions,
) -> list[list[Hypothesis]]:
    """The `n_best` hypotheses a sentence, or all there are if they are fewer. See `Search` for the arguments.

    Of equal candidates, the one of the better prefix wins, then the smaller id. The state is expanded here, but not
    before the first tokens are chosen: a sentence starts as one prefix, so the first step has B rows.
    """
    stops, size = set(steps_allowed(limits)), options.beam_size
    longest = max(stops, default=0)
    penalties = torch.tensor([options.normaliser(length) for length in range(longest + 1)], device=limits.device)
    batch = _start(limits, penalties[limits], options.n_best)
    ends = batch.ends.clone()
    ids = torch.full_like(batch.sentences, options.bos)
    history: list[Step] = []
    for t in range(longest):
        width = batch.totals.size(1)
        log_probs, state, weights = step(ids, state, memory)
        chosen, batch = _extend(batch, log_probs, size, options.banned(t))
        if options.return_attention and weights is not None:
            chosen = chosen._replace(attention=weights.view(-1, width, weights.size(1)))
        history.append(chosen)
        batch = _finish(batch, chosen.tokens == options.eos, penalties[t + 1], t * size)
        if t + 1 in stops:
            batch = _stop(batch, t + 1, t * size)
        kept = _open(batch).nonzero()[:, 0]
        if len(kept) < len(batch.sentences):
            ends.index_copy_(0, batch.sentences, batch.ends)
            batch, memory = select_rows((batch, memory), kept)
        if len(kept) == 0:
            break
        state = select_rows(state, (kept[:, None] * width + chosen.parents[kept]).flatten())
        ids = chosen.tokens[kept].flatten()
    last = torch.div(ends, size, rounding_mode="floor")
    return to_hypotheses(trace_back(history, last, ends.clamp(min=0) % size), options)


def _start(limits: Int[Tensor, "B"], limit_penalties: Float[Tensor, "B"], n_best: int) -> Beam:
    """One empty prefix a sentence, and nothing kept."""
    scores = limit_penalties.new_full((len(limits), n_best), -math.inf)
    sentences = torch.arange(len(limits), device=limits.device)
    ends = sentences.new_full(scores.shape, -1)
    return Beam(sentences, limits, limit_penalties, torch.zeros_like(scores[:, :1]), scores, ends)


def _extend(batch: Beam, log_probs: Float[Tensor, "N V"], size: int, banned: tuple[int, ...]) -> tuple[Step, Beam]:
    """The `size` best continuations a sentence: only the `size` best of each of its prefixes can be among them."""
    values, ids = best_tokens(log_probs, size, banned)
    values, ids = (tensor.view(len(batch.sentences), -1) for tensor in (values, ids))
    branches = values.size(1) // batch.totals.size(1)
    candidates = batch.totals.repeat_interleave(branches, dim=1) + values
    order = best_columns(candidates, size)
    parents = torch.div(order, branches, rounding_mode="floor")
    chosen = Step(batch.sentences, ids.gather(1, order), parents, values.gather(1, order), None)
    return chosen, batch._replace(totals=candidates.gather(1, order))


def _finish(batch: Beam, ended: Bool[Tensor, "B K"], penalty: Float[Tensor, ""], first_end: int) -> Beam:
    """Move the prefixes that `ended` to the hypotheses kept, in so far as they are among the n best."""
    scores = torch.cat((batch.scores, (batch.totals / penalty).masked_fill(~ended, -math.inf)), dim=1)
    totals = batch.totals.masked_fill(ended, -math.inf)
    return _keep(batch._replace(totals=totals), scores, best_columns(scores, batch.ends.size(1)), first_end)


def _stop(batch: Beam, limit: int, first_end: int) -> Beam:
    """Where the limit is reached, fill free places with the live prefixes, which are ordered; none stays live."""
    stopped = (batch.limits == limit)[:, None]
    scores = torch.cat((batch.scores, batch.totals.masked_fill(~stopped, -math.inf)), dim=1)
    totals = batch.totals.masked_fill(stopped, -math.inf)
    taken = (scores > -math.inf).float()
    return _keep(batch._replace(totals=totals), scores, best_columns(taken, batch.ends.size(1)), first_end)


def _keep(batch: Beam, scores: Float[Tensor, "B M"], order: Int[Tensor, "B n"], first_end: int) -> Beam:
    """Keep these columns of [kept so far | slots of this step]; the first slot ends at `first_end`.

    A slot with −∞ is not among them: it comes after the free places, which are n with the kept ones.
    """
    slots = torch.arange(first_end, first_end + batch.totals.size(1), device=order.device)
    ends = torch.cat((batch.ends, slots.expand(len(order), -1)), dim=1).gather(1, order)
    return batch._replace(scores=scores.gather(1, order), ends=ends)


def _open(batch: Beam) -> Bool[Tensor, "B"]:
    """True where a live prefix can still become better than the worst hypothesis kept."""
    return batch.totals.amax(1) / batch.limit_penalties > batch.scores[:, -1]
