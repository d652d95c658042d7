"""Additive attention (Bahdanau, Cho & Bengio 2015, eqs. 5–6 and appendix A.1.2).

e_{t,s} = v^T tanh(W_q s_{t−1} + W_k h_s + b)     α_t = softmax(e_t)     c_t = Σ_s α_{t,s} h_s
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from seq2seq.nn.contexts.attention_gradients import AdditiveSteps
from seq2seq.nn.contexts.base import Attention
from seq2seq.nn.matmul import Linear


class AdditiveContext(Attention):
    """`size` A of the energy's hidden layer: the query's size unless given."""

    def __init__(self, memory_size: int, query_size: int, *, attention_size: int | None = None) -> None:
        super().__init__()
        hidden = attention_size or query_size
        self.size = memory_size
        self.key = Linear(memory_size, hidden)
        self.query = Linear(query_size, hidden, bias=False)
        self.energy = nn.Parameter(torch.randn(hidden) * hidden**-0.5)

    def energies(self, queries: Float[Tensor, "B Q H"], keys: Float[Tensor, "B S A"]) -> Float[Tensor, "B Q S"]:
        """e_{t,s} by the equation of the module's docstring; `keys` are W_k h_s + b."""
        hidden = torch.tanh(self.query(queries)[:, :, None] + keys[:, None])
        return F.linear(hidden, self.energy[None])[..., 0]

    def steps(self) -> AdditiveSteps:
        """The derivatives of single steps."""
        return AdditiveSteps()

    def query_weight(self) -> Tensor:
        """W_q."""
        return self.query.weight

    def energy_weight(self) -> Tensor:
        """v."""
        return self.energy
