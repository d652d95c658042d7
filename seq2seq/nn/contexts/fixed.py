"""The fixed context vector of Cho et al. (2014): the same c at every step."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seq2seq.nn.contexts.base import Context, Keys
from seq2seq.nn.types import Memory


class FixedContext(Context):
    """c = the encoder's last states (`last`), or the `mean` or `max` of its memory over real positions:
    `summary`."""

    attends = False
    constant = True

    def __init__(self, memory_size: int, query_size: int, *, summary: Literal["last", "mean", "max"] = "last") -> None:
        super().__init__()
        self.size = memory_size
        self.summary = summary

    def prepare(self, memory: Memory) -> Keys:
        """Keys whose only value is c."""
        mask = memory.mask[:, :, None]
        if self.summary == "last":
            c = memory.summary
        elif self.summary == "mean":
            c = (memory.outputs * mask).sum(1) / mask.sum(1).clamp_min(1)
        else:
            c = memory.outputs.masked_fill(~mask, torch.finfo(memory.outputs.dtype).min).amax(1)
        return Keys(c[:, None], None, memory.mask[:, :1])

    def forward(
        self, queries: Float[Tensor, "B Q H"] | None, keys: Keys, steps: Int[Tensor, "B Q"]
    ) -> tuple[Float[Tensor, "B Q C"], None]:
        """c, whatever the query."""
        return keys.values.expand(-1, steps.size(1), -1), None
