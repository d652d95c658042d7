"""One recurrent layer of an encoder: a cell for each direction, side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seq2seq.nn.cells import Cell
from seq2seq.nn.recurrence import unroll
from seq2seq.nn.types import CellState, Inputs, Lookup, StateShape

DIRECTIONS = {"forward": (False,), "backward": (True,), "both": (False, True)}
"""For each direction, whether its cells read from right to left."""


class Layer(nn.ModuleList):
    """h_t = [h→_t ; h←_t], or one of the two; D = `hidden_size` times the number of directions."""

    def __init__(
        self, cell: Callable[..., Cell[Any]], input_size: int, hidden_size: int, direction: str, path: str = "auto"
    ) -> None:
        super().__init__(cell(input_size, hidden_size) for _ in DIRECTIONS[direction])
        self.reverse, self.path = DIRECTIONS[direction], path
        self.output_size = hidden_size * len(self.reverse)

    @property
    def state_shape(self) -> StateShape:
        """Both directions' states stand side by side."""
        cell: Cell[Any] = self[0]  # type: ignore[assignment]
        return cell.state_shape._replace(size=self.output_size)

    def forward(
        self, vectors: Float[Tensor, "B S E"] | Lookup, mask: Bool[Tensor, "B S"]
    ) -> tuple[Float[Tensor, "B S D"], CellState]:
        """The outputs, 0 where the mask is False, and the state of each direction after its own last token."""
        runs = [
            unroll(cell, Inputs(vectors), mask, reverse=reverse, path=self.path)  # type: ignore[arg-type]
            for cell, reverse in zip(self, self.reverse, strict=True)
        ]
        state = type(runs[0][1])(*(torch.cat(parts, -1) for parts in zip(*(run[1] for run in runs), strict=True)))
        return torch.cat([run[0] for run in runs], -1), state
