"""The pyramidal encoder of Listen, Attend and Spell, for long sequences of frames (Chan et al. 2016, §3.1, eq. 5).

    h_t^j = layer^j([h_{2t}^{j−1} ; h_{2t+1}^{j−1}])

Every layer above the first reads pairs of adjacent positions and so halves time: with J layers the memory is 2^{J−1}
times shorter than the source, and so is what the decoder attends to and what the upper layers loop over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from seq2seq.errors import UserError
from seq2seq.nn.cell_stack import CellStack, input_sizes
from seq2seq.nn.cells import Cell
from seq2seq.nn.encoders.layer import Layer, LayeredEncoder
from seq2seq.nn.recurrence import RunPath
from seq2seq.nn.types import DeduplicatedEmbedding, Memory, dense


class PyramidalEncoder(LayeredEncoder):
    """`num_layers` bidirectional layers of `hidden_size` units a direction; D = 2·hidden_size.

    The memory has ⌈S / 2^{num_layers−1}⌉ positions; its mask follows each sentence's own length in the same way.
    `dropout` falls between layers and on the outputs, held over time if `variational`; `path` forces a way to run the
    cells (recurrence.py). Raises `UserError` for a depth below 2, which would have no pairs.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        cell: Callable[..., Cell[Any]],
        *,
        num_layers: int = 3,
        dropout: float = 0.0,
        variational: bool = False,
        path: RunPath = "auto",
    ) -> None:
        super().__init__()
        if num_layers < 2:
            raise UserError(
                f"encoder: num_layers={num_layers}: a pyramid needs 2 layers or more; or use encoder=recurrent"
            )
        self.output_size = 2 * hidden_size
        self.stride = 2 ** (num_layers - 1)
        sizes = input_sizes(input_size, 2 * self.output_size, num_layers)
        layers = (Layer(cell, size, hidden_size, "both", path) for size in sizes)
        self.layers = CellStack(layers, dropout=dropout, variational=variational)

    def forward(self, vectors: Float[Tensor, "B S E"] | DeduplicatedEmbedding, mask: Bool[Tensor, "B S"]) -> Memory:
        """Read the whole source, each layer half as long as the one below."""
        outputs, final = dense(vectors), []
        for depth, layer in enumerate(self.layers):
            if depth:
                outputs, mask = halve(self.layers.drop(outputs), mask)
            outputs, state = layer(outputs, mask)
            final.append(state)
        return Memory(self.layers.drop(outputs), mask, final[-1].h, tuple(final))


def halve(
    vectors: Float[Tensor, "B S D"], mask: Bool[Tensor, "B S"]
) -> tuple[Float[Tensor, "B P 2*D"], Bool[Tensor, "B P"]]:
    """Adjacent positions concatenated in pairs, P = ⌈S/2⌉; the last frame of an odd sequence is paired with zeros.

    `vectors` must be 0 where the mask is False, as a `Layer` leaves them, so that padding is such a zero too.
    """
    second = F.pad(vectors, (0, 0, 0, 1))[:, 1::2]  # no case distinction: an exported network serves every length
    return torch.cat([vectors[:, ::2], second], -1), mask[:, ::2]
