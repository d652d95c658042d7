"""The encoder of a set: each element by itself, so that their order changes nothing.

h_s = tanh(W e_s + b)        c = mean of the h_s

As DeepSets (Zaheer et al. 2017) with attention (or the mean) as what joins the elements: it is for the tags of a word,
which come in any order.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seq2seq.nn.embedding import Dropout
from seq2seq.nn.encoders.base import Encoder
from seq2seq.nn.encoders.vector import mean
from seq2seq.nn.matmul import Linear
from seq2seq.nn.types import Memory, StateShape


class UnorderedEncoder(Encoder):
    """`hidden_size` units an element, with `dropout` on them; no recurrent state."""

    def __init__(self, input_size: int, hidden_size: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.output_size = hidden_size
        self.elements = Linear(input_size, hidden_size)
        self.dropout = Dropout(dropout)

    @property
    def state_shapes(self) -> tuple[StateShape, ...]:
        """Empty: there is no recurrent state."""
        return ()

    def forward(self, vectors: Float[Tensor, "B S E"], mask: Bool[Tensor, "B S"]) -> Memory:
        """Map each element by itself; the summary is the mean of the real ones."""
        outputs = self.dropout(torch.tanh(self.elements(vectors))) * mask[:, :, None]
        return Memory(outputs, mask, mean(outputs, mask), ())
