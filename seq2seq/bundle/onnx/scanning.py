"""Recurrent layers of any cell as ONNX's Scan, whose body is the cell's `step`."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

from seq2seq.nn.cells import Cell
from seq2seq.nn.encoders.layer import Layer
from seq2seq.nn.types import CellState


class ScannedLayer(nn.Module):
    """A `Layer` with the same weights, traced as a Scan for each direction instead of a loop of fixed length."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.cells = nn.ModuleList(layer)
        self.reverse = layer.reverse

    def forward(
        self, vectors: Float[Tensor, "B S E"], mask: Bool[Tensor, "B S"]
    ) -> tuple[Float[Tensor, "B S D"], CellState]:
        """Run the layer over all time steps, with the arguments and results of `Layer.forward`."""
        runs = [
            _scanned(cell, vectors, mask, reverse)  # type: ignore[arg-type]
            for cell, reverse in zip(self.cells, self.reverse, strict=True)
        ]
        state = type(runs[0][1])(*(torch.cat(parts, -1) for parts in zip(*(run[1] for run in runs), strict=True)))
        return torch.cat([run[0] for run in runs], -1), state


def _scanned(cell: Cell[Any], vectors: Tensor, mask: Tensor, reverse: bool) -> tuple[Tensor, CellState]:
    """The outputs (0 on padding), and the state after the last token; padding does not change the state."""
    shape = cell.state_shape

    def step(state: tuple[Tensor, ...], inputs: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        gates, real = inputs
        new = cell.step(gates, shape.kind(*state))
        after = tuple(torch.where(real[:, None], one, other) for one, other in zip(new, state, strict=True))
        return after, after[0].clone()  # an output of scan must not be the carried tensor

    gates = cell.project(vectors.transpose(0, 1))
    start = tuple(part.clone() for part in shape.zeros(vectors.size(0), vectors))
    final, outputs = scan(step, start, (gates, mask.t()), reverse=reverse)
    return outputs.transpose(0, 1) * mask[:, :, None], shape.kind(*final)
