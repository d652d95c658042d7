"""The vanilla network as the textbook writes it, for one sequence, and its manual backward pass.

    a_t = b + W s_{t−1} + U x_t                            eq. 10.8
    s_t = tanh(a_t)                                        eq. 10.9
    o_t = c + V s_t                                        eq. 10.10;  ŷ_t = softmax(o_t) or σ(o_t): losses.py

Goodfellow, Bengio & Courville, Deep Learning (2016), section 10.2 (their h is s here, as in many courses). With
e_t = ∂L/∂o_t = ŷ_t − y_t, and s_{t+1} sending its own gradient back, for t = T … 1:

    ∂L/∂s_t = Vᵀ e_t + Wᵀ ∂L/∂a_{t+1}                      eq. 10.19 (last step, no second term) and 10.20–10.21
    ∂L/∂a_t = (1 − s_t²) ⊙ ∂L/∂s_t
    ∂L/∂c = Σ_t e_t        ∂L/∂V = Σ_t e_t s_tᵀ            eq. 10.22, 10.24
    ∂L/∂b = Σ_t ∂L/∂a_t    ∂L/∂W = Σ_t ∂L/∂a_t s_{t−1}ᵀ    eq. 10.23, 10.25–10.26
    ∂L/∂U = Σ_t ∂L/∂a_t x_tᵀ                               eq. 10.27–10.28
    ∂L/∂x_t = Uᵀ ∂L/∂a_t   ∂L/∂s_0 = Wᵀ ∂L/∂a_1

Letters of shapes: T steps, I inputs (words, if one-hot), H hidden units, O outputs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int

from seq2seq.reference.losses import one_hot


class Network(NamedTuple):
    """The parameters."""

    U: Float64[np.ndarray, "H I"]
    W: Float64[np.ndarray, "H H"]
    V: Float64[np.ndarray, "O H"]
    b: Float64[np.ndarray, "H"]
    c: Float64[np.ndarray, "O"]


class Trace(NamedTuple):
    """What the forward pass returns. s has a row more than x: s[0] is the initial state, s[t] follows x[t − 1],
    so that no index is ever −1 (which Python would read as the last state)."""

    x: Float64[np.ndarray, "T I"]
    s: Float64[np.ndarray, "T+1 H"]
    o: Float64[np.ndarray, "T O"]


class Gradients(NamedTuple):
    """∂L of every parameter, of s_0 and of the inputs (where words are given, of their one-hot vectors)."""

    U: Float64[np.ndarray, "H I"]
    W: Float64[np.ndarray, "H H"]
    V: Float64[np.ndarray, "O H"]
    b: Float64[np.ndarray, "H"]
    c: Float64[np.ndarray, "O"]
    s_0: Float64[np.ndarray, "H"]
    x: Float64[np.ndarray, "T I"]


def initialise(inputs: int, hidden: int, outputs: int, rng: np.random.Generator) -> Network:
    """Weights uniform in ±1/√n, n the number of columns; biases 0."""

    def uniform(rows: int, columns: int) -> Float64[np.ndarray, "rows columns"]:
        return rng.uniform(-(columns**-0.5), columns**-0.5, (rows, columns))

    weights = uniform(hidden, inputs), uniform(hidden, hidden), uniform(outputs, hidden)
    return Network(*weights, np.zeros(hidden), np.zeros(outputs))


def forward(
    network: Network,
    x: Int[np.ndarray, "T"] | Float64[np.ndarray, "T I"],
    s_0: Float64[np.ndarray, "H"] | None = None,
) -> Trace:
    """Run over one sequence of word numbers (each a one-hot vector) or of dense vectors, from s_0 (0 by default)."""
    U, W, V, b, c = network
    x = one_hot(x, U.shape[1]) if x.ndim == 1 else x
    s = np.zeros((len(x) + 1, len(b)))
    s[0] = 0 if s_0 is None else s_0
    for t in range(1, len(x) + 1):
        s[t] = np.tanh(b + W @ s[t - 1] + U @ x[t - 1])
    return Trace(x, s, c + s[1:] @ V.T)


def backward(network: Network, trace: Trace, e: Float64[np.ndarray, "T O"]) -> Gradients:
    """The formulas above, from e_t = ∂L/∂o_t. Every step adds to the gradient of every weight, for all share them."""
    total = zeros(network, trace)
    sent_back = np.zeros_like(total.s_0)  # Wᵀ ∂L/∂a_{t+1}
    for t in range(len(trace.x), 0, -1):
        readout(total, trace, e, t)
        d_s = network.V.T @ e[t - 1] + sent_back
        sent_back = recurrence(network, total, trace, (1 - trace.s[t] ** 2) * d_s, t)
    return total._replace(s_0=sent_back)


def readout(total: Gradients, trace: Trace, e: Float64[np.ndarray, "T O"], t: int) -> None:
    """Add what step t's output leaves at V and c."""
    total.V[...] += np.outer(e[t - 1], trace.s[t])
    total.c[...] += e[t - 1]


def recurrence(
    network: Network, total: Gradients, trace: Trace, d_a: Float64[np.ndarray, "H"], t: int
) -> Float64[np.ndarray, "H"]:
    """Add what ∂L/∂a_t leaves at U, W, b and x_t; returns what it sends back to s_{t−1}."""
    total.b[...] += d_a
    total.W[...] += np.outer(d_a, trace.s[t - 1])
    total.U[...] += np.outer(d_a, trace.x[t - 1])
    total.x[t - 1] += network.U.T @ d_a
    return np.asarray(network.W.T @ d_a)


def zeros(network: Network, trace: Trace) -> Gradients:
    """Where gradients are summed up."""
    U, W, V, b, c = map(np.zeros_like, network)
    return Gradients(U, W, V, b, c, s_0=np.zeros_like(b), x=np.zeros_like(trace.x))
