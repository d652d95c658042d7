"""Cross-entropy, summed over time, and its gradient at the logits, which is ŷ − y for softmax and sigmoid.

    softmax:   L = −Σ_t Σ_i y_ti log ŷ_ti,                                ŷ_t = softmax(o_t)
    sigmoid:   L = −Σ_t Σ_i y_ti log ŷ_ti + (1 − y_ti) log(1 − ŷ_ti),     ŷ_t = σ(o_t)

Why the factor ŷ(1 − ŷ) cancels, for the sigmoid: ∂L/∂ŷ = (ŷ − y) / (ŷ(1 − ŷ)) and ∂ŷ/∂o = ŷ(1 − ŷ), whose product is
ŷ − y.
For the softmax: ∂L/∂o_i = Σ_j (−y_j/ŷ_j) · ŷ_j([i = j] − ŷ_i) = −y_i + ŷ_i Σ_j y_j = ŷ_i − y_i.

Goodfellow, Bengio & Courville, Deep Learning (2016), section 6.2.2 and equation 10.18. Losses are in nats.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Int

from seq2seq.reference.squashing import log_softmax, sigmoid


def softmax_cross_entropy(
    logits: Float64[np.ndarray, "*N O"], targets: Int[np.ndarray, "*N"], mask: Bool[np.ndarray, "*N"] | None = None
) -> tuple[float, Float64[np.ndarray, "*N O"]]:
    """For one of O classes at each step: (the loss summed over steps, ∂L/∂logits). Steps outside the mask count 0."""
    log_y = log_softmax(logits)
    kept = np.ones(targets.shape) if mask is None else mask.astype(np.float64)
    picked = np.take_along_axis(log_y, targets[..., None], -1)[..., 0]
    gradient = (np.exp(log_y) - one_hot(targets, logits.shape[-1])) * kept[..., None]
    return float(-(picked * kept).sum()), gradient


def sigmoid_cross_entropy(
    logits: Float64[np.ndarray, "*N O"],
    targets: Float64[np.ndarray, "*N O"],
    mask: Bool[np.ndarray, "*N"] | None = None,
) -> tuple[float, Float64[np.ndarray, "*N O"]]:
    """For O binary labels at each step (multi-label if O > 1): (the loss summed over steps, ∂L/∂logits).

    −y log σ(o) − (1−y) log(1−σ(o)) is computed as log(1 + e^o) − y·o, which is equal and numerically stable.
    """
    kept = np.ones((*logits.shape[:-1], 1)) if mask is None else mask[..., None].astype(np.float64)
    loss = (np.logaddexp(0, logits) - targets * logits) * kept
    return float(loss.sum()), (sigmoid(logits) - targets) * kept


def one_hot(ids: Int[np.ndarray, "*N"], size: int) -> Float64[np.ndarray, "*N {size}"]:
    """The one-hot vectors of `ids`."""
    return np.asarray(np.eye(size)[ids])
