"""Additive attention (Bahdanau, Cho & Bengio 2015, eqs. 5–6 and appendix A.1.2).

e_{t,s} = v^T tanh(W_q s_{t−1} + W_k h_s + b)     α_t = softmax(e_t)     c_t = Σ_s α_{t,s} h_s

With `num_heads` n (Vaswani et al. 2017, §3.2.2, for these energies) the hidden layer and h_s are each cut into n parts:
head i has energies of its part of v and tanh, and gives that part of c_t; the weights that are shown are their mean.

With `coverage` (See, Liu & Manning 2017, eqs. 10–11) the energies also read how much was attended to before:

e_{t,s} = v^T tanh(W_q s_{t−1} + W_k h_s + w_c cov_{t,s} + b)     cov_t = Σ_{t'<t} α_t'
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from seq2seq.errors import UserError
from seq2seq.nn.contexts.attention_gradients import AdditiveSteps
from seq2seq.nn.contexts.base import Attention, Keys, average
from seq2seq.nn.contexts.head_gradients import AdditiveHeadSteps
from seq2seq.nn.matmul import Linear


class AdditiveContext(Attention):
    """`attention_size` A of the energy's hidden layer: the query's size unless given. With `coverage`, w_c starts at 0,
    and a target is read a step at a time.

    Raises `UserError` where `num_heads` does not divide both A and the memory's size.
    """

    def __init__(
        self,
        memory_size: int,
        query_size: int,
        *,
        attention_size: int | None = None,
        num_heads: int = 1,
        coverage: bool = False,
    ) -> None:
        super().__init__()
        hidden = attention_size or query_size
        if num_heads < 1 or hidden % num_heads or memory_size % num_heads:
            raise UserError(
                f"AdditiveContext: num_heads={num_heads} must divide attention_size={hidden} and the memory's size, "
                f"{memory_size}"
            )
        self.num_heads = num_heads
        self.size = memory_size
        self.key = Linear(memory_size, hidden)
        self.query = Linear(query_size, hidden, bias=False)
        self.energy = nn.Parameter(torch.randn(hidden) * hidden**-0.5)
        self.covers = coverage
        if coverage:
            self.coverage = nn.Parameter(torch.zeros(hidden))

    def energies(self, queries: Float[Tensor, "B Q H"], keys: Float[Tensor, "B S A"]) -> Float[Tensor, "B Q S"]:
        """e_{t,s} by the equation of the module's docstring; `keys` are W_k h_s + b."""
        hidden = torch.tanh(self.query(queries)[:, :, None] + keys[:, None])
        return F.linear(hidden, self.energy[None])[..., 0]

    def forward(
        self,
        queries: Float[Tensor, "B Q H"] | None,
        keys: Keys,
        steps: Int[Tensor, "B Q"],
        coverage: Float[Tensor, "B Q S"] | None = None,
    ) -> tuple[Float[Tensor, "B Q C"], Float[Tensor, "B Q S"]]:
        """c_t and α_t of each query; with several heads, the concatenated parts of c_t and the mean of the α_t. With
        coverage, w_c cov_t adds to the keys, which then differ by query."""
        if self.num_heads == 1 and coverage is None:
            return super().forward(queries, keys, steps)
        assert queries is not None
        assert keys.keys is not None
        hidden = self.query(queries)[:, :, None] + keys.keys[:, None]
        hidden = hidden if coverage is None else hidden + coverage[..., None] * self.coverage
        return self._attend(torch.tanh(hidden), keys)

    def _attend(
        self, hidden: Float[Tensor, "B Q S A"], keys: Keys
    ) -> tuple[Float[Tensor, "B Q C"], Float[Tensor, "B Q S"]]:
        """c_t and α_t of the hidden layer, by head."""
        energies = (hidden * self.energy).unflatten(-1, (self.num_heads, -1)).sum(-1)
        values, words = keys.values.tensor_split([self.size], -1)
        heads = [
            average(each, keys._replace(values=part))
            for each, part in zip(energies.unbind(-1), values.chunk(self.num_heads, -1), strict=True)
        ]
        weights = torch.stack([weights for _, weights in heads]).mean(0)
        more = [weights @ words] if words.size(-1) else []
        return torch.cat([*(c for c, _ in heads), *more], -1), weights

    def steps(self) -> AdditiveSteps | None:
        """The derivatives of single steps; none with coverage."""
        if self.covers:
            return None
        return AdditiveSteps() if self.num_heads == 1 else AdditiveHeadSteps(self.num_heads, self.size)

    def query_weight(self) -> Tensor:
        """W_q, which maps a state to what is compared with the keys."""
        return self.query.weight

    def energy_weight(self) -> Tensor:
        """v, which maps a comparison to an energy."""
        return self.energy
