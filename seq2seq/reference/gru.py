"""One step of the gated recurrent unit in its four textbook forms, and the derivatives of each.

    r = σ(W_r x + b_r + U_r h + b'_r)         z = σ(W_z x + b_z + U_z h + b'_z)
    n = tanh(W_n x + b_n + m),   m = r ⊙ (U_n h + b'_n)     reset `after` the product (cuDNN, torch)
                                 m = U_n (r ⊙ h) + b'_n     reset `before` it (Cho et al. 2014, eq. 8)
    h' = z ⊙ h + (1 − z) ⊙ n                                the update gate `keep`s (Cho et al. 2014, eq. 7)
    h' = (1 − z) ⊙ h + z ⊙ n                                it `write`s (Chung et al. 2014)

Backwards from D = ∂L/∂h', where ^ marks the sum inside a σ or tanh, and q = U_nᵀ ∂n^ (reset before):

    keep:   ∂n = D(1−z),  ∂z = D(h−n),  ∂h = Dz            write:  ∂n = Dz,  ∂z = D(n−h),  ∂h = D(1−z)
    ∂n^ = ∂n(1−n²)        ∂z^ = ∂z·z(1−z)
    after:  ∂r = ∂n^ ⊙ (U_n h + b'_n)    at the recurrent product  ∂m = ∂n^ ⊙ r    ∂U_n = ∂m hᵀ        ∂h += U_nᵀ ∂m
    before: ∂r = q ⊙ h                   at the recurrent product  ∂m = ∂n^        ∂U_n = ∂m (r ⊙ h)ᵀ  ∂h += q ⊙ r
    ∂r^ = ∂r·r(1−r)       ∂U_r = ∂r^ hᵀ,  ∂U_z = ∂z^ hᵀ,  ∂h += U_rᵀ ∂r^ + U_zᵀ ∂z^
    ∂W = [∂r^, ∂z^, ∂n^] xᵀ,   ∂x = Wᵀ [∂r^, ∂z^, ∂n^]

Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", EMNLP 2014; Chung et al., "Empirical Evaluation
of Gated Recurrent Neural Networks on Sequence Modeling", 2014. Blocks in torch's order r, z, n.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from seq2seq.errors import UserError
from seq2seq.reference.sequence import State, Weights
from seq2seq.reference.squashing import sigmoid


class Cache(NamedTuple):
    """Values that the backward pass of a step needs; `product` is U_n h + b'_n or U_n (r ⊙ h) + b'_n."""

    x: Float64[np.ndarray, "B I"]
    h: Float64[np.ndarray, "B H"]
    r: Float64[np.ndarray, "B H"]
    z: Float64[np.ndarray, "B H"]
    n: Float64[np.ndarray, "B H"]
    product: Float64[np.ndarray, "B H"]


@dataclass(frozen=True)
class GRU:
    """The GRU in one of its four forms. Raises `UserError` for an unknown `reset` or `update`."""

    reset: str = "after"
    update: str = "keep"

    def __post_init__(self) -> None:
        if self.reset not in ("before", "after"):
            raise UserError(f"GRU: reset={self.reset!r} is not known; use before or after")
        if self.update not in ("keep", "write"):
            raise UserError(f"GRU: update={self.update!r} is not known; use keep or write")

    def step(self, weights: Weights, x: Float64[np.ndarray, "B I"], state: State) -> tuple[State, Cache]:
        """The forward equations of the module's docstring."""
        (h,) = state
        U_r, U_z, U_n = np.split(weights.weight_hh, 3)
        b_r, b_z, b_n = np.split(weights.bias_hh, 3)
        x_r, x_z, x_n = np.split(x @ weights.weight_ih.T + weights.bias_ih, 3, axis=1)
        r = sigmoid(x_r + h @ U_r.T + b_r)
        z = sigmoid(x_z + h @ U_z.T + b_z)
        product = (h if self.reset == "after" else r * h) @ U_n.T + b_n
        n = np.tanh(x_n + (r * product if self.reset == "after" else product))
        new = z * h + (1 - z) * n if self.update == "keep" else (1 - z) * h + z * n
        return (new,), Cache(x, h, r, z, n, product)

    def step_backward(
        self, weights: Weights, cache: Cache, d: State
    ) -> tuple[Float64[np.ndarray, "B I"], State, Weights]:
        """The backward equations of the module's docstring."""
        x, h, r, z, n, product = cache
        U_r, U_z, U_n = np.split(weights.weight_hh, 3)
        kept, written, sign = (z, 1 - z, 1) if self.update == "keep" else (1 - z, z, -1)
        d_n = d[0] * written * (1 - n**2)
        d_z = d[0] * sign * (h - n) * z * (1 - z)
        if self.reset == "after":
            d_r, d_m, multiplied = d_n * product * r * (1 - r), d_n * r, h
            d_h = d_m @ U_n
        else:
            q = d_n @ U_n
            d_r, d_m, multiplied = q * h * r * (1 - r), d_n, r * h
            d_h = q * r
        d_h = d_h + d[0] * kept + d_r @ U_r + d_z @ U_z
        at_x, at_h = np.hstack([d_r, d_z, d_n]), np.hstack([d_r, d_z, d_m])
        d_U = np.vstack([d_r.T @ h, d_z.T @ h, d_m.T @ multiplied])
        return at_x @ weights.weight_ih, (d_h,), Weights(at_x.T @ x, d_U, at_x.sum(0), at_h.sum(0))
