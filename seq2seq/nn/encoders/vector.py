"""The encoder of given vectors: features of an image's regions from elsewhere, or one vector of a label.

    h_r = φ(W x_r + b)        c = tanh(V · mean_r h_r + d)

Each region stays where it is and sees no other: their order is not known unless the vectors tell it. What Vinyals et
al. (2015) feed to their captioner is the case of one region, what Xu et al. (2015) attend to that of many.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seq2seq.nn.embedding import Dropout
from seq2seq.nn.encoders.base import Encoder
from seq2seq.nn.types import Memory, StateShape

Activation = Literal["tanh", "relu"]


class VectorEncoder(Encoder):
    """Regions of any width F to as many of width D = `hidden_size`; φ is `activation`, tanh or relu.

    `dropout` falls on the regions' outputs. There is no recurrent state: `Memory.final` is empty. Raises `UserError`
    for another activation.
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, activation: Activation = "relu", dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.output_size = hidden_size
        squash = nn.Tanh() if activation == "tanh" else nn.ReLU()
        self.regions = nn.Sequential(nn.Linear(input_size, hidden_size), squash)
        self.summary = nn.Linear(hidden_size, hidden_size)
        self.dropout = Dropout(dropout)
        begin(self.regions[0], activation)

    @property
    def state_shapes(self) -> tuple[StateShape, ...]:
        """Empty: there is no recurrent state."""
        return ()

    def forward(self, vectors: Float[Tensor, "B S E"], mask: Bool[Tensor, "B S"]) -> Memory:
        """Map each region by itself, and average over the real ones for the summary."""
        outputs = self.dropout(self.regions(vectors)) * mask[:, :, None]
        return Memory(outputs, mask, torch.tanh(self.summary(mean(outputs, mask))), ())


def begin(layer: nn.Module, activation: Activation) -> None:
    """Initialise a layer such that its nonlinearity keeps the variance of its inputs (He et al. 2015, eq. 10).

    torch's default initialisation divides a signal by about 2.4 at each layer with relu: after four of them the
    outputs for different images hardly differ, and training makes no progress.
    """
    nn.init.kaiming_normal_(layer.weight, nonlinearity=activation)  # type: ignore[arg-type]
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


def mean(outputs: Float[Tensor, "B S D"], mask: Bool[Tensor, "B S"]) -> Float[Tensor, "B D"]:
    """The mean over real regions; `outputs` are 0 elsewhere."""
    return outputs.sum(1) / mask.sum(1, keepdim=True).clamp_min(1)
