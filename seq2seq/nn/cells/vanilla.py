"""The vanilla (Elman 1990) recurrent cell.

    h_t = φ(W_x x_t + b_x + W_h h_{t−1} + b_h),   φ = tanh or relu

Elman, "Finding Structure in Time", Cognitive Science 14 (1990); weights and biases as in torch's nn.RNN. With
activation=relu and init=identity it is the IRNN of Le, Jaitly & Hinton (arXiv 1504.00941, 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import Function

from seq2seq.nn.cells.base import Cell, by_unit, time_steps
from seq2seq.nn.cells.cell_gradients import CellSteps
from seq2seq.nn.cells.initialization import Init
from seq2seq.nn.cells.regularization import NONE, Regularization
from seq2seq.nn.matmul import addmm, linear, mm, once_differentiable, tmm
from seq2seq.nn.types import HiddenState


class Vanilla(Cell[HiddenState]):
    """h_t = φ(W_x x_t + W_h h_{t−1} + b); φ is `activation`."""

    blocks = 1
    offers = ("manual", "fused")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        activation: Literal["tanh", "relu"] = "tanh",
        init: Init = "uniform",
        init_scale: float = 1.0,
        regularization: Regularization = NONE,
    ) -> None:
        super().__init__(
            input_size, hidden_size, bias=bias, init=init, init_scale=init_scale, regularization=regularization
        )
        self.activation = activation

    def step(self, gates: Float[Tensor, "N G"], state: HiddenState) -> HiddenState:
        """φ of the sum of both projections."""
        total = gates + linear(state.h, self.weight_hh, self.bias_hh)
        return HiddenState(torch.tanh(total) if self.activation == "tanh" else torch.relu(total))

    def manual(
        self, gates: Float[Tensor, "T B G"], mask: Bool[Tensor, "T B *H"] | None, state: HiddenState, reverse: bool
    ) -> tuple[Float[Tensor, "T B H"], HiddenState]:
        """Run `VanillaThroughTime` over all steps."""
        outputs, last = VanillaThroughTime.apply(  # type: ignore[no-untyped-call]
            gates, state.h, self.weight_hh, self._hidden_bias(), by_unit(mask), reverse, self.activation == "tanh"
        )
        return outputs, HiddenState(last)

    def steps(self) -> VanillaSteps:
        """The derivatives of single steps."""
        return VanillaSteps(self.activation == "tanh")

    def fused(
        self, inputs: Float[Tensor, "T B I"], state: HiddenState, mask: Bool[Tensor, "T B"] | None
    ) -> tuple[Float[Tensor, "T B H"], HiddenState]:
        """Run nn.RNN's fused kernel."""
        kernel: Any = torch.rnn_tanh if self.activation == "tanh" else torch.rnn_relu
        start = state.h[None].contiguous()  # cuDNN refuses others
        outputs, last = kernel(
            inputs, start, self._weights(), self.bias_ih is not None, 1, 0.0, self.training, False, False
        )
        return outputs, HiddenState(last[0])


class VanillaSteps(CellSteps):
    """Single steps of the vanilla cell, with the formulas of `VanillaThroughTime`."""

    def __init__(self, tanh: bool) -> None:
        self.tanh = tanh

    def begin(self, like: Float[Tensor, "T B G"], hs: Float[Tensor, "T1 B H"], state: Sequence[Tensor]) -> None:
        """Keep the outputs, which is all that the backward pass needs."""
        self.hs = hs

    def forward(self, t: int, gates: Float[Tensor, "B G"], hidden: Float[Tensor, "B G"]) -> None:
        """Compute h_{t+1} in place."""
        total = torch.add(gates, hidden, out=self.hs[t + 1])
        total.tanh_() if self.tanh else total.relu_()

    def begin_backward(self, into_inputs: Float[Tensor, "T B G"], into_hidden: Float[Tensor, "T B G"]) -> None:
        """Compute φ' for all steps."""
        outputs = self.hs[1:]
        self.slope = 1 - outputs * outputs if self.tanh else (outputs > 0).to(outputs.dtype)
        self.into_inputs = into_inputs
        self.into_hidden = into_hidden

    def backward(self, t: int, d: Float[Tensor, "B H"]) -> Float[Tensor, "B H"]:
        """Both kinds of gates have the gradient D ⊙ φ'."""
        torch.mul(self.slope[t], d, out=self.into_inputs[t])
        self.into_hidden[t] = self.into_inputs[t]
        return torch.zeros_like(d)


class VanillaThroughTime(Function):
    """Manual backpropagation through time of h_t = φ(x_t + W h_{t−1} + b).

    With D_t = ∂L/∂h_t:  a_t = D_t ⊙ φ'(h_t)  (φ' = 1 − h² for tanh, [h > 0] for relu),  D_{t−1} += W^T a_t.
    ∂L/∂x_t = a_t, ∂L/∂W = Σ_t a_t h_{t−1}^T (one matmul over all steps after the loop), ∂L/∂b = Σ_t a_t.
    Where the mask is False h is carried: φ' is set to 0 there and D passes through unchanged.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        """(gates [T,B,H], h_0, W_hh, b_hh, mask [T,B,H or 1] | None, reverse, tanh) → (outputs [T,B,H], last h)."""
        gates, h, weight, bias, mask, reverse, tanh = arguments
        weight_t = weight.t().contiguous()
        outputs, previous = torch.empty_like(gates), torch.empty_like(gates)
        for t in time_steps(len(gates), reverse):
            previous[t] = h
            total = addmm(bias, h, weight_t).add_(gates[t])
            new = total.tanh_() if tanh else total.relu_()
            h = new if mask is None else torch.where(mask[t], new, h)
            outputs[t] = h
        ctx.save_for_backward(outputs, previous, weight, mask)
        ctx.reverse, ctx.tanh = reverse, tanh
        return outputs, h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The formulas of the class's docstring."""
        outputs, previous, weight, mask = ctx.saved_tensors
        slope = 1 - outputs * outputs if ctx.tanh else (outputs > 0).to(outputs.dtype)
        hold = None
        if mask is not None:
            slope = slope * mask
            hold = (~mask).to(outputs.dtype)
        d = gradients[1].clone()
        for t in time_steps(len(outputs), not ctx.reverse):
            d = d + gradients[0][t]
            a = slope[t].mul_(d)  # from here on `slope` holds a_t
            d = mm(a, weight) if hold is None else addmm(d * hold[t], a, weight)
        a = slope.flatten(0, 1)
        return slope, d, tmm(a, previous.flatten(0, 1)), a.sum(0), None, None, None
