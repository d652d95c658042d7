"""The regressor: float sequences, an encoder, a pooling over its memory, and a linear head; a plain nn.Module."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from seq2seq.models.pooling import Pooled
from seq2seq.models.standardized import StandardizedInput
from seq2seq.nn.contexts import Context
from seq2seq.nn.encoders import Encoder
from seq2seq.nn.heads import Head
from seq2seq.nn.types import Features


class Regressor(Pooled):
    """N-to-1: ŷ = μ + σ · head(c), K numbers, where c is the `pooling` of the encoder's memory (see `Pooled`).

    μ and σ are those of the targets of training, and are kept with the weights; so the head learns numbers near 1.
    """

    reads_eos = False

    def __init__(
        self,
        embedding: StandardizedInput,
        encoder: Encoder,
        pooling: Context,
        query_size: int,
        head: Head,
        outputs: int,
    ) -> None:
        super().__init__()
        self.head = head
        self.features = embedding.size
        self.join(embedding, encoder, pooling, query_size)
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("deviation", torch.ones(outputs))
        self.mean: Tensor
        self.deviation: Tensor

    def forward(self, source: Features) -> Float[Tensor, "B K"]:
        """The outputs in units of σ."""
        return self.head.logits(self.head.readout(self.pool(source)[0], None, None))

    def predict(self, source: Features) -> Float[Tensor, "B K"]:
        """ŷ of each sequence."""
        units: Tensor = self(source)
        return self.mean + self.deviation * units

    def loss(self, source: Features, targets: Float[Tensor, "B K"]) -> Float[Tensor, ""]:
        """Σ ((ŷ − y) / σ)² over all numbers of a batch."""
        errors: Tensor = self(source) - (targets - self.mean) / self.deviation
        return errors.square().sum()

    def fit(self, mean: Tensor, deviation: Tensor) -> None:
        """Set μ and σ."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)
