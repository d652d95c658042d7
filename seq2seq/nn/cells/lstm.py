"""Long short-term memory (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000).

    i_t = σ(W_i x_t + U_i h_{t−1} + b_i)     f_t = σ(W_f x_t + U_f h_{t−1} + b_f)
    g_t = tanh(W_g x_t + U_g h_{t−1} + b_g)  o_t = σ(W_o x_t + U_o h_{t−1} + b_o)
    c_t = f_t ⊙ c_{t−1} + i_t ⊙ g_t          h_t = o_t ⊙ tanh(c_t)

Blocks in torch's order i, f, g, o. `forget_bias` (Jozefowicz et al. 2015 recommend 1) is added to b_f at the start.

With `peepholes` (Gers & Schmidhuber, "Recurrent Nets that Time and Count", IJCNN 2000) the gates also see the content:
    p_i ⊙ c_{t−1} and p_f ⊙ c_{t−1} are added inside i_t and f_t, and p_o ⊙ c_t inside o_t.
`coupled` (Greff et al., "LSTM: A Search Space Odyssey", 2017: CIFG) has no input gate: i_t = 1 − f_t; blocks f, g, o.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.autograd.function import Function

from seq2seq.errors import UserError
from seq2seq.nn.cells.base import Cell, by_unit, time_steps
from seq2seq.nn.cells.cell_gradients import CellSteps
from seq2seq.nn.cells.initialization import Init
from seq2seq.nn.cells.regularization import NONE, Regularization
from seq2seq.nn.matmul import addmm, linear, mm, once_differentiable, tmm
from seq2seq.nn.types import LSTMState


class LSTM(Cell[LSTMState]):
    """Long short-term memory; raises `UserError` for a forget bias without biases."""

    state_type = LSTMState

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        forget_bias: float = 0.0,
        peepholes: bool = False,
        coupled: bool = False,
        init: Init = "uniform",
        init_scale: float = 1.0,
        regularization: Regularization = NONE,
    ) -> None:
        if forget_bias and not bias:
            raise UserError(f"LSTM: forget_bias={forget_bias} needs bias=true")
        self.forget_bias = forget_bias
        self.coupled = coupled
        self.blocks = 3 if coupled else 4
        super().__init__(
            input_size, hidden_size, bias=bias, init=init, init_scale=init_scale, regularization=regularization
        )
        self.peephole_i = nn.Parameter(torch.empty(hidden_size)) if peepholes and not coupled else None
        self.peephole_f = nn.Parameter(torch.empty(hidden_size)) if peepholes else None
        self.peephole_o = nn.Parameter(torch.empty(hidden_size)) if peepholes else None
        if peepholes:
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """As every cell's, then the forget gate's bias raised by `forget_bias`."""
        super().reset_parameters()
        if self.forget_bias and self.bias_ih is not None:
            with torch.no_grad():
                self.bias_ih[: -2 * self.hidden_size][-self.hidden_size :] += self.forget_bias

    def step(self, gates: Float[Tensor, "N G"], state: LSTMState) -> LSTMState:
        """One time step by the equations of the module's docstring."""
        *i, f, g, o = (gates + linear(state.h, self.weight_hh, self.bias_hh)).chunk(self.blocks, -1)
        forget = torch.sigmoid(_peep(f, self.peephole_f, state.c))
        write = 1 - forget if self.coupled else torch.sigmoid(_peep(i[0], self.peephole_i, state.c))
        c = forget * state.c + write * torch.tanh(g)
        return LSTMState(torch.sigmoid(_peep(o, self.peephole_o, c)) * torch.tanh(c), c)

    @property
    def paths(self) -> tuple[str, ...]:
        """The manual backward pass and torch's kernel, unless there are peepholes."""
        return () if self.peephole_f is not None else ("manual", "fused")

    def preferred_paths(self, device: torch.device) -> tuple[str, ...]:
        """torch's kernel first, on a CPU too: oneDNN's is the fastest."""
        return self.paths[::-1]

    def _four(self, blocks: Tensor, dim: int = 0) -> Tensor:
        """The coupled form as the plain one: its input gate has the forget gate's rows negated, as 1 − σ(x) = σ(−x)."""
        return torch.cat([-blocks.narrow(dim, 0, self.hidden_size), blocks], dim) if self.coupled else blocks

    def manual(
        self, gates: Float[Tensor, "T B G"], mask: Bool[Tensor, "T B *H"] | None, state: LSTMState, reverse: bool
    ) -> tuple[Float[Tensor, "T B H"], LSTMState]:
        """Run `LSTMThroughTime`, the coupled form as the plain one."""
        if "manual" not in self.paths:
            return super().manual(gates, mask, state, reverse)
        weight, bias = self._four(self.weight_hh), self._four(self._hidden_bias())
        gates, mask = self._four(gates, -1), by_unit(mask)
        outputs, h, c = LSTMThroughTime.apply(gates, state.h, state.c, weight, bias, mask, reverse)  # type: ignore[no-untyped-call]
        return outputs, LSTMState(h, c)

    def steps(self) -> LSTMSteps | None:
        """For the plain form: neither peepholes nor coupled gates."""
        return None if self.coupled or self.peephole_f is not None else LSTMSteps()

    def fused(
        self, inputs: Float[Tensor, "T B I"], state: LSTMState, mask: Bool[Tensor, "T B"] | None
    ) -> tuple[Float[Tensor, "T B H"], LSTMState]:
        """Run nn.LSTM's kernel. It returns c after the last step only, so c must be carried past each sentence's end:
        one more input column, 1 on padding, closes the input gate and opens the forget gate (σ(±10⁴) is 0 and 1)."""
        if "fused" not in self.paths:
            return super().fused(inputs, state, mask)
        weights = [self._four(weight) for weight in self._weights()]
        if mask is not None:
            inputs = torch.cat([inputs, (~mask[:, :, None]).to(inputs.dtype)], -1)
            column = self.weight_hh.new_zeros(4, self.hidden_size)
            column[0], column[1] = -1e4, 1e4
            weights[0] = torch.cat([weights[0], column.view(-1, 1)], 1)
        start = tuple(
            part[None].contiguous() for part in state
        )  # cuDNN refuses others, such as halves of a bridge's output
        outputs, h, c = torch.lstm(
            inputs, start, weights, self.bias_ih is not None, 1, 0.0, self.training, False, False
        )
        return outputs, LSTMState(h[0], c[0])


