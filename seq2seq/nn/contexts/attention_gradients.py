"""Attention a step at a time with its derivatives, for the loop in which it recurs
(`seq2seq.nn.contexts.attention_through_time`).

With weights α = softmax(e), c = Σ_s α_s value_s and the gradient ∂c:
    ∂α_s = ∂c·value_s      ∂e = α ⊙ (∂α − Σ_s α_s ∂α_s)      ∂value_s = Σ_t α_{t,s} ∂c_t (one matmul after the loop)
and each score function computes its own gradients from ∂e.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class ContextSteps(ABC):
    """Attention of one batch over T steps; `begin` before the first, `begin_backward` before the last."""

    contexts: Float[Tensor, "T B C"]

    def begin(self, count: int, values: Tensor, keys: Tensor, energy: Tensor | None, mask: Bool[Tensor, "B S"]) -> None:
        """Allocate memory for `count` steps over these keys."""
        self.values = values
        self.keys = keys
        self.energy = energy
        self.hidden = ~mask
        self.contexts = values.new_empty(count, values.size(0), values.size(2))
        self.weights = values.new_empty(count, *values.shape[:2])

    def forward(self, t: int, query: Float[Tensor, "B A"]) -> Float[Tensor, "B C"]:
        """Compute c_t from the query of step t."""
        energies = self.energies(t, query).masked_fill_(self.hidden, torch.finfo(query.dtype).min)
        weights = torch.softmax(energies, -1, out=self.weights[t])
        torch.bmm(weights[:, None], self.values, out=self.contexts[t][:, None])
        return self.contexts[t]

    def begin_backward(self) -> None:
        """Allocate memory for the gradients."""
        self.context_gradients = torch.empty_like(self.contexts)
        self.energy_gradients = torch.empty_like(self.weights)

    def backward(self, t: int, gradient: Float[Tensor, "B C"]) -> Float[Tensor, "B A"]:
        """The gradient of the query, from that of c_t."""
        self.context_gradients[t] = gradient
        product = torch.bmm(self.values, gradient[:, :, None])[:, :, 0].mul_(self.weights[t])
        energies = torch.sub(product, self.weights[t] * product.sum(1, keepdim=True), out=self.energy_gradients[t])
        return self.query_gradient(t, energies)

    def gradients(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """The gradients of values, keys and the energy's weight, after all steps."""
        values = torch.bmm(self.weights.permute(1, 2, 0), self.context_gradients.transpose(0, 1))
        return values, self.key_gradient(), self.energy_gradient()

    @abstractmethod
    def energies(self, t: int, query: Float[Tensor, "B A"]) -> Float[Tensor, "B S"]:
        """e_t, up to a constant for each sentence."""

    @abstractmethod
    def query_gradient(self, t: int, energies: Float[Tensor, "B S"]) -> Float[Tensor, "B A"]:
        """Compute ∂q_t from ∂e_t."""

    @abstractmethod
    def key_gradient(self) -> Float[Tensor, "B S A"]:
        """The gradient of the keys, from all steps."""

    def energy_gradient(self) -> Tensor | None:
        """The gradient of v, where there is one."""
        return None


class AdditiveSteps(ContextSteps):
    """e_s = v·tanh(k_s + q) without a tanh in the loop, and with nothing of size T·B·S·A stored.

    tanh(k + q) = 1 − 2y with y = 1 / (1 + e^{2k} e^{2q}), and the softmax ignores constants, so e_s = −2 v·y.
    Backwards y is computed again: ∂(k + q) = ∂e_s v ⊙ (1 − tanh²) = 4 ∂e_s v ⊙ (y − y²), and as Σ_s ∂e_s = 0,
    ∂v = −2 Σ ∂e_s y. The exponents are clamped to half of the type's range, where tanh has long been ±1.
    """

    def begin(self, count: int, values: Tensor, keys: Tensor, energy: Tensor | None, mask: Bool[Tensor, "B S"]) -> None:
        """e^{2k} once a sentence."""
        super().begin(count, values, keys, energy, mask)
        self.limit = math.log(torch.finfo(keys.dtype).max) / 2 - 1
        self.exponentials = (2 * keys).clamp_(-self.limit, self.limit).exp_()
        self.queries = keys.new_empty(count, keys.size(0), keys.size(2))
        self.buffer = torch.empty_like(keys)
        self.one = keys.new_ones(())

    def energies(self, t: int, query: Float[Tensor, "B A"]) -> Float[Tensor, "B S"]:
        """The energies −2 v·y of all source positions."""
        torch.mul(query, 2, out=self.queries[t]).clamp_(-self.limit, self.limit).exp_()
        assert self.energy is not None
        return (self._y(t) @ self.energy).mul_(-2)

    def _y(self, t: int) -> Float[Tensor, "B S A"]:
        query = self.queries[t][:, None]
        return torch.addcmul(self.one, self.exponentials, query, out=self.buffer).reciprocal_()

    def begin_backward(self) -> None:
        """Allocate memory for the sums over the steps."""
        super().begin_backward()
        self.key_sum = torch.zeros_like(self.keys)
        self.energy_sum = torch.zeros_like(self.keys[0, 0])

    def query_gradient(self, t: int, energies: Float[Tensor, "B S"]) -> Float[Tensor, "B A"]:
        """4 v ⊙ Σ_s ∂e_s (y − y²)."""
        y = self._y(t)
        self.energy_sum += energies.flatten() @ y.flatten(0, 1)
        slope = y.addcmul_(y, y, value=-1)
        self.key_sum.addcmul_(slope, energies[:, :, None])
        assert self.energy is not None
        return torch.bmm(energies[:, None], slope)[:, 0].mul_(4 * self.energy)

    def key_gradient(self) -> Float[Tensor, "B S A"]:
        """4 v ⊙ Σ_t ∂e_t (y − y²)."""
        assert self.energy is not None
        return self.key_sum.mul_(4 * self.energy)

    def energy_gradient(self) -> Tensor:
        """−2 Σ ∂e y."""
        return self.energy_sum.mul_(-2)


class MultiplicativeSteps(ContextSteps):
    """e_s = scale · q·k_s."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def begin(self, count: int, values: Tensor, keys: Tensor, energy: Tensor | None, mask: Bool[Tensor, "B S"]) -> None:
        """Allocate memory for the queries."""
        super().begin(count, values, keys, energy, mask)
        self.queries = keys.new_empty(count, keys.size(0), keys.size(2))

    def energies(self, t: int, query: Float[Tensor, "B A"]) -> Float[Tensor, "B S"]:
        """The energies scale · q·k of all source positions."""
        torch.mul(query, self.scale, out=self.queries[t])
        return torch.bmm(self.keys, self.queries[t][:, :, None])[:, :, 0]

    def query_gradient(self, t: int, energies: Float[Tensor, "B S"]) -> Float[Tensor, "B A"]:
        """scale · Σ_s ∂e_s k_s."""
        return torch.bmm(energies[:, None], self.keys)[:, 0].mul_(self.scale)

    def key_gradient(self) -> Float[Tensor, "B S A"]:
        """Σ_t ∂e_{t,s} · scale · q_t: one matmul."""
        return torch.bmm(self.energy_gradients.permute(1, 2, 0), self.queries.transpose(0, 1))
