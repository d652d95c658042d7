"""σ and softmax, without overflow for any argument.

σ(a) = 1 / (1 + e^{−a})        σ' = σ (1 − σ)        tanh' = 1 − tanh²
softmax(a)_i = e^{a_i} / Σ_j e^{a_j}
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64


def sigmoid(a: Float64[np.ndarray, "*N"]) -> Float64[np.ndarray, "*N"]:
    """σ(a) = (1 + tanh(a/2)) / 2, the same function without an exponential that could overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * a)))


def log_softmax(a: Float64[np.ndarray, "*N C"]) -> Float64[np.ndarray, "*N C"]:
    """log softmax over the last axis; subtracting the largest logit avoids overflow and only affects rounding."""
    shifted = a - a.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def softmax(a: Float64[np.ndarray, "*N C"]) -> Float64[np.ndarray, "*N C"]:
    """Softmax over the last axis."""
    return np.asarray(np.exp(log_softmax(a)))
