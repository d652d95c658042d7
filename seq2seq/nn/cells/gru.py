"""The gated recurrent unit (Cho et al. 2014), in its four textbook forms.

    r_t = σ(W_r x_t + U_r h_{t−1} + b_r)                       reset gate
    z_t = σ(W_z x_t + U_z h_{t−1} + b_z)                       update gate
    n_t = tanh(W_n x_t + b + r_t ⊙ (U_n h_{t−1} + b'))         reset `after` the product: cuDNN, torch
    n_t = tanh(W_n x_t + b + U_n (r_t ⊙ h_{t−1}) + b')         reset `before` it: Cho et al. 2014, eq. 8
    h_t = z_t ⊙ h_{t−1} + (1 − z_t) ⊙ n_t                      the update gate `keep`s: Cho et al. 2014, torch
    h_t = (1 − z_t) ⊙ h_{t−1} + z_t ⊙ n_t                      the update gate `write`s: Chung et al. 2014

Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", EMNLP 2014. Blocks in torch's order r, z, n.
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
from seq2seq.nn.matmul import addmm, linear, mm, multiplier, once_differentiable, tmm
from seq2seq.nn.types import HiddenState


class GRU(Cell[HiddenState]):
    """The gated recurrent unit; `reset` and `update` choose among the forms above."""

    blocks = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        reset: Literal["before", "after"] = "after",
        update: Literal["keep", "write"] = "keep",
        init: Init = "uniform",
        init_scale: float = 1.0,
        regularization: Regularization = NONE,
    ) -> None:
        super().__init__(
            input_size, hidden_size, bias=bias, init=init, init_scale=init_scale, regularization=regularization
        )
        self.reset = reset
        self.update = update

    def step(self, gates: Float[Tensor, "N G"], state: HiddenState) -> HiddenState:
        """One time step by the equations of the module's docstring."""
        h, size = state.h, self.hidden_size
        gates_r, gates_z, gates_n = gates.chunk(3, -1)
        if self.reset == "after":
            hidden_r, hidden_z, hidden_n = linear(h, self.weight_hh, self.bias_hh).chunk(3, -1)
            r = torch.sigmoid(gates_r + hidden_r)
            n = torch.tanh(gates_n + r * hidden_n)
        else:
            bias = (None, None) if self.bias_hh is None else (self.bias_hh[: 2 * size], self.bias_hh[2 * size :])
            hidden_r, hidden_z = linear(h, self.weight_hh[: 2 * size], bias[0]).chunk(2, -1)
            r = torch.sigmoid(gates_r + hidden_r)
            n = torch.tanh(gates_n + linear(r * h, self.weight_hh[2 * size :], bias[1]))
        z = torch.sigmoid(gates_z + hidden_z)
        return HiddenState(n + z * (h - n) if self.update == "keep" else h + z * (n - h))

    @property
    def paths(self) -> tuple[str, ...]:
        """The manual backward pass and torch's kernel, which computes one of the four forms."""
        return ("manual", "fused") if (self.reset, self.update) == ("after", "keep") else ("manual",)

    def manual(
        self, gates: Float[Tensor, "T B G"], mask: Bool[Tensor, "T B *H"] | None, state: HiddenState, reverse: bool
    ) -> tuple[Float[Tensor, "T B H"], HiddenState]:
        """Run `GRUThroughTime` or `GRUResetBeforeThroughTime`, by the form of the reset gate."""
        bias = self._hidden_bias()
        function = GRUThroughTime if self.reset == "after" else GRUResetBeforeThroughTime
        keep, mask = self.update == "keep", by_unit(mask)
        outputs, last = function.apply(gates, state.h, self.weight_hh, bias, mask, reverse, keep)  # type: ignore[no-untyped-call]
        return outputs, HiddenState(last)

    def steps(self) -> GRUSteps | None:
        """Where one matmul serves all gates, that is with the reset gate after it."""
        return GRUSteps(self.update == "keep") if self.reset == "after" else None

    def fused(
        self, inputs: Float[Tensor, "T B I"], state: HiddenState, mask: Bool[Tensor, "T B"] | None
    ) -> tuple[Float[Tensor, "T B H"], HiddenState]:
        """Run nn.GRU's kernel, which computes one of the four forms."""
        if "fused" not in self.paths:
            return super().fused(inputs, state, mask)
        start = state.h[None].contiguous()  # cuDNN refuses others
        outputs, last = torch.gru(
            inputs, start, self._weights(), self.bias_ih is not None, 1, 0.0, self.training, False, False
        )
        return outputs, HiddenState(last[0])


