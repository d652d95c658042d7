"""One recurrent layer of an encoder, a cell for each direction, and an encoder that is a stack of such layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seq2seq.nn.cell_stack import CellStack
from seq2seq.nn.cells import Cell
from seq2seq.nn.encoders.base import Encoder
from seq2seq.nn.recurrence import RunPath, unroll
from seq2seq.nn.types import CellState, DeduplicatedEmbedding, Inputs, Memory, StateShape

Direction = Literal["forward", "backward", "both"]
REVERSE: dict[Direction, tuple[bool, ...]] = {"forward": (False,), "backward": (True,), "both": (False, True)}
"""For each cell of a layer, whether it reads from right to left."""


class Layer(nn.ModuleList):
    """h_t = [h→_t ; h←_t], or one of the two; D = `hidden_size` times the number of directions."""

    def __init__(
        self,
        cell: Callable[..., Cell[Any]],
        input_size: int,
        hidden_size: int,
        direction: Direction,
        path: RunPath = "auto",
    ) -> None:
        self.reverse = REVERSE[direction]
        super().__init__(cell(input_size, hidden_size) for _ in self.reverse)
        self.path = path
        self.output_size = hidden_size * len(self.reverse)

    def __iter__(self) -> Iterator[Any]:
        return super().__iter__()

    @property
    def state_shape(self) -> StateShape:
        """The shape of both directions' states, concatenated."""
        shape: StateShape = next(iter(self)).state_shape
        return shape._replace(size=self.output_size)

    def forward(
        self, vectors: Float[Tensor, "B S E"] | DeduplicatedEmbedding, mask: Bool[Tensor, "B S"]
    ) -> tuple[Float[Tensor, "B S D"], CellState]:
        """The outputs, 0 where the mask is False, and the state of each direction after its own last token."""
        runs = [
            unroll(cell, Inputs(vectors), mask, reverse=reverse, path=self.path)
            for cell, reverse in zip(self, self.reverse, strict=True)
        ]
        state = type(runs[0][1])(*(torch.cat(parts, -1) for parts in zip(*(run[1] for run in runs), strict=True)))
        return torch.cat([run[0] for run in runs], -1), state


class LayeredEncoder(Encoder):
    """An encoder whose memory is the output of a stack of `Layer`s, and whose summary is the top layer's state."""

    layers: CellStack

    @property
    def state_shapes(self) -> tuple[StateShape, ...]:
        """One a layer; the states of both directions are concatenated."""
        return self.layers.state_shapes

    def forward(self, vectors: Float[Tensor, "B S E"] | DeduplicatedEmbedding, mask: Bool[Tensor, "B S"]) -> Memory:
        """Read the whole source."""
        outputs, final = self.layers.run(Inputs(vectors), None, lambda layer, inputs, _: layer(inputs.steps, mask))
        return Memory(self.layers.drop(outputs), mask, final[-1].h, final)
