"""The layer-normalised long short-term memory (Ba, Kiros & Hinton 2016).

    LN(a; γ, β) = γ ⊙ (a − mean(a)) / √(var(a) + ε) + β       over the units of one sentence at one step
    [î ; f̂ ; ĝ ; ô] = LN(W x_t; γ_1, β_1) + LN(U h_{t−1}; γ_2, β_2)
    c_t = σ(f̂) ⊙ c_{t−1} + σ(î) ⊙ tanh(ĝ)
    h_t = σ(ô) ⊙ tanh(LN(c_t; γ_3, β_3))

Ba, Kiros & Hinton, "Layer Normalization", arXiv 1607.06450, supplementary material: the four gates are normalised
as one vector of 4H. The scale of U and W then matters no more, γ carries it. The β are the biases. Blocks in torch's
order i, f, g, o.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.autograd.function import Function
from torch.nn import functional as F

from seq2seq.errors import UserError
from seq2seq.nn.cells.base import Cell, by_unit, time_steps
from seq2seq.nn.cells.initialization import Init
from seq2seq.nn.cells.normalization import standardised, sums, through
from seq2seq.nn.cells.regularization import NONE, Regularization
from seq2seq.nn.matmul import addmm, linear, multiplier, once_differentiable, tmm
from seq2seq.nn.types import LSTMState


class LayerNormLSTM(Cell[LSTMState]):
    """The layer-normalised LSTM: `bias` gives the normalisations a β, and `forget_bias` is where that of f̂ starts.

    Raises `UserError` when a forget bias is asked for without biases.
    """

    blocks = 4
    offers = ("manual",)
    state_type = LSTMState

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        forget_bias: float = 0.0,
        init: Init = "uniform",
        init_scale: float = 1.0,
        regularization: Regularization = NONE,
    ) -> None:
        if forget_bias and not bias:
            raise UserError(f"LayerNormLSTM: forget_bias={forget_bias} needs bias=true")
        super().__init__(
            input_size, hidden_size, bias=False, init=init, init_scale=init_scale, regularization=regularization
        )
        self.norm_input = nn.LayerNorm(4 * hidden_size, bias=bias)
        self.norm_hidden = nn.LayerNorm(4 * hidden_size, bias=bias)
        self.norm_content = nn.LayerNorm(hidden_size, bias=bias)
        if forget_bias:
            nn.init.constant_(self.norm_input.bias[hidden_size : 2 * hidden_size], forget_bias)

    def step(self, gates: Float[Tensor, "N G"], state: LSTMState) -> LSTMState:
        """One time step by the equations of the module's docstring."""
        total = self.norm_input(gates) + self.norm_hidden(linear(state.h, self.weight_hh))
        i, f, g, o = total.chunk(4, -1)
        c = torch.sigmoid(f) * state.c + torch.sigmoid(i) * torch.tanh(g)
        return LSTMState(torch.sigmoid(o) * torch.tanh(self.norm_content(c)), c)

    def manual(
        self, gates: Float[Tensor, "T B G"], mask: Bool[Tensor, "T B *H"] | None, state: LSTMState, reverse: bool
    ) -> tuple[Float[Tensor, "T B H"], LSTMState]:
        """Run `LayerNormLSTMThroughTime` on normalised inputs."""
        norms = (self.norm_hidden, self.norm_content)
        weights = [weight for norm in norms for weight in (norm.weight, norm.bias)]
        outputs, *last = LayerNormLSTMThroughTime.apply(  # type: ignore[no-untyped-call]
            self.norm_input(gates), *state, self.weight_hh, *weights, norms[0].eps, by_unit(mask), reverse
        )
        return outputs, LSTMState(*last)


