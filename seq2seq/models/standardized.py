"""Float sequences as the vectors that an encoder reads: each column minus its mean, over its standard deviation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seq2seq.nn.character_embedding import Words
from seq2seq.nn.types import Features


class StandardizedInput(nn.Module):
    """x ↦ (x − μ) / σ, of F columns; μ and σ are those of the training data, and are kept with the weights."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))
        self.mean: Tensor
        self.deviation: Tensor

    def fit(self, mean: Tensor, deviation: Tensor) -> None:
        """Set μ and σ; a column that never changes has σ = 1."""
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(deviation > 0, deviation, torch.ones_like(deviation)))

    def forward(self, source: Features) -> Words:
        """The vectors of each sequence, zeros in the padding."""
        return Words((source.values - self.mean) / self.deviation * source.mask[..., None], source.mask)
