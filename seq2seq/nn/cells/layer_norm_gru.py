"""The layer-normalised gated recurrent unit (Ba, Kiros & Hinton 2016).

    LN(a; γ, β) = γ ⊙ (a − mean(a)) / √(var(a) + ε) + β                 over the units of one sentence at one step
    [r_t ; z_t] = σ(LN(W_rz x_t; γ_1, β_1) + LN(U_rz h_{t−1}; γ_2, β_2))
    n_t = tanh(LN(W_n x_t; γ_3, β_3) + r_t ⊙ LN(U_n h_{t−1}; γ_4, β_4))
    h_t = z_t ⊙ h_{t−1} + (1 − z_t) ⊙ n_t                                the update gate `keep`s: torch
    h_t = (1 − z_t) ⊙ h_{t−1} + z_t ⊙ n_t                                the update gate `write`s: Ba et al.

Ba, Kiros & Hinton, "Layer Normalization", arXiv 1607.06450, supplementary material: r and z are normalised as one
vector of 2H. The scale of U and W then matters no more, γ carries it. The β are the biases. Blocks in torch's order
r, z, n. The input's normalisations see no state and come before the loop over time.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.autograd.function import Function

from seq2seq.nn.cells.base import Cell, by_unit, time_steps
from seq2seq.nn.cells.gru import factors
from seq2seq.nn.cells.initialization import Init
from seq2seq.nn.cells.normalization import standardised, sums, through
from seq2seq.nn.cells.regularization import NONE, Regularization
from seq2seq.nn.matmul import linear, multiplier, once_differentiable, tmm
from seq2seq.nn.types import HiddenState


class LayerNormGRU(Cell[HiddenState]):
    """Option `update` (keep, write); `bias` gives the normalisations a β. Raises `UserError` for another `update`."""

    blocks = 3
    offers = ("manual",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        update: Literal["keep", "write"] = "keep",
        init: Init = "uniform",
        init_scale: float = 1.0,
        regularization: Regularization = NONE,
    ) -> None:
        super().__init__(
            input_size, hidden_size, bias=False, init=init, init_scale=init_scale, regularization=regularization
        )
        self.update = update
        self.norm_input_rz = nn.LayerNorm(2 * hidden_size, bias=bias)
        self.norm_hidden_rz = nn.LayerNorm(2 * hidden_size, bias=bias)
        self.norm_input_n = nn.LayerNorm(hidden_size, bias=bias)
        self.norm_hidden_n = nn.LayerNorm(hidden_size, bias=bias)

    def step(self, gates: Float[Tensor, "N G"], state: HiddenState) -> HiddenState:
        """One time step by the equations of the module's docstring."""
        h, size = state.h, self.hidden_size
        input_rz, input_n = gates.split([2 * size, size], -1)
        hidden_rz, hidden_n = linear(h, self.weight_hh).split([2 * size, size], -1)
        r, z = torch.sigmoid(self.norm_input_rz(input_rz) + self.norm_hidden_rz(hidden_rz)).chunk(2, -1)
        n = torch.tanh(self.norm_input_n(input_n) + r * self.norm_hidden_n(hidden_n))
        return HiddenState(n + z * (h - n) if self.update == "keep" else h + z * (n - h))

    def manual(
        self, gates: Float[Tensor, "T B G"], mask: Bool[Tensor, "T B *H"] | None, state: HiddenState, reverse: bool
    ) -> tuple[Float[Tensor, "T B H"], HiddenState]:
        """Run `LayerNormGRUThroughTime` on normalised inputs."""
        size, keep = self.hidden_size, self.update == "keep"
        normalised = torch.cat(
            [self.norm_input_rz(gates[..., : 2 * size]), self.norm_input_n(gates[..., 2 * size :])], -1
        )
        norms = (self.norm_hidden_rz, self.norm_hidden_n)
        weights = [weight for norm in norms for weight in (norm.weight, norm.bias)]
        outputs, last = LayerNormGRUThroughTime.apply(  # type: ignore[no-untyped-call]
            normalised, state.h, self.weight_hh, *weights, norms[0].eps, by_unit(mask), reverse, keep
        )
        return outputs, HiddenState(last)


