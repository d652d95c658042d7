"""Several heads of additive attention a step at a time with their derivatives: see `attention_gradients`.

Each head has energies, weights and its part of c of its own; what follows the parts in the values (the source words of
a lexical head) is averaged by the mean of the weights, so that each ∂α has a share 1/n of its gradient.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seq2seq.nn.contexts.attention_gradients import AdditiveSteps


class AdditiveHeadSteps(AdditiveSteps):
    """`AdditiveSteps` of `num_heads` n; the first `size` columns of the values are their parts of c, C in all."""

    def __init__(self, num_heads: int, size: int) -> None:
        self.num_heads = num_heads
        self.size = size

    def begin(self, count: int, values: Tensor, keys: Tensor, energy: Tensor | None, mask: Bool[Tensor, "B S"]) -> None:
        """Split the values by head."""
        super().begin(count, values, keys, energy, mask)
        parts, self.words = values.tensor_split([self.size], -1)
        self.parts = self._by_head(parts).transpose(1, 2).contiguous()  # [B, n, S, C/n]
        self.hidden = self.hidden[:, None]
        self.weights = values.new_empty(count, len(values), self.num_heads, values.size(1))

    def _by_head(self, columns: Float[Tensor, "*N K"]) -> Float[Tensor, "*N n _"]:
        parts: Tensor = columns.unflatten(-1, (self.num_heads, -1))
        return parts

    def forward(self, t: int, query: Float[Tensor, "B A"]) -> Float[Tensor, "B C"]:
        """Compute c_t from the query of step t."""
        energies = self.energies(t, query).masked_fill_(self.hidden, torch.finfo(query.dtype).min)
        weights = torch.softmax(energies, -1, out=self.weights[t])
        c = self.contexts[t]
        c[:, : self.size] = (weights[:, :, None] @ self.parts).flatten(1)
        if self.words.size(-1):
            c[:, self.size :] = (weights.mean(1, keepdim=True) @ self.words)[:, 0]
        return c

    def energies(self, t: int, query: Float[Tensor, "B A"]) -> Float[Tensor, "B n S"]:
        """The energies −2 v·y of each head."""
        torch.mul(query, 2, out=self.queries[t]).clamp_(-self.limit, self.limit).exp_()
        assert self.energy is not None
        return self._by_head(self._y(t).mul_(self.energy)).sum(-1).mul_(-2).transpose(1, 2)

    def backward(self, t: int, gradient: Float[Tensor, "B C"]) -> Float[Tensor, "B A"]:
        """The gradient of the query, from that of c_t."""
        self.context_gradients[t] = gradient
        product = (self.parts @ self._by_head(gradient[:, : self.size])[..., None])[..., 0]
        if self.words.size(-1):
            product += (self.words @ gradient[:, self.size :, None]).transpose(1, 2) / self.num_heads
        product *= self.weights[t]
        energies = torch.sub(product, self.weights[t] * product.sum(-1, keepdim=True), out=self.energy_gradients[t])
        return self.query_gradient(t, energies)

    def query_gradient(self, t: int, energies: Float[Tensor, "B n S"]) -> Float[Tensor, "B A"]:
        """4 v ⊙ Σ_s ∂e_s (y − y²), each column with ∂e of its head."""
        y = self._y(t)
        shares = energies.transpose(1, 2).repeat_interleave(y.size(-1) // self.num_heads, -1)
        self.energy_sum += (shares * y).sum((0, 1))
        slope = y.addcmul_(y, y, value=-1).mul_(shares)
        self.key_sum += slope
        assert self.energy is not None
        return slope.sum(1).mul_(4 * self.energy)

    def gradients(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """The gradients of values, keys and the energy's weight, after all steps."""
        parts = self._by_head(self.context_gradients[..., : self.size])
        values = torch.einsum("tbns,tbnd->bsnd", self.weights, parts).flatten(2)
        words = torch.einsum("tbs,tbw->bsw", self.weights.mean(2), self.context_gradients[..., self.size :])
        return torch.cat([values, words], -1), self.key_gradient(), self.energy_gradient()
