"""The aligned context: at step t the decoder reads the encoder's output of position t (N-to-N with feedback).

c_t = h_t        and c_t = 0 past the end of the source

It is the equal-length network of Goodfellow, Bengio & Courville (2016), §10.2.4, figure 10.10: y_t is conditioned on
x_t (here on h_t, which a bidirectional encoder makes of the whole source) and on the y before it.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from seq2seq.nn.contexts.base import Context, Keys
from seq2seq.nn.types import Memory


class AlignedContext(Context):
    """c_t is the memory at t, whatever the query; no weights, no parameters."""

    attends = False
    uses_position = True

    def __init__(self, memory_size: int, query_size: int) -> None:
        super().__init__()
        self.size = memory_size

    def prepare(self, memory: Memory) -> Keys:
        """Keys whose values are the memory itself."""
        return Keys(memory.outputs, None, memory.mask)

    def forward(
        self, queries: Float[Tensor, "B Q H"] | None, keys: Keys, steps: Int[Tensor, "B Q"]
    ) -> tuple[Float[Tensor, "B Q C"], None]:
        """The memory at `steps`."""
        size = keys.values.size(1)
        positions = steps.clamp(max=size - 1)
        inside = keys.mask.gather(1, positions) & (steps < size)
        values = keys.values.gather(1, positions[:, :, None].expand(-1, -1, self.size))
        return values * inside[:, :, None], None
