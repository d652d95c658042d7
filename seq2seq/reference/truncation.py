"""The gradient of the recurrent weights as a sum over paths of time, and the two meanings of truncating it.

W is used at every step, so the error of step t reaches it along t paths, one for each use of W at a step k ≤ t:

    ∂L/∂W = Σ_t Σ_{k≤t} ( ∏_{j=k+1…t} diag(1 − s_j²) W )ᵀ-carried error at a_k  ·  s_{k−1}ᵀ
    a_tt = (1 − s_t²) ⊙ Vᵀ e_t,    a_tk = (1 − s_k²) ⊙ Wᵀ a_t,k+1,    contribution[t, k] = a_tk s_{k−1}ᵀ

Truncation keeps some of these [t, k] and drops the others (rows: t, the step of the error; columns: k, the use of W):

    errors propagated back       windows of 3, the state
    at most 2 steps              carried, detached between
      x . . . . .                  x . . . . .
      x x . . . .                  x x . . . .
      x x x . . .                  x x x . . .
      . x x x . .                  . . . x . .
      . . x x x .                  . . . x x .
      . . . x x x                  . . . x x x

On the left, every error reaches equally far back, at a cost of T·k backward steps: the `bptt_truncate` of many courses,
and "truncated BPTT" with an update horizon of 1 in Williams & Peng (1990). On the right, an error reaches 0 to window −
1 steps back, at a cost of T: the effect of `detach()` between windows in every framework, which is also called
truncated BPTT. Williams & Peng, "An Efficient Gradient-Based Algorithm for On-Line Training of Recurrent Network
Trajectories", Neural Computation 2 (1990); section 10.2.2 of Goodfellow et al., Deep Learning (2016), writes the uses
of W as copies W⁽ᵗ⁾.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64

from seq2seq.errors import UserError
from seq2seq.reference.network import Gradients, Network, Trace, backward, readout, recurrence, zeros


def paths_of_time(network: Network, trace: Trace, e: Float64[np.ndarray, "T O"]) -> Float64[np.ndarray, "T T H H"]:
    """contribution[t, k]: the gradient of W from the error of step t and the use of W in step k (0-based; 0 if k >
    t)."""
    steps, size = len(e), len(network.b)
    contribution = np.zeros((steps, steps, size, size))
    for t in range(steps, 0, -1):
        arrived = network.V.T @ e[t - 1]
        for k in range(t, 0, -1):
            d_a = (1 - trace.s[k] ** 2) * arrived
            contribution[t - 1, k - 1] = np.outer(d_a, trace.s[k - 1])
            arrived = network.W.T @ d_a
    return contribution


def truncated(network: Network, trace: Trace, e: Float64[np.ndarray, "T O"], k: int) -> Gradients:
    """The gradients if errors are propagated back over at most k recurrent connections: that of step t reaches the
    steps t … t − k.

    With k = 0, each step is separate (W still gets a gradient, with s_{t−1} as a constant); with k ≥ T, it is the full
    gradient, also of s_0, which is t connections before s_t. Raises `UserError` for a negative k.
    """
    if k < 0:
        raise UserError(f"truncated: k={k} must be at least 0")
    total = zeros(network, trace)
    for t in range(len(e), 0, -1):
        readout(total, trace, e, t)
        arrived = network.V.T @ e[t - 1]
        for j in range(t, max(t - k, 1) - 1, -1):
            arrived = recurrence(network, total, trace, (1 - trace.s[j] ** 2) * arrived, j)
        if t <= k:
            total.s_0[...] += arrived
    return total


def windowed(network: Network, trace: Trace, e: Float64[np.ndarray, "T O"], size: int) -> Gradients:
    """The gradients with windows of `size` steps; each starts from the final state of the previous one, as a constant.

    The weights are not updated between windows (as they are in training), so that the sum is comparable. The gradient
    of s_0 is that of the first window. With `size` ≥ T, it is the full gradient. Raises `UserError` for a size below 1.
    """
    if size < 1:
        raise UserError(f"windowed: size={size} must be at least 1")
    parts = []
    for i in range(0, len(e), size):
        window = Trace(trace.x[i : i + size], trace.s[i : i + size + 1], trace.o[i : i + size])
        parts.append(backward(network, window, e[i : i + size]))
    U, W, V, b, c = (np.sum(gradients, 0) for gradients in zip(*(part[: len(network)] for part in parts)))
    return Gradients(U, W, V, b, c, s_0=parts[0].s_0, x=np.concatenate([part.x for part in parts]))


def kept_by_truncation(steps: int, k: int) -> Bool[np.ndarray, "{steps} {steps}"]:
    """The [t, k] that `truncated` keeps, the left figure of the module's docstring."""
    lag = np.subtract.outer(np.arange(steps), np.arange(steps))
    return np.asarray((lag >= 0) & (lag <= k))


def kept_by_windows(steps: int, size: int) -> Bool[np.ndarray, "{steps} {steps}"]:
    """The [t, k] that `windowed` keeps, the right figure of the module's docstring."""
    window = np.arange(steps) // size
    return np.asarray(np.tril(np.equal.outer(window, window)))
