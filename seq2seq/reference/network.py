"""The vanilla network in the textbook's notation, for one sequence, and its manual backward pass.

    a_t = b + W s_{t−1} + U x_t                            eq. 10.8
    s_t = tanh(a_t)                                        eq. 10.9
    o_t = c + V s_t                                        eq. 10.10;  ŷ_t = softmax(o_t) or σ(o_t): losses.py

Goodfellow, Bengio & Courville, Deep Learning (2016), section 10.2 (their h is s in this file, as in many courses). With
e_t = ∂L/∂o_t = ŷ_t − y_t, and the gradient from s_{t+1}, for t = T … 1:

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
    """The parameters of the network."""

    U: Float64[np.ndarray, "H I"]
    W: Float64[np.ndarray, "H H"]
    V: Float64[np.ndarray, "O H"]
    b: Float64[np.ndarray, "H"]
    c: Float64[np.ndarray, "O"]


class Trace(NamedTuple):
    """The result of the forward pass. s has one row more than x: s[0] is the initial state, s[t] comes after x[t − 1];
    so no index is ever −1 (which would be the last state in Python)."""

    x: Float64[np.ndarray, "T I"]
    s: Float64[np.ndarray, "T+1 H"]
    o: Float64[np.ndarray, "T O"]


class Gradients(NamedTuple):
    """∂L of all parameters, of s_0 and of the inputs (for word ids, of their one-hot vectors)."""

    U: Float64[np.ndarray, "H I"]
    W: Float64[np.ndarray, "H H"]
    V: Float64[np.ndarray, "O H"]
    b: Float64[np.ndarray, "H"]
    c: Float64[np.ndarray, "O"]
    s_0: Float64[np.ndarray, "H"]
    x: Float64[np.ndarray, "T I"]


def initialise(inputs: int, hidden: int, outputs: int, rng: np.random.Generator) -> Network:
    """A network with weights uniform in ±1/√n, where n is the number of columns, and biases 0."""

    def uniform(rows: int, columns: int) -> Float64[np.ndarray, "rows columns"]:
        return rng.uniform(-(columns**-0.5), columns**-0.5, (rows, columns))

    weights = uniform(hidden, inputs), uniform(hidden, hidden), uniform(outputs, hidden)
    return Network(*weights, np.zeros(hidden), np.zeros(outputs))


def forward(
    network: Network,
    x: Int[np.ndarray, "T"] | Float64[np.ndarray, "T I"],
    s_0: Float64[np.ndarray, "H"] | None = None,
) -> Trace:
    """Run over one sequence of word ids (as one-hot vectors) or of dense vectors, from s_0 (0 by default)."""
    U, W, V, b, c = network
    x = one_hot(x, U.shape[1]) if x.ndim == 1 else x
    s = np.zeros((len(x) + 1, len(b)))
    s[0] = 0 if s_0 is None else s_0
    for t in range(1, len(x) + 1):
        s[t] = np.tanh(b + W @ s[t - 1] + U @ x[t - 1])
    return Trace(x, s, c + s[1:] @ V.T)


def backward(network: Network, trace: Trace, e: Float64[np.ndarray, "T O"]) -> Gradients:
    """The gradients by the equations of the module's docstring, from e_t = ∂L/∂o_t. All steps share the weights, so
    each adds to their gradients."""
    total = zeros(network, trace)
    sent_back = np.zeros_like(total.s_0)  # Wᵀ ∂L/∂a_{t+1}
    for t in range(len(trace.x), 0, -1):
        readout(total, trace, e, t)
        d_s = network.V.T @ e[t - 1] + sent_back
        sent_back = recurrence(network, total, trace, (1 - trace.s[t] ** 2) * d_s, t)
    return total._replace(s_0=sent_back)


def readout(total: Gradients, trace: Trace, e: Float64[np.ndarray, "T O"], t: int) -> None:
    """Add the gradients of V and c from the output of step t."""
    total.V[...] += np.outer(e[t - 1], trace.s[t])
    total.c[...] += e[t - 1]


def recurrence(
    network: Network, total: Gradients, trace: Trace, d_a: Float64[np.ndarray, "H"], t: int
) -> Float64[np.ndarray, "H"]:
    """Add the gradients of U, W, b and x_t from ∂L/∂a_t; return its contribution to ∂L/∂s_{t−1}."""
    total.b[...] += d_a
    total.W[...] += np.outer(d_a, trace.s[t - 1])
    total.U[...] += np.outer(d_a, trace.x[t - 1])
    total.x[t - 1] += network.U.T @ d_a
    return np.asarray(network.W.T @ d_a)


def zeros(network: Network, trace: Trace) -> Gradients:
    """Gradients of 0, to which others are added."""
    U, W, V, b, c = map(np.zeros_like, network)
    return Gradients(U, W, V, b, c, s_0=np.zeros_like(b), x=np.zeros_like(trace.x))
