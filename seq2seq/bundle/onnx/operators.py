"""Recurrent layers as ONNX's operators RNN, GRU and LSTM, which support a length for each sentence.

(github.com/onnx/onnx, docs/Operators.md.) Weights are converted to ONNX's order once, with biases concatenated:
    GRU    r, z, n → z, r, n; H_t = (1−z) n + z H_{t−1}, so a gate that `write`s has its rows negated: 1 − σ(x) = σ(−x)
    LSTM   i, f, g, o → i, o, f, g; peepholes i, o, f; the coupled input gate is 1 − f, the forget gate's rows negated
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seq2seq.nn.cells import GRU, LSTM, Cell, Vanilla
from seq2seq.nn.encoders.layer import Layer
from seq2seq.nn.types import CellState, HiddenState, LSTMState

OPSET, VERSION = 18, 14  # ONNX's opset of the networks, and the version of these operators in it
OPERATORS: dict[type[Cell[Any]], str] = {Vanilla: "RNN", GRU: "GRU", LSTM: "LSTM"}
"""The operator of each cell, by exact class, as a subclass may have other equations."""

DIRECTIONS = {(False,): "forward", (True,): "reverse", (False, True): "bidirectional"}


class OnnxLayer(nn.Module):
    """Replaces a `Layer` whose cell is in OPERATORS in an export; outside an export it computes nothing."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        cells: list[Cell[Any]] = list(layer)
        self.kind = type(cells[0])
        self.direction = DIRECTIONS[layer.reverse]
        self.hidden_size = cells[0].hidden_size
        for name, rows in _weights(cells).items():
            self.register_buffer(name, rows)
        first: Any = cells[0]
        self.attributes: dict[str, Any] = {"hidden_size": self.hidden_size, "direction": self.direction}
        if self.kind is GRU:
            self.attributes["linear_before_reset"] = int(first.reset == "after")
        if self.kind is Vanilla:
            self.attributes["activations"] = [{"tanh": "Tanh", "relu": "Relu"}[first.activation]] * len(cells)

    def forward(
        self, vectors: Float[Tensor, "B S E"], mask: Bool[Tensor, "B S"]
    ) -> tuple[Float[Tensor, "B S D"], CellState]:
        """The symbolic operator, with the arguments and results of `Layer.forward`."""
        batch, length, ways = vectors.size(0), vectors.size(1), self.weight.size(0)  # type: ignore[operator]
        inputs: list[Any] = [vectors.transpose(0, 1), self.weight, self.recurrent, self.bias, mask.sum(1).int()]
        shapes = [(length, ways, batch, self.hidden_size), (ways, batch, self.hidden_size)]
        if self.kind is LSTM:
            inputs += [None, None, self.peepholes] if hasattr(self, "peepholes") else []
            shapes.append(shapes[1])
        outputs, *states = torch.onnx.ops.symbolic_multi_out(
            OPERATORS[self.kind],
            inputs,
            self.attributes,
            dtypes=[vectors.dtype] * len(shapes),
            shapes=shapes,
            version=VERSION,
        )
        sides = [state.transpose(0, 1).flatten(1) for state in states]  # [ways, B, H] → [B, ways·H]
        outputs = outputs.permute(2, 0, 1, 3).flatten(2) * mask[:, :, None]
        return outputs, LSTMState(*sides) if self.kind is LSTM else HiddenState(*sides)


def _weights(cells: list[Any]) -> dict[str, Tensor]:
    """The operator's inputs W, R, B and P, stacked over directions."""
    weights = {
        "weight": torch.stack([_rows(cell, cell.weight_ih) for cell in cells]),
        "recurrent": torch.stack([_rows(cell, cell.weight_hh) for cell in cells]),
        "bias": torch.stack(
            [torch.cat([_bias(cell, bias) for bias in (cell.bias_ih, cell.bias_hh)]) for cell in cells]
        ),
    }
    if getattr(cells[0], "peephole_f", None) is not None:
        weights["peepholes"] = torch.stack([_peepholes(cell) for cell in cells])
    return {name: value.detach().clone() for name, value in weights.items()}


def _bias(cell: Any, bias: Tensor | None) -> Tensor:
    return _rows(cell, cell.weight_hh.new_zeros(len(cell.weight_hh)) if bias is None else bias)


def _rows(cell: Any, rows: Tensor) -> Tensor:
    """The rows of the gates in ONNX's order and meaning."""
    if isinstance(cell, GRU):
        r, z, n = rows.chunk(3)
        return torch.cat([z if cell.update == "keep" else -z, r, n])
    if isinstance(cell, LSTM):
        *i, f, g, o = rows.chunk(cell.blocks)
        return torch.cat([i[0] if i else -f, o, f, g])
    return rows


def _peepholes(cell: Any) -> Tensor:
    i = -cell.peephole_f if cell.coupled else cell.peephole_i
    return torch.cat([i, cell.peephole_o, cell.peephole_f])
