"""One step of long short-term memory and its derivatives.

    i = σ(W_i x + U_i h + b_i)     f = σ(W_f x + U_f h + b_f)
    g = tanh(W_g x + U_g h + b_g)  o = σ(W_o x + U_o h + b_o)        b the sum of the two biases
    c' = f ⊙ c + i ⊙ g             h' = o ⊙ tanh(c')

Backwards from D = ∂L/∂h' and E, the gradient that the step after sends to c' directly (^: inside a σ or tanh):

    ∂c' = E + D ⊙ o(1 − tanh²c')                  two ways lead from c' to the loss: the next c, and h'
    ∂i^ = ∂c'·g·i(1−i)   ∂f^ = ∂c'·c·f(1−f)   ∂g^ = ∂c'·i·(1−g²)   ∂o^ = D·tanh(c')·o(1−o)
    ∂c = ∂c' ⊙ f          ∂h = Uᵀ ∂a,  ∂x = Wᵀ ∂a,  ∂U = ∂a hᵀ,  ∂W = ∂a xᵀ    with ∂a = [∂i^, ∂f^, ∂g^, ∂o^]

Hochreiter & Schmidhuber, "Long Short-Term Memory", Neural Computation 9 (1997), with the forget gate of Gers et al.
(2000). Blocks in torch's order i, f, g, o.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from seq2seq.reference.sequence import State, Weights
from seq2seq.reference.squashing import sigmoid


class Cache(NamedTuple):
    """Values that the backward pass of a step needs."""

    x: Float64[np.ndarray, "B I"]
    h: Float64[np.ndarray, "B H"]
    c: Float64[np.ndarray, "B H"]
    i: Float64[np.ndarray, "B H"]
    f: Float64[np.ndarray, "B H"]
    g: Float64[np.ndarray, "B H"]
    o: Float64[np.ndarray, "B H"]
    squashed: Float64[np.ndarray, "B H"]  # tanh(c')


@dataclass(frozen=True)
class LSTM:
    """The LSTM, forward and backward by the equations of the module's docstring."""

    def step(self, weights: Weights, x: Float64[np.ndarray, "B I"], state: State) -> tuple[State, Cache]:
        """The forward equations of the module's docstring."""
        h, c = state
        a = x @ weights.weight_ih.T + weights.bias_ih + h @ weights.weight_hh.T + weights.bias_hh
        i, f, g, o = np.split(a, 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        new_c = f * c + i * g
        squashed = np.tanh(new_c)
        return (o * squashed, new_c), Cache(x, h, c, i, f, g, o, squashed)

    def step_backward(
        self, weights: Weights, cache: Cache, d: State
    ) -> tuple[Float64[np.ndarray, "B I"], State, Weights]:
        """The backward equations of the module's docstring."""
        x, h, c, i, f, g, o, squashed = cache
        d_h, d_c = d
        d_c = d_c + d_h * o * (1 - squashed**2)
        d_a = np.hstack(
            [d_c * g * i * (1 - i), d_c * c * f * (1 - f), d_c * i * (1 - g**2), d_h * squashed * o * (1 - o)]
        )
        share = Weights(d_a.T @ x, d_a.T @ h, d_a.sum(0), d_a.sum(0))
        return d_a @ weights.weight_ih, (d_a @ weights.weight_hh, d_c * f), share
