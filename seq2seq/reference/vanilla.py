"""One step of the vanilla cell and its derivatives, in torch's layout.

    a = W_ih x + b_ih + W_hh h + b_hh        h' = φ(a),  φ = tanh or relu
    D = ∂L/∂h'      ∂a = D ⊙ φ'(a),  φ'(a) = 1 − h'² for tanh, [h' > 0] for relu
    ∂x = W_ihᵀ ∂a   ∂h = W_hhᵀ ∂a   ∂W_ih = ∂a xᵀ   ∂W_hh = ∂a hᵀ   ∂b_ih = ∂b_hh = ∂a

Elman, "Finding Structure in Time", Cognitive Science 14 (1990). The textbook's U, W and b are W_ih, W_hh and the sum of
the two biases: network.py. Sentences are the rows of a batch, so W x is computed as x Wᵀ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from seq2seq.errors import UserError
from seq2seq.reference.sequence import State, Weights


class Cache(NamedTuple):
    """Values that the backward pass of a step needs."""

    x: Float64[np.ndarray, "B I"]
    h: Float64[np.ndarray, "B H"]
    new: Float64[np.ndarray, "B H"]


@dataclass(frozen=True)
class Vanilla:
    """The vanilla cell. Raises `UserError` for an activation other than tanh or relu."""

    activation: str = "tanh"

    def __post_init__(self) -> None:
        if self.activation not in ("tanh", "relu"):
            raise UserError(f"Vanilla: activation={self.activation!r} is not known; use tanh or relu")

    def step(self, weights: Weights, x: Float64[np.ndarray, "B I"], state: State) -> tuple[State, Cache]:
        """The forward equations of the module's docstring."""
        (h,) = state
        a = x @ weights.weight_ih.T + weights.bias_ih + h @ weights.weight_hh.T + weights.bias_hh
        new = np.tanh(a) if self.activation == "tanh" else np.maximum(a, 0)
        return (new,), Cache(x, h, new)

    def step_backward(
        self, weights: Weights, cache: Cache, d: State
    ) -> tuple[Float64[np.ndarray, "B I"], State, Weights]:
        """The backward equations of the module's docstring."""
        slope = 1 - cache.new**2 if self.activation == "tanh" else (cache.new > 0).astype(np.float64)
        d_a = d[0] * slope
        share = Weights(d_a.T @ cache.x, d_a.T @ cache.h, d_a.sum(0), d_a.sum(0))
        return d_a @ weights.weight_ih, (d_a @ weights.weight_hh,), share
