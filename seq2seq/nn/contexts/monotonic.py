"""Hard monotonic attention: each target token is aligned with one source position (Wu & Cotterell 2019).

    p(y | x) = Σ_a Π_t p(y_t | a_t, y_<t, x) p(a_t | a_{t−1}, y_<t, x)

with an alignment a_t ≥ a_{t−1} that starts at the first position, a_0 = 0. No state depends on an alignment, so the sum
is exact, by the forward algorithm (`seq2seq.nn.hard_alignment`). With s_t the decoder's state and h_s the memory:

    order 0   p(a_t = s | a_{t−1} = s′) ∝ exp(e_{t,s})                     for s ≥ s′,   e_{t,s} = s_t^T W h_s
    order 1   p(a_t = s | a_{t−1} = s′) ∝ exp(e_{t,s} + u_{t,s′,s−s′})     for s ≥ s′,   u_{t,s′} = U [s_t ; h_{s′}] + b

u has an entry for each jump from 0 to `max_jump`, which is that of longer ones, too. Without `monotone` the alignment
may also go back: order 0 is then the model of Wu, Shapiro & Cotterell (2018), and u has entries for jumps back.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seq2seq.errors import UserError
from seq2seq.nn.contexts.base import Context, Keys, average
from seq2seq.nn.hard_alignment import LOWEST
from seq2seq.nn.matmul import Linear
from seq2seq.nn.types import Memory


class MonotonicContext(Context):
    """`order`: whether a step's alignment depends on that of the step before (1), or only has its bound from it (0).

    Raises `UserError` for a `max_jump` below 1.
    """

    marginal = True

    def __init__(
        self,
        memory_size: int,
        query_size: int,
        *,
        order: Literal[0, 1] = 0,
        monotone: bool = True,
        max_jump: int = 10,
    ) -> None:
        super().__init__()
        if max_jump < 1:
            raise UserError(f"context: max_jump={max_jump} must be at least 1")
        self.size = memory_size
        self.order = order
        self.monotone = monotone
        self.max_jump = max_jump
        self.key = Linear(memory_size, query_size, bias=False)
        jumps = max_jump + 1 if monotone else 2 * max_jump + 1
        self.jump_query = Linear(query_size, jumps) if order else None
        self.jump_key = Linear(memory_size, jumps, bias=False) if order else None

    def prepare(self, memory: Memory) -> Keys:
        """W h_s, and with order 1 its share of u, in one tensor."""
        keys: Tensor = self.key(memory.outputs)
        if self.jump_key is not None:
            keys = torch.cat([keys, self.jump_key(memory.outputs)], -1)
        return Keys(memory.outputs, keys, memory.mask)

    def forward(
        self, queries: Float[Tensor, "B Q H"] | None, keys: Keys, steps: Int[Tensor, "B Q"]
    ) -> tuple[Float[Tensor, "B Q C"], Float[Tensor, "B Q S"]]:
        """The average by the softmax of e_t, without regard to a_{t−1}: what soft attention with these energies
        gives. A decoder does not use it, but sums over `transitions`."""
        assert queries is not None
        return average(self._energies(queries, keys), keys)

    def transitions(self, queries: Float[Tensor, "B Q H"], keys: Keys) -> Float[Tensor, "B Q S S"]:
        """log p(a_t = s | a_{t−1} = s′, y_<t, x) at [t, s′, s]; `LOWEST` or less for what is impossible."""
        size = keys.mask.size(1)
        positions = torch.arange(size, device=keys.mask.device)
        jumps = positions - positions[:, None]
        energies = self._energies(queries, keys)[:, :, None].expand(-1, -1, size, -1)
        if self.jump_query is not None:
            assert keys.keys is not None
            u = self.jump_query(queries)[:, :, None] + keys.keys[:, None, :, self.key.weight.size(0) :]
            least = 0 if self.monotone else -self.max_jump
            entries = jumps.clamp(least, self.max_jump) - least
            energies = energies + u.gather(3, entries.expand(*u.shape[:3], -1))
        allowed = keys.mask[:, None, None]
        if self.monotone:
            allowed = allowed & (jumps >= 0)
        return energies.masked_fill(~allowed, LOWEST).log_softmax(-1).masked_fill(~allowed, LOWEST)

    def _energies(self, queries: Float[Tensor, "B Q H"], keys: Keys) -> Float[Tensor, "B Q S"]:
        assert keys.keys is not None
        energies = queries @ keys.keys[..., : self.key.weight.size(0)].transpose(1, 2)
        return energies.to(torch.promote_types(energies.dtype, torch.float32))  # float16 has no `LOWEST`