class LayerNormGRUThroughTime(Function):
    """Manual backpropagation through time: that of `GRUThroughTime` with LN between the product and the gates.

    With ∂a the gradients at the products a = U h_{t−1}, from those at the normalised ones (normalization.py):
        D_{t−1} += D·z + ∂a U;   ∂L/∂U = Σ_t ∂a^T h_{t−1}, and the sums for γ and β, after the loop.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        """(normalised gates [T,B,3H], h_0, W_hh, γ_rz, β_rz | None, γ_n, β_n | None, ε, mask [T,B,H or 1] | None,
        reverse, keep) → (outputs [T,B,H], last h)."""
        gates, h, weight, scale_rz, shift_rz, scale_n, shift_n, eps, mask, reverse, keep = arguments
        size, product = h.size(1), multiplier(weight.t().contiguous())
        outputs, previous, us, ns = (gates.new_empty(len(gates), *h.shape) for _ in range(4))
        rzs, products = gates.new_empty(*gates.shape[:2], 2 * size), torch.empty_like(gates)
        for t in time_steps(len(gates), reverse):
            previous[t] = h
            products[t] = product(h, None)
            hidden_rz, u = (
                nn.functional.layer_norm(part, part.shape[-1:], scale, shift, eps)
                for part, scale, shift in _parts(products[t], scale_rz, shift_rz, scale_n, shift_n)
            )
            rz = torch.add(gates[t, :, : 2 * size], hidden_rz, out=rzs[t]).sigmoid_()
            r, z = rz[:, :size], rz[:, size:]
            us[t] = u
            n = torch.addcmul(gates[t, :, 2 * size :], r, u, out=ns[t]).tanh_()
            new = torch.lerp(n, h, z) if keep else torch.lerp(h, n, z)
            h = new if mask is None else torch.where(mask[t], new, h)
            outputs[t] = h
        ctx.save_for_backward(previous, rzs, us, ns, products, weight, scale_rz, shift_rz, scale_n, shift_n, mask)
        ctx.reverse, ctx.keep, ctx.eps = reverse, keep, eps
        return outputs, h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The formulas of the class's docstring."""
        previous, rzs, us, ns, products, weight, scale_rz, shift_rz, scale_n, shift_n, mask = ctx.saved_tensors
        r, n_slope, z_slope, carry = factors(previous, rzs, ns, mask, ctx.keep)
        size, product = r.size(-1), multiplier(weight)
        g = torch.cat([n_slope * us * r * (1 - r), z_slope, n_slope * r], -1)
        hats, deviations = zip(*(standardised(part, ctx.eps) for part in products.split((2 * size, size), -1)))
        scales, ds, into_products = (scale_rz, scale_n), torch.empty_like(ns), torch.empty_like(products)
        d = gradients[1].clone()
        for t in time_steps(len(g), not ctx.reverse):
            d = torch.add(d, gradients[0][t], out=ds[t])
            g[t].unflatten(-1, (3, size)).mul_(d[:, None])
            parts = zip(g[t].split((2 * size, size), -1), scales, hats, deviations, strict=True)
            torch.cat(
                [through(part * scale, hat[t], by[t]) for part, scale, hat, by in parts], -1, out=into_products[t]
            )
            d = product(into_products[t], d * carry[t])
        gates = torch.cat([g[..., : 2 * size], ds * n_slope], -1)
        into_norms = [
            total
            for part, hat, shift in zip(g.split((2 * size, size), -1), hats, (shift_rz, shift_n), strict=True)
            for total in sums(part, hat, shift)
        ]
        into_weight = tmm(into_products.flatten(0, 1), previous.flatten(0, 1))
        return gates, d, into_weight, *into_norms, None, None, None, None


def _parts(
    products: Tensor, scale_rz: Tensor, shift_rz: Tensor | None, scale_n: Tensor, shift_n: Tensor | None
) -> tuple[tuple[Tensor, Tensor, Tensor | None], ...]:
    rz, n = products.split((scale_rz.numel(), scale_n.numel()), -1)
    return (rz, scale_rz, shift_rz), (n, scale_n, shift_n)
