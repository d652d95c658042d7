"""The losses of rows of log-probabilities, for decoders whose outputs are no features of one softmax."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from seq2seq.nn.losses import LossPath
from seq2seq.nn.types import IGNORED


class LogProbLosses:
    """The losses of a `Head`, computed from log-probabilities [M, V] instead of features. `vocabulary_size` is the
    number of the tokens, the first columns, among which label smoothing spreads its share."""

    def __init__(self, vocabulary_size: int) -> None:
        self.vocabulary_size = vocabulary_size

    def loss(
        self,
        log_probs: Float[Tensor, "M V"],
        targets: Int[Tensor, "M"],
        *,
        label_smoothing: float = 0.0,
        path: LossPath = "auto",
    ) -> Float[Tensor, ""]:
        """Σ −log p(target) in nats, with the label smoothing of `token_cross_entropy`; there is one path only."""
        loss = -self.log_probs(log_probs, targets).sum()
        if not label_smoothing:
            return loss
        uniform = -log_probs[:, : self.vocabulary_size].mean(1).masked_fill(targets == IGNORED, 0.0).sum()
        return (1 - label_smoothing) * loss + label_smoothing * uniform

    def log_probs(self, log_probs: Float[Tensor, "M V"], targets: Int[Tensor, "M"]) -> Float[Tensor, "M"]:
        """log p(target) of each row in nats, 0 where the target is `types.IGNORED`."""
        return -F.nll_loss(log_probs, targets, reduction="none", ignore_index=IGNORED)

    def divergence(
        self, one: Float[Tensor, "M V"], other: Float[Tensor, "M V"], targets: Int[Tensor, "M"]
    ) -> Float[Tensor, ""]:
        """Σ ½ (KL(p‖q) + KL(q‖p)) in nats, as `symmetric_divergence`; 0 log 0 is 0."""
        possible = (one > -torch.inf) & (targets != IGNORED)[:, None]
        log_p, log_q = (each.masked_fill(~possible, 0.0) for each in (one, other))
        return 0.5 * ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum()