class GRUSteps(CellSteps):
    """Single steps of the GRU whose reset gate comes after the product, with the formulas of `GRUThroughTime`."""

    def __init__(self, keep: bool) -> None:
        self.keep = keep

    def begin(self, like: Float[Tensor, "T B G"], hs: Float[Tensor, "T1 B H"], state: Sequence[Tensor]) -> None:
        """Allocate memory for r and z, u and n."""
        self.hs = hs
        self.size = hs.size(2)
        self.rzs = like.new_empty(*like.shape[:2], 2 * self.size)
        self.us = torch.empty_like(hs[1:])
        self.ns = torch.empty_like(hs[1:])

    def forward(self, t: int, gates: Float[Tensor, "B G"], hidden: Float[Tensor, "B G"]) -> None:
        """Compute r, z, u and n, then h_{t+1}, in place."""
        rz = torch.add(gates[:, : 2 * self.size], hidden[:, : 2 * self.size], out=self.rzs[t]).sigmoid_()
        self.us[t] = hidden[:, 2 * self.size :]
        r, z = rz[:, : self.size], rz[:, self.size :]
        n = torch.addcmul(gates[:, 2 * self.size :], r, self.us[t], out=self.ns[t]).tanh_()
        h = self.hs[t]
        torch.lerp(n, h, z, out=self.hs[t + 1]) if self.keep else torch.lerp(h, n, z, out=self.hs[t + 1])

    def begin_backward(self, into_inputs: Float[Tensor, "T B G"], into_hidden: Float[Tensor, "T B G"]) -> None:
        """Compute all factors of D, for all steps at once."""
        r, self.n_slope, z_slope, self.carry = factors(self.hs[:-1], self.rzs, self.ns, None, self.keep)
        torch.cat([self.n_slope * self.us * r * (1 - r), z_slope, self.n_slope * r], -1, out=into_hidden)
        self.into_inputs = into_inputs
        self.into_hidden = into_hidden

    def backward(self, t: int, d: Float[Tensor, "B H"]) -> Float[Tensor, "B H"]:
        """Multiply the factors by D."""
        gates = self.into_hidden[t]
        gates.unflatten(-1, (3, self.size)).mul_(d[:, None])
        self.into_inputs[t, :, : 2 * self.size] = gates[:, : 2 * self.size]
        torch.mul(d, self.n_slope[t], out=self.into_inputs[t, :, 2 * self.size :])
        return d * self.carry[t]


class GRUThroughTime(Function):
    """Manual backpropagation through time of the GRU whose reset gate comes after the recurrent product.

    With D = ∂L/∂h_t, u = U_n h_{t−1} + b', and the update gate keeping:
        ∂n̂ = D(1−z)(1−n²)    ∂r̂ = ∂n̂·u·r(1−r)    ∂ẑ = D(h_{t−1}−n)z(1−z)      (gradients before the squashing)
        gradient at the input's gates  [∂r̂, ∂ẑ, ∂n̂];  at the recurrent gates  g = [∂r̂, ∂ẑ, ∂n̂·r]
        D_{t−1} += D·z + g U;   ∂L/∂U = Σ_t g^T h_{t−1}: one matmul over all steps, after the loop.
    Every factor next to D is known before the loop, so a step backwards is one product, one matmul and two sums.
    When the gate writes, z and 1−z change places. Where the mask is False the factors of g are 0 and that of the
    carried D is 1, which is all that padding and the reverse direction need.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        """(gates [T,B,3H], h_0, W_hh, b_hh, mask [T,B,H or 1] | None, reverse, keep) → (outputs [T,B,H], last h)."""
        gates, h, weight, bias, mask, reverse, keep = arguments
        size, product = h.size(1), multiplier(weight.t().contiguous())
        hs = gates.new_empty(len(gates) + 1, *h.shape)
        hs[-1 if reverse else 0] = h
        previous, outputs = _shifted(hs, reverse)
        rzs, ns = gates.new_empty(*gates.shape[:2], 2 * size), torch.empty_like(previous)
        # Views of all steps are made at once: in the loop each would take as long as a small product.
        inputs_rz, inputs_n = (part.unbind() for part in gates.split((2 * size, size), -1))
        marks = None if mask is None else mask.unbind()
        steps = (
            *(values.unbind() for values in (previous, outputs, rzs, ns)),
            *(part.unbind() for part in rzs.chunk(2, -1)),
        )
        us: list[Tensor] = []
        for t in time_steps(len(gates), reverse):
            before, after, rz, n, r, z = (step[t] for step in steps)
            hidden_rz, u = product(before, bias).split((2 * size, size), -1)
            torch.add(inputs_rz[t], hidden_rz, out=rz).sigmoid_()
            torch.addcmul(inputs_n[t], r, u, out=n).tanh_()
            torch.lerp(n, before, z, out=after) if keep else torch.lerp(before, n, z, out=after)
            if marks is not None:
                torch.where(marks[t], after, before, out=after)
            us.append(u)
        ctx.save_for_backward(hs, rzs, torch.stack(us[::-1] if reverse else us), ns, weight, mask)
        ctx.reverse, ctx.keep = reverse, keep
        return outputs, hs[0 if reverse else -1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The formulas of the class's docstring."""
        hs, rzs, us, ns, weight, mask = ctx.saved_tensors
        previous, _ = _shifted(hs, ctx.reverse)
        r, n_slope, z_slope, carry = factors(previous, rzs, ns, mask, ctx.keep)
        size, product, ds = r.size(-1), multiplier(weight), torch.empty_like(ns)
        g = torch.cat([n_slope * us * r * (1 - r), z_slope, n_slope * r], -1)
        steps = tuple(values.unbind() for values in (g, g.unflatten(-1, (3, size)), carry, gradients[0], ds))
        d = gradients[1]
        for t in time_steps(len(g), not ctx.reverse):
            g_t, by_gate, carried, gradient, d_t = (step[t] for step in steps)
            torch.add(d, gradient, out=d_t)
            by_gate.mul_(d_t.unsqueeze(1))
            d = product(g_t, d_t * carried)
        flat = g.flatten(0, 1)
        gates = torch.cat([g[..., : 2 * size], ds.mul_(n_slope)], -1)
        return gates, d, tmm(flat, previous.flatten(0, 1)), flat.sum(0), None, None, None


