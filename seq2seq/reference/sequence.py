"""Any cell over a batch of sequences, forward and back: the loop through time, padding, reversal and initial states.

A cell (vanilla.py, gru.py, lstm.py) knows one step and its derivatives; what time adds is below, the same for all:

    forward    (state_t, cache_t) = step(x_t, state_{t−1})                 every step keeps its OWN cache
    backward   ∂L/∂state_t = what step t+1 sends back + ∂L/∂output_t       t runs against the order of reading
               ∂L/∂weights = Σ_t what step t leaves                        one set of weights serves all steps

Where the mask is False (padding) the state is carried: h_t = h_{t−1}, so the gradient passes unchanged, and the output
is 0. Werbos, "Backpropagation Through Time: What It Does and How to Do It", Proceedings of the IEEE 78 (1990).
Shapes: B sequences, T steps, I inputs, H hidden units, G = H times the number of gates.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64

State = tuple[Float64[np.ndarray, "B H"], ...]
"""(h,) or, of an LSTM, (h, c)."""


class Weights(NamedTuple):
    """One cell's weights, or their gradients, in torch's layout: the gates' blocks one below the other. A cell without
    biases is one whose biases are 0."""

    weight_ih: Float64[np.ndarray, "G I"]
    weight_hh: Float64[np.ndarray, "G H"]
    bias_ih: Float64[np.ndarray, "G"]
    bias_hh: Float64[np.ndarray, "G"]


@runtime_checkable
class Cell(Protocol):
    """One time step and its derivatives."""

    def step(self, weights: Weights, x: Float64[np.ndarray, "B I"], state: State) -> tuple[State, Any]:
        """The new state, and what `step_backward` will need: the cache of this step."""

    def step_backward(
        self, weights: Weights, cache: Any, d: State
    ) -> tuple[Float64[np.ndarray, "B I"], State, Weights]:
        """From ∂L/∂(new state): ∂L/∂x, ∂L/∂(old state), and this step's share of ∂L/∂weights."""


class Run(NamedTuple):
    """What `forward` returns: outputs, the state after the last real token read, and the way there."""

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
    """Run `cell` from the initial `state`; `reverse` reads right to left."""
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
        here, nothing = run.mask[:, t], tuple(map(np.zeros_like, d))
        d = (d[0] + d_outputs[:, t] * here[:, None], *d[1:])
        d_x[:, t], sent_back, share = cell.step_backward(weights, run.caches[t], where(here, d, nothing))
        d = where(here, sent_back, d)
        total = Weights(*(a + b for a, b in zip(total, share)))
    return Gradients(d_x, d, total)


def where(here: Bool[np.ndarray, "B"], a: State, b: State) -> State:
    """The rows of `a` where `here`, of `b` elsewhere."""
    return tuple(np.where(here[:, None], x, y) for x, y in zip(a, b))
