"""A teacher-forced target through attention that is queried by the previous state, with a manual backward pass.

    q_t = W_q s_{t−1}      c_t = attention(q_t)      s_t = cell(x_t + W_c c_t, s_{t−1})

The loop is as long as the target, so only what recurs is in it. Forwards: one matmul of s_{t−1} with [W_q ; W_hh],
the attention, one matmul of c_t. Backwards, with D = ∂L/∂s_t and the cell's own derivatives (`Cell.steps`) giving the
gradients g_x at the input's gates, g_h at the recurrent ones, and what is carried:

    ∂c_t = ∂L/∂c_t + g_x W_c      ∂q_t by the attention's derivatives (`Context.steps`)
    D_{t−1} += carried + [∂q_t ; g_h] [W_q ; W_hh]

Each weight's gradient is one matmul over all steps, after the loop.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import Function
from torch.nn import functional as F

from seq2seq.nn.cells import Cell
from seq2seq.nn.cells.cell_gradients import CellSteps
from seq2seq.nn.contexts import Context, Keys
from seq2seq.nn.matmul import addmm, mm, once_differentiable, tmm
from seq2seq.nn.types import CellState


def offers(cell: Cell[Any], context: Context) -> bool:
    """Whether both have derivatives of single steps; zoneout is a draw of training there, and not its expectation."""
    drawn = cell.training or not cell.zoneout
    return drawn and cell.steps() is not None and context.steps() is not None


def attend_through_time(
    cell: Cell[Any],
    context: Context,
    gates: Float[Tensor, "T B G"],
    keys: Keys,
    state: CellState,
    offset: int,
) -> tuple[Float[Tensor, "T B H"], Float[Tensor, "T B C"]]:
    """All states s_t and all c_t, from the projected inputs; c_t meets the input weight's columns from `offset` on."""
    cell_steps, context_steps = cell.steps(), context.steps()
    assert cell_steps is not None  # see `offers`
    assert context_steps is not None
    if cell.zoneout:
        cell_steps.held = ~cell.written((gates.size(0), gates.size(1)), None)
    query = context.query_weight()
    weight = cell.weight_hh if query is None else torch.cat([query, cell.weight_hh])
    bias = cell.weight_hh.new_zeros(len(cell.weight_hh)) if cell.bias_hh is None else cell.bias_hh
    into_gates = cell.weight_ih[:, offset : offset + context.size]
    if words := keys.values.size(-1) - context.size:  # they are averaged as well, and the gates do not see them
        into_gates = F.pad(into_gates, (0, words))
    outputs, contexts = AttentionThroughTime.apply(  # type: ignore[no-untyped-call]
        *(gates, weight, bias, into_gates, keys.values, keys.keys, context.energy_weight(), keys.mask),
        *(cell_steps, context_steps, *state),
    )
    return outputs, contexts


class AttentionThroughTime(Function):
    """The loop of the module's docstring; the derivatives of single steps come as two objects, made for one call."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        """(gates [T,B,G], [W_q ; W_hh], b_hh, W_c [G,C], values, keys, energy | None, mask, the cell's steps, the
        context's, *state) → (states [T,B,H], contexts [T,B,C])."""
        gates, weight, bias, into_gates, values, keys, energy, mask = arguments[:8]
        cell, context = arguments[8:10]
        hs = gates.new_empty(len(gates) + 1, *arguments[10].shape)
        hs[0] = arguments[10]
        cell.begin(gates, hs, arguments[11:])
        context.begin(len(gates), values, keys, energy, mask)
        weight_t, into_t = weight.t().contiguous(), into_gates.t().contiguous()
        size = weight.size(0) - bias.size(0)  # of the projected query; 0 where the state itself is the query
        for t in range(len(gates)):
            joined = mm(hs[t], weight_t)
            c = context.forward(t, joined[:, :size] if size else hs[t])
            cell.forward(t, addmm(gates[t], c, into_t), joined[:, size:] + bias)
            if cell.held is not None:
                cell.hold(t)
        ctx.save_for_backward(hs, weight, into_gates)
        ctx.cell, ctx.context, ctx.size = cell, context, size
        return hs[1:].clone(), context.contexts.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The formulas of the module's docstring."""
        hs, weight, into_gates = ctx.saved_tensors
        cell, context, size = ctx.cell, ctx.context, ctx.size
        joined = hs.new_empty(len(hs) - 1, hs.size(1), weight.size(0))  # [∂q ; g_h] of all steps
        into_inputs = hs.new_empty(len(hs) - 1, hs.size(1), into_gates.size(0))  # g_x of all steps
        cell.begin_backward(into_inputs, joined[..., size:])
        context.begin_backward()
        d = torch.zeros_like(hs[0])
        for t in range(len(joined) - 1, -1, -1):
            carried = _carried(cell, t, d.add_(gradients[0][t]))
            query = context.backward(t, addmm(gradients[1][t], into_inputs[t], into_gates))
            if size:
                joined[t, :, :size] = query
            else:
                carried += query
            d = addmm(carried, joined[t], weight)
        flat, flat_inputs = joined.flatten(0, 1), into_inputs.flatten(0, 1)
        weights = tmm(flat, hs[:-1].flatten(0, 1)), flat[:, size:].sum(0)
        into_weight = tmm(flat_inputs, context.contexts.flatten(0, 1))
        return into_inputs, *weights, into_weight, *context.gradients(), None, None, None, d, *cell.state_gradients()


def _carried(cell: CellSteps, t: int, d: Float[Tensor, "B H"]) -> Float[Tensor, "B H"]:
    """The gradient that a step carries to h_t: D itself for the units that kept their state."""
    if cell.held is None:
        return cell.backward(t, d)
    held = cell.held[t]
    return cell.backward(t, d.masked_fill(held, 0)) + d.masked_fill(~held, 0)
