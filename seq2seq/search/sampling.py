"""Ancestral sampling: hypotheses are sampled from the model token by token, with temperature and truncation.

p_τ(v) ∝ p(v)^{1/τ}      temperature τ: below 1 sharper, above 1 flatter
top-k                    only the k most likely tokens (Fan et al. 2018)
top-p                    only the smallest set of tokens with probability p together (Holtzman et al. 2020)

A token is sampled as argmin_v E_v / p(v) with independent exponential E_v, which is v with probability p(v) (the
exponential race, equivalent to the Gumbel-max trick). The E_v come from a random generator for each (seed, number of
the sentence, number of the sample), V numbers a step; so a sample depends neither on the batch nor on the number of
samples. Inverse transform sampling would need one number a step; but there, a rounding error of p (10⁻⁶, which depends
on the batch's size) moves all V borders, while here it changes the token with a probability of only that size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from seq2seq.search.base import NOTHING, Memory, Sentences, State, StepFn
from seq2seq.search.hypotheses import Hypothesis, Step, select_rows, to_hypotheses, trace_back
from seq2seq.search.options import SearchOptions, steps_allowed
from seq2seq.search.rules import Live, Rules, permitted, start
from seq2seq.search.watching import Watching


@torch.no_grad()
def sample(
    step: StepFn[State, Memory],
    state: State,
    memory: Memory,
    limits: Int[Tensor, "B"],
    options: SearchOptions,
    sentences: Sentences = NOTHING,
) -> list[list[Hypothesis]]:
    """`n_best` independent samples of each sentence. The arguments are those of `Search`; constraints other than of
    reserved tokens raise ValueError.

    Each sample has the reserved tokens that are constraints: where it would end without one, that is sampled instead,
    and nothing that would leave too few steps for them. Log-probabilities and scores are those of the model, without
    temperature and truncation.
    """
    _check_constraints(sentences)
    numbers = range(len(limits)) if sentences.numbers is None else sentences.numbers
    race = Race(options.seed, numbers, options.n_best)
    rules, live = start(sentences, limits, options)
    rows = torch.arange(len(limits), device=limits.device)
    last = torch.full((len(rows), options.n_best), -1, device=limits.device)
    ids, writing = torch.full_like(rows, options.bos), last < 0
    history: list[Step] = []
    watching = Watching(sentences.watchers, options.n_best, options.eos) if sentences.watchers else None
    for t in range(max(steps_allowed(limits), default=0)):
        log_probs, state, weights = step(ids, state, memory)
        tokens, values = _drawn(log_probs, t, race, rows, rules, live, options)
        width = len(ids) // len(rows)
        parents = torch.arange(options.n_best, device=ids.device).clamp(max=width - 1).expand_as(tokens)
        attention = weights.view(len(rows), width, -1) if options.return_attention and weights is not None else None
        history.append(Step(rows, tokens, parents, values, attention))
        writing = writing & (values > -math.inf)
        last[rows] = torch.where(writing, t, last[rows])
        if watching:
            watching(history[-1], torch.where(last[rows, 0] < 0, -1, last[rows, 0] * options.n_best))  # the first one
        writing = writing & (tokens != options.eos) & (limits > t + 1)[:, None]
        kept = writing.any(1).nonzero()[:, 0]
        if len(kept) == 0:
            break
        state, live = select_rows((state, live), (kept[:, None] * width + parents[kept]).flatten())
        ids = tokens[kept].flatten()
        rows, writing, limits, memory, rules = select_rows((rows, writing, limits, memory, rules), kept)
        live = live.follow(ids, rules)
    slots = torch.arange(options.n_best, device=last.device).expand_as(last)
    return to_hypotheses(trace_back(history, last, slots), options)


class Race:
    """The random generators of `count` samples for each sentence; a call samples one token of each."""

    def __init__(self, seed: int, numbers: Sequence[int], count: int) -> None:
        self._streams = [
            [np.random.Generator(np.random.PCG64((seed, number, i))) for i in range(count)] for number in numbers
        ]

    def __call__(self, probabilities: Float[Tensor, "N V"], rows: Int[Tensor, "B"]) -> Int[Tensor, "B n"]:
        """The next token of each sample of the sentences `rows`, which have one or n prefixes each."""
        size, streams = probabilities.size(1), [self._streams[row] for row in rows.tolist()]
        times = np.stack([[stream.standard_exponential(size) for stream in draws] for draws in streams])
        shares = probabilities.view(len(streams), -1, size)
        return (torch.from_numpy(times).to(shares.device) / shares).argmin(2)


def truncated(
    log_probs: Float[Tensor, "N V"], temperature: float, top_k: int | None, top_p: float
) -> Float[Tensor, "N V"]:
    """The probabilities (float64) after temperature, top-k and top-p; of equal ones, those of smaller ids are kept.
    `log_probs` may be logits."""
    largest = log_probs.amax(-1, keepdim=True)
    probabilities = ((log_probs - largest).double() / temperature).softmax(-1)
    if top_k is None and top_p == 1:
        return probabilities
    ordered, order = probabilities.sort(descending=True, stable=True)
    kept = ordered * (ordered.cumsum(-1) - ordered < top_p)
    if top_k is not None:
        kept[:, top_k:] = 0
    return torch.zeros_like(kept).scatter(-1, order, kept / kept.sum(-1, keepdim=True))


def _check_constraints(sentences: Sentences) -> None:
    """Raise ValueError unless all constraints are of one reserved token."""
    reserved = {(token,) for token in sentences.reserved or ()}
    if not all(tuple(phrase) in reserved for phrases in sentences.constraints or () for phrase in phrases):
        raise ValueError("search: constraints belong to beam search, not to sampling")


def _drawn(
    log_probs: Float[Tensor, "N V"],
    t: int,
    race: Race,
    rows: Int[Tensor, "B"],
    rules: Rules,
    live: Live,
    options: SearchOptions,
) -> tuple[Int[Tensor, "B n"], Float[Tensor, "B n"]]:
    """The tokens that are sampled at position `t`, and their log-probabilities."""
    open_tokens = _open_tokens(_permitted(log_probs, t, rules, live, options), options.banned(t))
    distribution = _instead_of_eos(open_tokens, log_probs, t, rules, live, options)
    tokens = race(truncated(distribution, options.temperature, options.top_k, options.top_p), rows)
    values = open_tokens.view(len(rows), -1, open_tokens.size(1)).expand(-1, tokens.size(1), -1)
    return tokens, values.gather(2, tokens[:, :, None])[:, :, 0].float()


def _permitted(
    log_probs: Float[Tensor, "N V"], t: int, rules: Rules, live: Live, options: SearchOptions
) -> Float[Tensor, "N V"]:
    """Log-probabilities with −∞ for the tokens that no rule and no constraint allows at position `t`."""
    strict, loose = permitted(log_probs, t, rules, live, options)
    if rules.automaton is None or live.progress is None:
        return strict
    return rules.automaton.allowed((strict, loose), t, live.progress, options.eos)


def _instead_of_eos(
    open_tokens: Float[Tensor, "N V"],
    log_probs: Float[Tensor, "N V"],
    t: int,
    rules: Rules,
    live: Live,
    options: SearchOptions,
) -> Float[Tensor, "N V"]:
    """The open tokens with the probability of eos given to the reserved tokens that are missing, in proportion to
    theirs: else a sample that has said all would continue with anything."""
    if rules.reserved is None or live.left is None or options.eos in options.banned(t):
        return open_tokens
    reserved = rules.reserved[:1].expand_as(live.left)
    missing = open_tokens.gather(1, reserved)
    ending = log_probs[:, options.eos : options.eos + 1] - missing.logsumexp(1, keepdim=True)
    raised = torch.where(missing > -math.inf, missing + torch.nn.functional.softplus(ending), missing)
    return open_tokens.scatter(1, reserved, raised)


def _open_tokens(log_probs: Float[Tensor, "N V"], banned: tuple[int, ...]) -> Float[Tensor, "N V"]:
    """Log-probabilities with −∞ in place of NaN and for banned tokens."""
    allowed = torch.where(log_probs > -math.inf, log_probs, -math.inf)
    return allowed.index_fill(1, torch.tensor(banned, device=allowed.device), -math.inf)
