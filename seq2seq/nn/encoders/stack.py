"""A stack of recurrent layers that resumes from the state it left: the state comes in, the state goes out.

Reads from left to right only, since what comes later is not known yet: the body of a language model. How far an error
is carried back through it is `reach`; without one, to the beginning of what was read at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seq2seq.errors import UserError
from seq2seq.nn.cell_stack import CellStack, States, input_sizes
from seq2seq.nn.cells import Cell
from seq2seq.nn.encoders.base import Encoder
from seq2seq.nn.encoders.recurrent import RecurrentEncoder
from seq2seq.nn.recurrence import RunPath, unroll
from seq2seq.nn.types import CellState, Inputs, Memory, StateShape, map_tensors

StackState = States
"""What the stack has read: one state a layer, the lowest first."""


class RecurrentStack(Encoder):
    """`num_layers` layers of `hidden_size` units; D = hidden_size.

    `residual` adds a layer's input to its output from the second layer on (Wu et al. 2016, eq. 6); `dropout` falls
    between layers and on the outputs, held over time if `variational`. `path` forces a way to run the cells
    (recurrence.py). Raises `UserError` for a depth below 1.
    """

    carries_state = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        cell: Callable[..., Cell[Any]],
        *,
        num_layers: int = 1,
        residual: bool = False,
        dropout: float = 0.0,
        variational: bool = False,
        path: RunPath = "auto",
    ) -> None:
        super().__init__()
        self.output_size = hidden_size
        self.path = path
        sizes = input_sizes(input_size, hidden_size, num_layers)
        self.layers = CellStack(
            (cell(size, hidden_size) for size in sizes),
            dropout=dropout,
            variational=variational,
            residual_from=1 if residual else None,
        )

    @property
    def state_shapes(self) -> tuple[StateShape, ...]:
        """One shape a layer, the lowest first."""
        return self.layers.state_shapes

    def layered(self) -> Encoder:
        """A recurrent encoder that reads from left to right with this stack's cells."""
        cells = iter(self.layers)
        encoder = RecurrentEncoder(
            1,
            self.output_size,
            lambda *_: next(cells),
            num_layers=len(self.layers),
            direction="forward",
            residual=self.layers.residual_from < len(self.layers),
        )
        return encoder.train(self.training)

    def init_state(self, batch_size: int) -> StackState:
        """All layers at 0."""
        return self.layers.init_state(batch_size)

    def forward(self, vectors: Float[Tensor, "B S E"], mask: Bool[Tensor, "B S"]) -> Memory:
        """Read the whole source, as any encoder does."""
        outputs, final = self._run(vectors, self.init_state(len(vectors)), mask)
        return Memory(outputs, mask, final[-1].h, final)

    def run(
        self, vectors: Float[Tensor, "B T E"], state: StackState, *, reach: int | None = None
    ) -> tuple[Float[Tensor, "B T D"], StackState]:
        """Continue reading from `state`; the outputs, and the state after them.

        With a `reach` of k the error of step t is carried back over at most k recurrent connections, to the steps
        t … t − k: `bptt_truncate` of many courses, exactly (reference/truncation.py, the left picture; Williams & Peng
        1990). The values are the same with any reach; the work is about k times as much. Raises `UserError` for a
        negative reach.
        """
        if reach is not None and reach < 0:
            raise UserError(f"truncate={reach} must be at least 0; null carries errors back to the window's beginning")
        if reach is None or reach >= vectors.size(1):
            return self._run(vectors, state)
        return self._truncated(vectors, state, reach)

    def _run(
        self, vectors: Float[Tensor, "B T E"], state: StackState, mask: Bool[Tensor, "B T"] | None = None
    ) -> tuple[Float[Tensor, "B T D"], StackState]:
        def run_layer(cell: Cell[Any], inputs: Inputs, start: CellState | None) -> tuple[Tensor, CellState]:
            return unroll(cell, inputs, mask, start, path=self.path)

        outputs, final = self.layers.run(Inputs(vectors), state, run_layer)
        return self.layers.drop(outputs), final

    def _truncated(
        self, vectors: Float[Tensor, "B T E"], state: StackState, reach: int
    ) -> tuple[Float[Tensor, "B T D"], StackState]:
        """The first k steps reach the state before them. Each later step t becomes a sequence of its own, the steps
        t − k … t from a constant state, of which only the last output counts; all of them are one batch.

        Dropout, if any, is drawn anew for the constant states.
        """
        windows = vectors.unfold(1, reach + 1, 1).transpose(2, 3)
        later = windows.size(1)
        outputs, last = self._run(windows.flatten(0, 1), self._states(vectors[:, : later - 1], state))
        rest, final = map_tensors(lambda x: x.unflatten(0, (-1, later)), (outputs[:, -1], last))
        first = self._run(vectors[:, :reach], state)[0] if reach else rest[:, :0]
        return torch.cat([first, rest], 1), map_tensors(lambda x: x[:, -1], final)

    @torch.no_grad()
    def _states(self, vectors: Float[Tensor, "B T E"], state: StackState) -> StackState:
        """The states before, between and after the steps, as constants and as one batch of B·(T + 1) rows."""
        states = [map_tensors(Tensor.detach, state)]
        for vector in vectors.split(1, 1) if vectors.size(1) else ():
            states.append(self._run(vector, states[-1])[1])
        return tuple(
            type(layer[0])(*(torch.stack(parts, 1).flatten(0, 1) for parts in zip(*layer, strict=True)))
            for layer in zip(*states, strict=True)
        )