class GRUResetBeforeThroughTime(Function):
    """The same for the reset gate before the product: n = tanh(x_n + U_n (r ⊙ h_{t−1}) + b').

    ∂n̂ = D(1−z)(1−n²)    q = ∂n̂ U_n    ∂r̂ = q·h_{t−1}·r(1−r)    ∂ẑ = D(h_{t−1}−n)z(1−z)
    D_{t−1} += D·z + q·r + [∂r̂, ∂ẑ] U_rz;   ∂L/∂U_n = Σ ∂n̂^T (r ⊙ h_{t−1});   ∂L/∂U_rz = Σ [∂r̂, ∂ẑ]^T h_{t−1}
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        """(gates [T,B,3H], h_0, W_hh, b_hh, mask [T,B,H or 1] | None, reverse, keep) → (outputs [T,B,H], last h)."""
        gates, h, weight, bias, mask, reverse, keep = arguments
        size = h.size(1)
        weight_rz, weight_n = weight[: 2 * size].t().contiguous(), weight[2 * size :].t().contiguous()
        outputs = gates.new_empty(len(gates), *h.shape)
        previous, ns = torch.empty_like(outputs), torch.empty_like(outputs)
        rzs = gates.new_empty(len(gates), h.size(0), 2 * size)
        for t in time_steps(len(gates), reverse):
            previous[t] = h
            hidden = addmm(bias[: 2 * size], h, weight_rz)
            rz = torch.add(gates[t, :, : 2 * size], hidden, out=rzs[t]).sigmoid_()
            r, z = rz[:, :size], rz[:, size:]
            n = torch.add(gates[t, :, 2 * size :], addmm(bias[2 * size :], r * h, weight_n), out=ns[t]).tanh_()
            new = torch.lerp(n, h, z) if keep else torch.lerp(h, n, z)
            h = new if mask is None else torch.where(mask[t], new, h)
            outputs[t] = h
        ctx.save_for_backward(previous, rzs, ns, weight, mask)
        ctx.reverse, ctx.keep = reverse, keep
        return outputs, h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The formulas of the class's docstring."""
        previous, rzs, ns, weight, mask = ctx.saved_tensors
        r, n_slope, z_slope, carry = factors(previous, rzs, ns, mask, ctx.keep)
        size = r.size(-1)
        r_slope = previous * r * (1 - r)
        weight_rz, weight_n = weight[: 2 * size], weight[2 * size :]
        g = torch.cat([r_slope, z_slope, n_slope], -1)
        d = gradients[1].clone()
        for t in time_steps(len(g), not ctx.reverse):
            d = d + gradients[0][t]
            q = mm(g[t, :, 2 * size :].mul_(d), weight_n)
            g[t, :, :size].mul_(q)
            g[t, :, size : 2 * size].mul_(d)
            d = addmm(d * carry[t], g[t, :, : 2 * size], weight_rz).addcmul_(q, r[t])
        flat, flat_rz = g.flatten(0, 1), g[..., : 2 * size].flatten(0, 1)
        weight_gradient = torch.cat(
            [tmm(flat_rz, previous.flatten(0, 1)), tmm(flat[:, 2 * size :], (r * previous).flatten(0, 1))]
        )
        return g, d, weight_gradient, flat.sum(0), None, None, None


def _shifted(hs: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
    """Of T + 1 states in the order of time, those before and after each step in the order of reading."""
    return (hs[1:], hs[:-1]) if reverse else (hs[:-1], hs[1:])


def factors(
    previous: Tensor, rzs: Tensor, ns: Tensor, mask: Tensor | None, keep: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """r, the factors of D in ∂n̂ and in ∂ẑ, and that of the carried D: for all steps at once, masked."""
    r, z = rzs.chunk(2, -1)
    kept, written = (z, 1 - z) if keep else (1 - z, z)
    n_slope = written * (1 - ns * ns)
    z_slope = ((previous - ns) if keep else (ns - previous)) * z * (1 - z)
    if mask is not None:
        gone = ~mask
        n_slope, z_slope = n_slope.masked_fill_(gone, 0), z_slope.masked_fill_(gone, 0)
        kept = kept.masked_fill(gone, 1)
    return r, n_slope, z_slope, kept
