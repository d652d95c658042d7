"""The encoder that only projects: the vectors of a source, times a matrix, or as they are.

    h_r = W x_r        c = mean_r h_r

With one vector x a source and `decoder.context_to=first` the decoder is the captioner of textbooks: its first step is
h₁ = φ(U x₁ + W s₀ + V x + b), where V x is what the cell's input weight makes of c, and no later step sees x.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn

from seq2seq.nn.encoders.base import Encoder
from seq2seq.nn.encoders.vector import mean
from seq2seq.nn.matmul import Linear
from seq2seq.nn.types import Memory, StateShape


class ProjectionEncoder(Encoder):
    """Regions of any width F to as many of width D = `hidden_size`, by a matrix without bias and nonlinearity; to
    themselves where it is None, so that D = F. There is no recurrent state: `Memory.final` is empty."""

    def __init__(self, input_size: int, hidden_size: int | None = None) -> None:
        super().__init__()
        self.output_size = input_size if hidden_size is None else hidden_size
        self.project = nn.Identity() if hidden_size is None else Linear(input_size, hidden_size, bias=False)

    @property
    def state_shapes(self) -> tuple[StateShape, ...]:
        """Empty: there is no recurrent state."""
        return ()

    def forward(self, vectors: Float[Tensor, "B S E"], mask: Bool[Tensor, "B S"]) -> Memory:
        """Project each region by itself, and average over the real ones for the summary."""
        outputs = self.project(vectors) * mask[:, :, None]
        return Memory(outputs, mask, mean(outputs, mask), ())
