"""Recurrent layers as ONNX's operators RNN, GRU and LSTM, which support a length for each sentence.

(github.com/onnx/onnx, docs/Operators.md.) Weights are converted to ONNX's order once, with biases concatenated:
    GRU    r, z, n → z, r, n; H_t = (1−z) n + z H_{t−1}, so a gate that `write`s has its rows negated: 1 − σ(x) = σ(−x)
    LSTM   i, f, g, o → i, o, f, g; peepholes i, o, f; the coupled input gate is 1 − f, the forget gate's rows negated
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seq2seq.nn.cells import GRU, LSTM, Cell, Vanilla
from seq2seq.nn.encoders.layer import Layer
from seq2seq.nn.types import CellState, HiddenState, LSTMState

OPSET, VERSION = 18, 14  # ONNX's opset of the networks, and the version of these operators in it


class Operator(NamedTuple):
    """The operator of a cell: `rows` puts the rows of the cell's gates (W, U or a bias) into the operator's
    order and meaning, and `attributes` are what the operator must know of the cell, which runs in so many directions.
    """

    name: str
    state: type[HiddenState] | type[LSTMState]
    rows: Callable[[Any, Tensor], Tensor]
    attributes: Callable[[Any, int], dict[str, Any]]


def _gru_rows(cell: GRU, rows: Tensor) -> Tensor:
    r, z, n = rows.chunk(3)
    return torch.cat([z if cell.update == "keep" else -z, r, n])


def _lstm_rows(cell: LSTM, rows: Tensor) -> Tensor:
    *i, f, g, o = rows.chunk(cell.blocks)
    return torch.cat([i[0] if i else -f, o, f, g])


def _activations(cell: Vanilla, directions: int) -> dict[str, Any]:
    return {"activations": [{"tanh": "Tanh", "relu": "Relu"}[cell.activation]] * directions}


OPERATORS: dict[type[Cell[Any]], Operator] = {
    Vanilla: Operator("RNN", HiddenState, lambda cell, rows: rows, _activations),
    GRU: Operator("GRU", HiddenState, _gru_rows, lambda cell, _: {"linear_before_reset": int(cell.reset == "after")}),
    LSTM: Operator("LSTM", LSTMState, _lstm_rows, lambda cell, _: {}),
}
"""The operator of each cell, by exact class, as a subclass may have other equations."""

DIRECTIONS = {(False,): "forward", (True,): "reverse", (False, True): "bidirectional"}


class OnnxLayer(nn.Module):
    """Replaces a `Layer` whose cell is in OPERATORS in an export; outside an export it computes nothing."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        cells: list[Cell[Any]] = list(layer)
        self.operator = OPERATORS[type(cells[0])]
        self.direction = DIRECTIONS[layer.reverse]
        self.hidden_size = cells[0].hidden_size
        for name, rows in _weights(cells, self.operator).items():
            self.register_buffer(name, rows)
        common: dict[str, Any] = {"hidden_size": self.hidden_size, "direction": self.direction}
        self.attributes = common | self.operator.attributes(cells[0], len(cells))

    def forward(
        self, vectors: Float[Tensor, "B S E"], mask: Bool[Tensor, "B S"]
    ) -> tuple[Float[Tensor, "B S D"], CellState]:
        """The symbolic operator, with the arguments and results of `Layer.forward`."""
        batch, length, ways = vectors.size(0), vectors.size(1), self.weight.size(0)  # type: ignore[operator]
        inputs: list[Any] = [vectors.transpose(0, 1), self.weight, self.recurrent, self.bias, mask.sum(1).int()]
        shapes = [(length, ways, batch, self.hidden_size), (ways, batch, self.hidden_size)]
        inputs += [None, None, self.peepholes] if hasattr(self, "peepholes") else []
        shapes += shapes[1:] * (len(self.operator.state._fields) - 1)  # one a field of the state
        outputs, *states = torch.onnx.ops.symbolic_multi_out(
            self.operator.name,
            inputs,
            self.attributes,
            dtypes=[vectors.dtype] * len(shapes),
            shapes=shapes,
            version=VERSION,
        )
        sides = [state.transpose(0, 1).flatten(1) for state in states]  # [ways, B, H] → [B, ways·H]
        outputs = outputs.permute(2, 0, 1, 3).flatten(2) * mask[:, :, None]
        return outputs, self.operator.state(*sides)


def _weights(cells: list[Any], operator: Operator) -> dict[str, Tensor]:
    """The operator's inputs W, R, B and P, stacked over directions."""
    weights = {
        "weight": torch.stack([operator.rows(cell, cell.weight_ih) for cell in cells]),
        "recurrent": torch.stack([operator.rows(cell, cell.weight_hh) for cell in cells]),
        "bias": torch.stack([torch.cat([operator.rows(cell, each) for each in _biases(cell)]) for cell in cells]),
    }
    if getattr(cells[0], "peephole_f", None) is not None:
        weights["peepholes"] = torch.stack([_peepholes(cell) for cell in cells])
    return {name: value.detach().clone() for name, value in weights.items()}


def _biases(cell: Any) -> list[Tensor]:
    zeros = cell.weight_hh.new_zeros(len(cell.weight_hh))
    return [zeros if bias is None else bias for bias in (cell.bias_ih, cell.bias_hh)]


def _peepholes(cell: Any) -> Tensor:
    i = -cell.peephole_f if cell.coupled else cell.peephole_i
    return torch.cat([i, cell.peephole_o, cell.peephole_f])
