"""Additive attention (Bahdanau, Cho & Bengio 2015, eqs. 5–6 and appendix A.1.2).

e_{t,s} = v^T tanh(W_q s_{t−1} + W_k h_s + b)     α_t = softmax(e_t)     c_t = Σ_s α_{t,s} h_s
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from seq2seq.nn.contexts.attention_gradients import AdditiveSteps
from seq2seq.nn.contexts.base import Context, Keys, average
from seq2seq.nn.matmul import Linear
from seq2seq.nn.types import Memory


class AdditiveContext(Context):
    """`size` A of the energy's hidden layer: the query's size unless given."""

    def __init__(self, memory_size: int, query_size: int, *, attention_size: int | None = None) -> None:
        super().__init__()
        hidden = attention_size or query_size
        self.size = memory_size
        self.key = Linear(memory_size, hidden)
        self.query = Linear(query_size, hidden, bias=False)
        self.energy = nn.Parameter(torch.randn(hidden) * hidden**-0.5)

    def prepare(self, memory: Memory) -> Keys:
        """W_k h_s + b, once a sentence."""
        return Keys(memory.outputs, self.key(memory.outputs), memory.mask)

    def forward(
        self, queries: Float[Tensor, "B Q H"] | None, keys: Keys, steps: Int[Tensor, "B Q"]
    ) -> tuple[Float[Tensor, "B Q C"], Float[Tensor, "B Q S"]]:
        """c_t and α_t of each query by the equations of the module's docstring."""
        assert queries is not None
        assert keys.keys is not None
        hidden = torch.tanh(self.query(queries)[:, :, None] + keys.keys[:, None])
        return average(F.linear(hidden, self.energy[None])[..., 0], keys)

    def steps(self) -> AdditiveSteps:
        """The derivatives of single steps."""
        return AdditiveSteps()

    def query_weight(self) -> Tensor:
        """W_q."""
        return self.query.weight

    def energy_weight(self) -> Tensor:
        """v."""
        return self.energy
