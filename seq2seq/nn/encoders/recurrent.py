"""The recurrent encoder: one direction or both, any depth, residual connections.

Bidirectional (Schuster & Paliwal 1997; Bahdanau et al. 2015, §3.2): h_t = [h→_t ; h←_t], and the summary
c = [h→_S ; h←_1], the state of each direction after its own last token. With direction `backward` the source is read
from right to left, which is Sutskever et al.'s (2014) reversed source.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn

from seq2seq.errors import UserError
from seq2seq.nn.cells import Cell
from seq2seq.nn.embedding import Dropout
from seq2seq.nn.encoders.base import Encoder
from seq2seq.nn.encoders.layer import DIRECTIONS, Layer
from seq2seq.nn.types import Lookup, Memory, StateShape


class RecurrentEncoder(Encoder):
    """`num_layers` layers of `hidden_size` units a direction; D = hidden_size, twice that for direction `both`.

    `residual` adds a layer's input to its output from the second layer on (Wu et al. 2016, eq. 6); `dropout` falls
    between layers and on the outputs, held over time if `variational`. `path` forces a way to run the cells
    (recurrence.py). Raises `UserError` for an unknown direction or a depth below 1.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        cell: Callable[..., Cell[Any]],
        *,
        num_layers: int = 1,
        direction: str = "both",
        residual: bool = False,
        dropout: float = 0.0,
        variational: bool = False,
        path: str = "auto",
    ) -> None:
        super().__init__()
        if direction not in DIRECTIONS:
            raise UserError(f"encoder: direction={direction!r} is not known; use forward, backward or both")
        if num_layers < 1:
            raise UserError(f"encoder: num_layers={num_layers} must be at least 1")
        self.output_size = hidden_size * len(DIRECTIONS[direction])
        sizes = [input_size] + [self.output_size] * (num_layers - 1)
        self.layers = nn.ModuleList(Layer(cell, size, hidden_size, direction, path) for size in sizes)
        self.dropout = Dropout(dropout, variational=variational)
        self.residual = residual

    reads_lookups = True

    @property
    def state_shapes(self) -> tuple[StateShape, ...]:
        """One a layer; both directions' states stand side by side."""
        return tuple(layer.state_shape for layer in self.layers)  # type: ignore[misc]

    def forward(self, vectors: Float[Tensor, "B S E"] | Lookup, mask: Bool[Tensor, "B S"]) -> Memory:
        """Read the whole source."""
        outputs, state = self.layers[0](vectors, mask)
        final = [state]
        for layer in self.layers[1:]:
            inputs = self.dropout(outputs)
            outputs, state = layer(inputs, mask)
            final.append(state)
            if self.residual:
                outputs = outputs + inputs
        return Memory(self.dropout(outputs), mask, final[-1].h, tuple(final))
