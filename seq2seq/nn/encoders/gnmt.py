"""The encoder of Google's neural machine translation system (Wu et al. 2016, §3.1 and §3.2).

Only the bottom layer reads both ways, so that all others can run one behind the other in parallel; their outputs are
added to their inputs from the third layer on (eq. 6), which is what lets eight layers be trained.
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
from seq2seq.nn.encoders.layer import Layer
from seq2seq.nn.types import Memory, StateShape

FIRST_RESIDUAL = 2  # the third layer's position: below it input and output differ in width


class GNMTEncoder(Encoder):
    """`num_layers` layers of `hidden_size` units (the bottom one: a direction); D = hidden_size.

    `dropout` falls between layers and on the outputs, held over time if `variational`; `path` forces a way to run the
    cells (recurrence.py). Raises `UserError` for a depth below 2.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        cell: Callable[..., Cell[Any]],
        *,
        num_layers: int = 4,
        dropout: float = 0.0,
        variational: bool = False,
        path: str = "auto",
    ) -> None:
        super().__init__()
        if num_layers < 2:
            raise UserError(f"encoder: num_layers={num_layers}: needs 2 layers or more; or use encoder=recurrent")
        self.output_size = hidden_size
        sizes = [2 * hidden_size] + [hidden_size] * (num_layers - 2)
        bottom = Layer(cell, input_size, hidden_size, "both", path)
        self.layers = nn.ModuleList([bottom, *(Layer(cell, size, hidden_size, "forward", path) for size in sizes)])
        self.dropout = Dropout(dropout, variational=variational)

    @property
    def state_shapes(self) -> tuple[StateShape, ...]:
        """One a layer; the bottom one's is twice as wide, both directions side by side."""
        return tuple(layer.state_shape for layer in self.layers)  # type: ignore[misc]

    def forward(self, vectors: Float[Tensor, "B S E"], mask: Bool[Tensor, "B S"]) -> Memory:
        """Read the whole source."""
        outputs, final = vectors, []
        for depth, layer in enumerate(self.layers):
            inputs = self.dropout(outputs) if depth else outputs
            outputs, state = layer(inputs, mask)
            final.append(state)
            if depth >= FIRST_RESIDUAL:
                outputs = outputs + inputs
        return Memory(self.dropout(outputs), mask, final[-1].h, tuple(final))
