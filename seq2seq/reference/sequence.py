"""Forward and backward pass of any cell over a batch of sequences: the loop over time, padding, reversal, initial
states.

A cell (vanilla.py, gru.py, lstm.py) has one step and its derivatives; the loop over time is the same for all:

    forward    (state_t, cache_t) = step(x_t, state_{t−1})                 each step has its OWN cache
    backward   ∂L/∂state_t = gradient from step t+1 + ∂L/∂output_t         t runs in reverse order
               ∂L/∂weights = Σ_t gradient from step t                      all steps share the weights

Where the mask is False (padding) the state is carried: h_t = h_{t−1}, so the gradient passes unchanged, and the output
is 0. Werbos, "Backpropagation Through Time: What It Does and How to Do It", Proceedings of the IEEE 78 (1990).
Shapes: B sequences, T steps, I inputs, H hidden units, G = H times the number of gates.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64

State = tuple[Float64[np.ndarray, "B H"], ...]
"""(h,), or (h, c) for an LSTM."""


class Weights(NamedTuple):
    """The weights of a cell, or their gradients, in torch's layout: the gates' blocks are stacked. For a cell without
    biases, they are 0."""

    weight_ih: Float64[np.ndarray, "G I"]
    weight_hh: Float64[np.ndarray, "G H"]
    bias_ih: Float64[np.ndarray, "G"]
    bias_hh: Float64[np.ndarray, "G"]


@runtime_checkable
class Cell(Protocol):
    """One time step and its derivatives."""

    def step(self, weights: Weights, x: Float64[np.ndarray, "B I"], state: State) -> tuple[State, Any]:
        """The new state, and the cache of this step for `step_backward`."""

    def step_backward(
        self, weights: Weights, cache: Any, d: State
    ) -> tuple[Float64[np.ndarray, "B I"], State, Weights]:
        """From ∂L/∂(new state): ∂L/∂x, ∂L/∂(old state), and this step's contribution to ∂L/∂weights."""


class Run(NamedTuple):
    """The result of `forward`: outputs, the state after the last token, and the caches for `backward`."""

    outputs: Float64[np.ndarray, "B T H"]
    final: State
    caches: list[Any]
    mask: Bool[np.ndarray, "B T"]
    order: range


class Gradients(NamedTuple):
    """∂L/∂x, ∂L/∂(initial state) and ∂L/∂weights."""

    x: Float64[np.ndarray, "B T I"]
    state: State
    weights: Weights


def forward(
    cell: Cell,
    weights: Weights,
    x: Float64[np.ndarray, "B T I"],
    state: State,
    mask: Bool[np.ndarray, "B T"] | None = None,
    *,
    reverse: bool = False,
) -> Run:
    """Run `cell` from the initial `state`; with `reverse`, from right to left."""
    steps = x.shape[1]
    mask = np.ones(x.shape[:2], bool) if mask is None else mask
    order = range(steps - 1, -1, -1) if reverse else range(steps)
    outputs, caches = np.zeros((*x.shape[:2], state[0].shape[1])), [None] * steps
    for t in order:
        new, caches[t] = cell.step(weights, x[:, t], state)
        state = where(mask[:, t], new, state)
        outputs[:, t] = state[0] * mask[:, t, None]
    return Run(outputs, state, caches, mask, order)


def backward(
    cell: Cell, weights: Weights, run: Run, d_outputs: Float64[np.ndarray, "B T H"], d_final: State
) -> Gradients:
    """Backpropagation through time, from ∂L/∂outputs and ∂L/∂(final state)."""
    total, d = Weights(*map(np.zeros_like, weights)), d_final
    d_x = np.zeros((*run.mask.shape, weights.weight_ih.shape[1]))
    for t in reversed(run.order):
        mask, zeros = run.mask[:, t], tuple(map(np.zeros_like, d))
        d = (d[0] + d_outputs[:, t] * mask[:, None], *d[1:])
        d_x[:, t], sent_back, share = cell.step_backward(weights, run.caches[t], where(mask, d, zeros))
        d = where(mask, sent_back, d)
        total = Weights(*(a + b for a, b in zip(total, share)))
    return Gradients(d_x, d, total)


def where(mask: Bool[np.ndarray, "B"], a: State, b: State) -> State:
    """The rows of `a` where the mask is True, else those of `b`."""
    return tuple(np.where(mask[:, None], x, y) for x, y in zip(a, b))