class LayerNormLSTMThroughTime(Function):
    """Manual backpropagation through time: that of `LSTMThroughTime` with LN between the product and the gates, and
    between the content and its tanh.

    With D = ∂L/∂h_t, E the gradient of c_t that comes from the step after, τ = tanh(LN(c_t)), and ∂a from g by each
    normalisation (normalization.py):
        ∂q = D·o(1−τ²) at LN(c_t)     ∂c = E + ∂q through LN     ∂ô = D·τ·o(1−o), and the other gates as an LSTM's
        E_{t−1} = ∂c·f;   D_{t−1} += ∂a U with ∂a = [∂î, ∂f̂, ∂ĝ, ∂ô] through LN;   ∂L/∂U = Σ_t ∂a^T h_{t−1}.
    What is held (padding, and units of zoneout) carries D and E; the content of a held unit is in the LN of the others.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
        """(normalised gates [T,B,4H], h_0, c_0, W_hh, γ_2, β_2 | None, γ_3, β_3 | None, ε, mask [T,B,H or 1] | None,
        reverse) → (outputs [T,B,H], last h, c)."""
        gates, h, c, weight, scale, shift, content_scale, content_shift, eps, mask, reverse = arguments
        size, product = h.size(1), multiplier(weight.t().contiguous())
        outputs, previous_h, previous_c, contents, squashed = (gates.new_empty(len(gates), *h.shape) for _ in range(5))
        activations, products = torch.empty_like(gates), torch.empty_like(gates)
        for t in time_steps(len(gates), reverse):
            previous_h[t], previous_c[t], products[t] = h, c, product(h, None)
            hidden = F.layer_norm(products[t], scale.shape, scale, shift, eps)
            a = torch.add(gates[t], hidden, out=activations[t])
            i_f, g, o = a[:, : 2 * size].sigmoid_(), a[:, 2 * size : 3 * size].tanh_(), a[:, 3 * size :].sigmoid_()
            new_c = torch.addcmul(i_f[:, size:] * c, i_f[:, :size], g, out=contents[t])
            normalised = F.layer_norm(new_c, content_scale.shape, content_scale, content_shift, eps)
            new_h = o * torch.tanh(normalised, out=squashed[t])
            h = new_h if mask is None else torch.where(mask[t], new_h, h)
            c = new_c.clone() if mask is None else torch.where(mask[t], new_c, c)
            outputs[t] = h
        ctx.save_for_backward(
            *(previous_h, previous_c, contents, squashed, activations, products, weight),
            *(scale, shift, content_scale, content_shift, mask),
        )
        ctx.reverse, ctx.eps = reverse, eps
        return outputs, h, c

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The formulas of the class's docstring."""
        previous_h, previous_c, contents, squashed, activations, products, weight, *norms, mask = ctx.saved_tensors
        scale, shift, content_scale, content_shift = norms
        (hats, by), (content_hats, content_by) = (standardised(values, ctx.eps) for values in (products, contents))
        i, f, g, o = activations.chunk(4, -1)
        into_content, into_o = o * (1 - squashed * squashed), squashed * o * (1 - o)
        slopes = torch.stack([g * i * (1 - i), previous_c * f * (1 - f), i * (1 - g * g)], 2)
        into_gates, into_products, into_norm = (torch.empty_like(each) for each in (activations, products, contents))
        written = torch.ones_like(contents[:, :, :1]) if mask is None else mask.to(contents.dtype)
        d, e = gradients[1], gradients[2]
        for t in time_steps(len(contents), not ctx.reverse):
            d = d + gradients[0][t]
            new, held = d * written[t], 1 - written[t]
            torch.mul(new, into_content[t], out=into_norm[t])
            dc = e * written[t] + through(into_norm[t] * content_scale, content_hats[t], content_by[t])
            torch.cat([(slopes[t] * dc[:, None]).flatten(1), new * into_o[t]], 1, out=into_gates[t])
            into_products[t] = through(into_gates[t] * scale, hats[t], by[t])
            d, e = addmm(d * held, into_products[t], weight), dc * f[t] + e * held
        into_weight = tmm(into_products.flatten(0, 1), previous_h.flatten(0, 1))
        into_norms = *sums(into_gates, hats, shift), *sums(into_norm, content_hats, content_shift)
        return into_gates, d, e, into_weight, *into_norms, None, None, None