def _peep(gate: Tensor, weight: Tensor | None, content: Tensor) -> Tensor:
    return gate if weight is None else gate + weight * content


class LSTMSteps(CellSteps):
    """Single steps of the LSTM, with the formulas of `LSTMThroughTime`."""

    def begin(self, like: Float[Tensor, "T B G"], hs: Float[Tensor, "T1 B H"], state: Sequence[Tensor]) -> None:
        """Allocate memory for the gates, c_t and tanh(c_t)."""
        self.hs = hs
        self.size = hs.size(2)
        self.activations = torch.empty_like(like)
        self.squashed = torch.empty_like(hs[1:])
        self.cs = torch.empty_like(hs)
        self.cs[0] = state[0]

    def forward(self, t: int, gates: Float[Tensor, "B G"], hidden: Float[Tensor, "B G"]) -> None:
        """Compute the gates, c_{t+1} and h_{t+1}, in place."""
        size = self.size
        a = torch.add(gates, hidden, out=self.activations[t])
        i_f, g, o = a[:, : 2 * size].sigmoid_(), a[:, 2 * size : 3 * size].tanh_(), a[:, 3 * size :].sigmoid_()
        c = torch.mul(i_f[:, size:], self.cs[t], out=self.cs[t + 1]).addcmul_(i_f[:, :size], g)
        torch.mul(o, torch.tanh(c, out=self.squashed[t]), out=self.hs[t + 1])

    def begin_backward(self, into_inputs: Float[Tensor, "T B G"], into_hidden: Float[Tensor, "T B G"]) -> None:
        """Compute all factors of D and of ∂c, for all steps at once."""
        i, self.f, g, o = self.activations.chunk(4, -1)
        self.through = o * (1 - self.squashed * self.squashed)
        factors = (g * i * (1 - i), self.cs[:-1] * self.f * (1 - self.f), i * (1 - g * g), self.squashed * o * (1 - o))
        torch.cat(factors, -1, out=into_inputs)
        self.into_inputs = into_inputs
        self.into_hidden = into_hidden
        self.e = torch.zeros_like(self.cs[0])

    def backward(self, t: int, d: Float[Tensor, "B H"]) -> Float[Tensor, "B H"]:
        """Both kinds of gates have the same gradient, and nothing else is carried to h."""
        e = self.e if self.held is None else self.e.masked_fill(self.held[t], 0)
        dc = torch.addcmul(e, d, self.through[t])
        gates = self.into_inputs[t]
        gates[:, : 3 * self.size].unflatten(-1, (3, self.size)).mul_(dc[:, None])
        gates[:, 3 * self.size :].mul_(d)
        self.into_hidden[t] = gates
        self.e = dc * self.f[t] if self.held is None else torch.where(self.held[t], self.e, dc * self.f[t])
        return torch.zeros_like(d)

    def hold(self, t: int) -> None:
        """The content is held with the output."""
        super().hold(t)
        assert self.held is not None
        torch.where(self.held[t], self.cs[t], self.cs[t + 1], out=self.cs[t + 1])

    def state_gradients(self) -> tuple[Tensor, ...]:
        """The gradient of c_0."""
        return (self.e,)


