"""The recurrent encoder: one direction or both, any depth, residual connections.

Bidirectional (Schuster & Paliwal 1997; Bahdanau et al. 2015, §3.2): h_t = [h→_t ; h←_t], and the summary
c = [h→_S ; h←_1], the state of each direction after its own last token. With direction `backward` the source is read
from right to left, which is Sutskever et al.'s (2014) reversed source.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from seq2seq.nn.cell_stack import CellStack, input_sizes
from seq2seq.nn.cells import Cell
from seq2seq.nn.encoders.layer import REVERSE, Direction, Layer, LayeredEncoder
from seq2seq.nn.recurrence import RunPath


class RecurrentEncoder(LayeredEncoder):
    """`num_layers` layers of `hidden_size` units a direction; D = hidden_size, twice that for direction `both`.

    `residual` adds a layer's input to its output from the second layer on (Wu et al. 2016, eq. 6); `dropout` falls
    between layers and on the outputs, held over time if `variational`. `path` forces a way to run the cells
    (recurrence.py). Raises `UserError` for a depth below 1.
    """

    reads_deduplicated = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        cell: Callable[..., Cell[Any]],
        *,
        num_layers: int = 1,
        direction: Direction = "both",
        residual: bool = False,
        dropout: float = 0.0,
        variational: bool = False,
        path: RunPath = "auto",
    ) -> None:
        super().__init__()
        self.output_size = hidden_size * len(REVERSE[direction])
        sizes = input_sizes(input_size, self.output_size, num_layers)
        self.layers = CellStack(
            (Layer(cell, size, hidden_size, direction, path) for size in sizes),
            dropout=dropout,
            variational=variational,
            residual_from=1 if residual else None,
        )
