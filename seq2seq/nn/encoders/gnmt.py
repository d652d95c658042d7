"""The encoder of Google's neural machine translation system (Wu et al. 2016, §3.1 and §3.2).

Only the bottom layer reads both ways, so that the others can run in parallel, each a step after the one below; their
outputs are added to their inputs from the third layer on (eq. 6), which makes eight layers trainable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from seq2seq.errors import UserError
from seq2seq.nn.cell_stack import CellStack
from seq2seq.nn.cells import Cell
from seq2seq.nn.encoders.layer import Layer, LayeredEncoder
from seq2seq.nn.recurrence import RunPath

FIRST_RESIDUAL = 2  # the third layer: in those below it input and output differ in width


class GNMTEncoder(LayeredEncoder):
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
        path: RunPath = "auto",
    ) -> None:
        super().__init__()
        if num_layers < 2:
            raise UserError(f"encoder: num_layers={num_layers}: needs 2 layers or more; or use encoder=recurrent")
        self.output_size = hidden_size
        sizes = [2 * hidden_size] + [hidden_size] * (num_layers - 2)
        bottom = Layer(cell, input_size, hidden_size, "both", path)
        upper = (Layer(cell, size, hidden_size, "forward", path) for size in sizes)
        self.layers = CellStack(
            (bottom, *upper), dropout=dropout, variational=variational, residual_from=FIRST_RESIDUAL
        )
