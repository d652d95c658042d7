"""Recurrent layers, stacked: their states, and the dropout and residual connections between them.

    x_1 = input      x_{l+1} = dropout(y_l)      y_l = layer_l(x_l), and + x_l in the layers that are residual

The residual connection is that of Wu et al. (2016, eq. 6). The decoder, the recurrent stack and the encoders share it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from seq2seq.errors import UserError
from seq2seq.nn.embedding import check_rate, dropped
from seq2seq.nn.types import CellState, Inputs, StateShape, dense

States = tuple[CellState, ...]
"""One state a layer, the lowest first."""
RunLayer = Callable[[Any, Inputs, CellState | None], tuple[Tensor, CellState]]
"""A function that runs one layer over all time steps: (layer, inputs, first state) → outputs, last state."""


def input_sizes(first: int, others: int, num_layers: int) -> list[int]:
    """The input size of each layer; raises `UserError` for less than one layer."""
    if num_layers < 1:
        raise UserError(f"num_layers={num_layers} must be at least 1")
    return [first] + [others] * (num_layers - 1)


class CellStack(nn.ModuleList):
    """The `layers` are cells, or encoder layers of a cell for each direction.

    `dropout` falls between two layers, and is held over time if `variational`. The layers from the index
    `residual_from` on add their input to their output.
    """

    def __init__(
        self,
        layers: Iterable[nn.Module],
        *,
        dropout: float = 0.0,
        variational: bool = False,
        residual_from: int | None = None,
    ) -> None:
        super().__init__(layers)
        self.dropout = check_rate(dropout)
        self.variational = variational
        self.residual_from = len(self) if residual_from is None else residual_from

    def __iter__(self) -> Iterator[Any]:
        return super().__iter__()

    @property
    def first(self) -> Any:
        """The lowest layer, which reads the input of the stack."""
        return next(iter(self))

    @property
    def state_shapes(self) -> tuple[StateShape, ...]:
        """The type and size of each layer's state."""
        return tuple(layer.state_shape for layer in self)

    def init_state(self, batch_size: int) -> States:
        """The zero state of every layer."""
        return tuple(cell.init_state(batch_size) for cell in self)

    @contextmanager
    def dropped_weights(self) -> Iterator[None]:
        """One mask of its recurrent weights a cell for all that runs within the block."""
        with ExitStack() as stack:
            for cell in self:
                stack.enter_context(cell.dropped_weights())
            yield

    def drop(self, values: Float[Tensor, "*B T F"]) -> Float[Tensor, "*B T F"]:
        """Apply the dropout that falls between layers, in training only."""
        return dropped(values, self.dropout, variational=self.variational) if self.training else values

    def run(self, inputs: Inputs, states: Sequence[CellState] | None, run_layer: RunLayer) -> tuple[Tensor, States]:
        """Run every layer over all time steps by `run_layer`; returns the top outputs and each layer's last state."""
        final: list[CellState] = []
        for depth, layer in enumerate(self):
            outputs, last = run_layer(layer, inputs, states[depth] if states else None)
            if depth >= self.residual_from:
                outputs = outputs + dense(inputs.steps)
            final.append(last)
            if depth + 1 < len(self):
                inputs = Inputs(self.drop(outputs))
        return outputs, tuple(final)

    def step(
        self, gates: Float[Tensor, "N G"], states: States, masks: Sequence[Tensor] | None = None
    ) -> tuple[States, Float[Tensor, "N H"]]:
        """Run every cell for one time step, from the first one's gates; returns the new states and the top output.
        `masks` are those of `time_masks`, where the step is one of a sequence."""
        new: list[CellState] = []
        below = top = gates
        for depth, (cell, state) in enumerate(zip(self, states, strict=True)):
            if depth:
                below = self.drop(top[:, None])[:, 0] if masks is None else top * masks[depth]
                gates = cell.project(below)
            new.append(cell.advance(gates, state))
            top = new[-1].h + below if depth >= self.residual_from else new[-1].h
        return tuple(new), top

    def time_masks(self, like: Float[Tensor, "T B G"]) -> list[Tensor] | None:
        """One dropout mask a layer for a whole sequence, where dropout is held over time; else None."""
        if not self.variational:
            return None
        size = self.first.hidden_size
        return [self.drop(like.new_ones(like.size(1), 1, size))[:, 0] for _ in self]
