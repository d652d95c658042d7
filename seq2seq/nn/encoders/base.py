"""The base class of encoders."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Bool, Float
from torch import Tensor, nn

from seq2seq.nn.types import Memory, StateShape


class Encoder(nn.Module, ABC):
    """From vectors to a memory; `output_size` is D, `state_shapes` those of `Memory.final`, layer by layer.

    `stride` is the number of source positions that one position of the memory covers.
    """

    output_size: int
    stride: int = 1
    reads_deduplicated: bool = False
    """Whether `forward` reads a `DeduplicatedEmbedding`, too."""
    reads_images: bool = False
    """Whether each vector is an image, so that tokens cannot be read."""
    carries_state: bool = False
    """Whether it resumes from the state that it left: whether it has the methods of `RecurrentStack`."""

    @property
    @abstractmethod
    def state_shapes(self) -> tuple[StateShape, ...]:
        """The type and size of each layer's final state."""

    @abstractmethod
    def forward(self, vectors: Float[Tensor, "B S E"], mask: Bool[Tensor, "B S"]) -> Memory:
        """Read the whole source."""

    def layered(self) -> Encoder:
        """The same encoder, with the same weights, with a `Layer` for each recurrent layer: what an export reads."""
        return self
