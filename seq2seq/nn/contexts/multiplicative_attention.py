"""Multiplicative attention (Luong, Pham & Manning 2015, eq. 8; scaled as in Vaswani et al. 2017, eq. 1).

dot      e_{t,s} = s_t^T h_s              the decoder's size must equal the memory's
general  e_{t,s} = s_t^T W h_s
scaled   e_{t,s} = s_t^T h_s / √H         the decoder's size must equal the memory's
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from seq2seq.errors import UserError
from seq2seq.nn.contexts.attention_gradients import MultiplicativeSteps
from seq2seq.nn.contexts.base import Attention
from seq2seq.nn.matmul import Linear


class MultiplicativeContext(Attention):
    """`score`: dot, general or scaled. Raises `UserError` where dot and scaled do not fit."""

    def __init__(
        self, memory_size: int, query_size: int, *, score: Literal["dot", "general", "scaled"] = "general"
    ) -> None:
        super().__init__()
        if score != "general" and memory_size != query_size:
            raise UserError(
                f"context: score={score} compares a query of size {query_size} with a memory of size {memory_size}; "
                "make decoder.hidden_size equal to the memory's size, or use context.score=general"
            )
        self.size = memory_size
        self.key = Linear(memory_size, query_size, bias=False) if score == "general" else nn.Identity()
        self.scale = query_size**-0.5 if score == "scaled" else 1.0

    def energies(self, queries: Float[Tensor, "B Q H"], keys: Float[Tensor, "B S A"]) -> Float[Tensor, "B Q S"]:
        """The scores by the equations of the module's docstring; `keys` are W h_s, or h_s itself."""
        return (queries * self.scale) @ keys.transpose(1, 2)

    def steps(self) -> MultiplicativeSteps:
        """The derivatives of single steps; the state itself is the query."""
        return MultiplicativeSteps(self.scale)
