"""Sums and maxima over all alignments of a target with a source in log space: the algorithms of a hidden Markov model.

For the states a_t (a source position for each target step), with log-probabilities of the transitions
A_t[s′, s] = log p(a_t = s | a_{t−1} = s′) and of the emissions E_t[s] = log p(y_t | a_t = s), both given y_<t and x:

    predictive   w_t[s] = log p(a_t = s | y_<t, x) = log Σ_{s′} exp(v_{t−1}[s′] + A_t[s′, s])
    filtered     v_t[s] = log p(a_t = s | y_≤t, x) = w_t[s] + E_t[s] − log p(y_t | y_<t, x),    v_0 = log [s = 0]
    likelihood   log p(y_t | y_<t, x) = log Σ_s exp(w_t[s] + E_t[s])

(Rabiner 1989, §III, normalised at each step.) Impossible transitions have `LOWEST`, whose exponential is 0 and whose
gradient is a number. A loop over time has only the recursion; everything else is one operation on the lattice.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

LOWEST = -1e9
"""The logarithm of an impossible event: finite, so that differences of two are."""


def impossible(log_probs: Float[Tensor, "*N V"]) -> Float[Tensor, "*N V"]:
    """The same with −∞ for what has `LOWEST`."""
    return log_probs.masked_fill(log_probs < LOWEST / 2, -torch.inf)


class Lattice(NamedTuple):
    """A_t and E_t of B targets; what is after the end of a target has no meaning."""

    transitions: Float[Tensor, "B T S S"]
    emissions: Float[Tensor, "B T S"]


def first_position(like: Float[Tensor, "B S *_"]) -> Float[Tensor, "B S"]:
    """v_0: before the first step all alignments are at position 0."""
    start = like.new_full(like.shape[:2], LOWEST, dtype=torch.promote_types(like.dtype, torch.float32))
    start[:, 0] = 0
    return start


def predict(filtered: Float[Tensor, "B S"], transitions: Float[Tensor, "B S S"]) -> Float[Tensor, "B S"]:
    """Compute w_t from v_{t−1}."""
    return (filtered[:, :, None] + transitions).logsumexp(1)


def observe(predictive: Float[Tensor, "B S"], emissions: Float[Tensor, "B S"]) -> Float[Tensor, "B S"]:
    """Compute v_t from w_t and E_t."""
    return (predictive + emissions).log_softmax(-1)


def predictive(transitions: Float[Tensor, "B T S S"], emissions: Float[Tensor, "B _ S"]) -> Float[Tensor, "B T S"]:
    """w_t of all steps; the emissions of the last step have no influence, and need not be there."""
    filtered = first_position(transitions[:, 0])
    weights: list[Tensor] = []
    for t, step in enumerate(transitions.unbind(1)):
        if t:
            filtered = observe(weights[-1], emissions[:, t - 1])
        weights.append(predict(filtered, step))
    return torch.stack(weights, 1)


def log_marginal(lattice: Lattice, mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B"]:
    """log p(y | x) of each target, in nats."""
    steps = (predictive(*lattice) + lattice.emissions).logsumexp(-1)
    return (steps * mask).sum(1)


def posterior(lattice: Lattice, mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T S"]:
    """p(a_t = s | y, x) given the target to its end: forward and backward."""
    transitions, emissions = lattice
    after = emissions.new_zeros(emissions[:, 0].shape)  # log p(y_>t | a_t = s, y_≤t, x)
    backward = [after]
    for t in range(emissions.size(1) - 1, 0, -1):
        ahead = (transitions[:, t] + (emissions[:, t] + after)[:, None]).logsumexp(-1)
        after = torch.where(mask[:, t, None], ahead, 0.0)
        backward.append(after)
    forward = predictive(transitions, emissions) + emissions
    return (forward + torch.stack(backward[::-1], 1)).softmax(-1)


def best_path(lattice: Lattice, mask: Bool[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """The most probable alignment of each target (Viterbi 1967); of equal ones, that of smaller positions. After the
    end of a target its last position is repeated."""
    transitions, emissions = lattice
    best = first_position(transitions[:, 0])
    origins: list[Tensor] = []
    stay = torch.arange(emissions.size(2), device=emissions.device).expand_as(best)
    for t in range(emissions.size(1)):
        values, origin = (best[:, :, None] + transitions[:, t]).max(1)
        real = mask[:, t, None]
        best = torch.where(real, values + emissions[:, t], best)
        origins.append(torch.where(real, origin, stay))
    path = [best.argmax(1)]
    for origin in origins[:0:-1]:
        path.append(origin.gather(1, path[-1][:, None])[:, 0])
    return torch.stack(path[::-1], 1)