class LSTMThroughTime(Function):
    """Manual backpropagation through time of the LSTM.

    With D = ∂L/∂h_t and E the gradient of c_t that comes from the step after, τ = tanh(c_t):
        ∂c = E + D·o(1−τ²)     ∂î = ∂c·g·i(1−i)    ∂f̂ = ∂c·c_{t−1}·f(1−f)    ∂ĝ = ∂c·i(1−g²)    ∂ô = D·τ·o(1−o)
        E_{t−1} = ∂c·f;   D_{t−1} += [∂î, ∂f̂, ∂ĝ, ∂ô] U;   ∂L/∂U = Σ_t [...]^T h_{t−1}, one matmul after the loop.
    The factors of ∂c and D are made for all steps before the loop. Where the mask is False they are 0, f counts as 1
    and D is carried.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
        """(gates [T,B,4H], h_0, c_0, W_hh, b_hh, mask [T,B,H or 1] | None, reverse) → (outputs [T,B,H], last h, c)."""
        gates, h, c, weight, bias, mask, reverse = arguments
        size, weight_t = h.size(1), weight.t().contiguous()
        outputs = gates.new_empty(len(gates), *h.shape)
        previous_h, previous_c, squashed = (torch.empty_like(outputs) for _ in range(3))
        activations = torch.empty_like(gates)
        for t in time_steps(len(gates), reverse):
            previous_h[t], previous_c[t] = h, c
            a = torch.add(gates[t], addmm(bias, h, weight_t), out=activations[t])
            i_f, g, o = a[:, : 2 * size].sigmoid_(), a[:, 2 * size : 3 * size].tanh_(), a[:, 3 * size :].sigmoid_()
            new_c = torch.addcmul(i_f[:, size:] * c, i_f[:, :size], g)
            new_h = o * torch.tanh(new_c, out=squashed[t])
            if mask is None:
                h, c = new_h, new_c
            else:
                real = mask[t]
                h, c = torch.where(real, new_h, h), torch.where(real, new_c, c)
            outputs[t] = h
        ctx.save_for_backward(previous_h, previous_c, squashed, activations, weight, mask)
        ctx.reverse = reverse
        return outputs, h, c

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The formulas of the class's docstring."""
        previous_h, previous_c, squashed, activations, weight, mask = ctx.saved_tensors
        i, f, g, o = activations.chunk(4, -1)
        size = i.size(-1)
        through = o * (1 - squashed * squashed)
        factors = torch.cat([g * i * (1 - i), previous_c * f * (1 - f), i * (1 - g * g), squashed * o * (1 - o)], -1)
        hold = None
        if mask is not None:
            gone = ~mask
            through, f = through.masked_fill_(gone, 0), f.masked_fill(gone, 1)
            factors.unflatten(-1, (4, size)).masked_fill_(gone[:, :, None], 0)
            hold = gone.to(f.dtype)
        factors_c = factors[..., : 3 * size].unflatten(-1, (3, size))
        d, e = gradients[1].clone(), gradients[2].clone()
        for t in time_steps(len(factors), not ctx.reverse):
            d = d + gradients[0][t]
            dc = torch.addcmul(e, d, through[t])
            factors_c[t].mul_(dc[:, None])
            factors[t, :, 3 * size :].mul_(d)
            e = dc * f[t]
            d = mm(factors[t], weight) if hold is None else addmm(d * hold[t], factors[t], weight)
        flat = factors.flatten(0, 1)
        return factors, d, e, tmm(flat, previous_h.flatten(0, 1)), flat.sum(0), None, None
