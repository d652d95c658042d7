"""The minimal GRU (Feng et al. 2024), and what it shares with the minimal LSTM: gates that see the input alone.

    z_t = σ(W_z x_t + b_z)
    n_t = φ(W_n x_t + b_n),   φ(a) = a + ½ where a ≥ 0, else σ(a)  (`positive`),  or φ(a) = a  (`linear`)
    h_t = (1 − z_t) ⊙ h_{t−1} + z_t ⊙ n_t

Feng, Tung, Ahmed, Bengio & Hajimirsadeghi, "Were RNNs All We Needed?", arXiv 2410.01201, §3.1 (linear) and appendix B
(positive). Blocks in the order z, n. As no gate waits for h_{t−1}, all steps' coefficients are known at once, and
h_t = a_t ⊙ h_{t−1} + b_t is a scan over the pairs (a, b) with (a, b)·(a', b') = (a a', a' b + b'), which is
associative: log₂ T rounds for T steps. With 0 ≤ a ≤ 1 it is stable as it is, for states of either sign; the
paper's logarithms, which need positive ones, are not needed.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import Function

from seq2seq.nn.cells.base import Cell, time_steps
from seq2seq.nn.cells.initialization import Init
from seq2seq.nn.types import HiddenState

CandidateActivation = Literal["positive", "linear"]


class LinearCell(Cell[HiddenState]):
    """A cell whose step is h_t = a_t ⊙ h_{t−1} + b_t with `coefficients` of the input alone; it has no U.

    Option `activation` (positive, linear) of the candidate n_t. Raises `UserError` for another one.
    """

    recurrent = False
    offers = ("scan",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        activation: CandidateActivation = "positive",
        init: Init = "uniform",
        init_scale: float = 1.0,
    ) -> None:
        super().__init__(input_size, hidden_size, bias=bias, init=init, init_scale=init_scale)
        self.activation = activation

    @abstractmethod
    def coefficients(self, gates: Float[Tensor, "*N G"]) -> tuple[Float[Tensor, "*N H"], Float[Tensor, "*N H"]]:
        """a_t in [0, 1] and b_t."""

    def candidate(self, values: Float[Tensor, "*N H"]) -> Float[Tensor, "*N H"]:
        """φ of the equations above."""
        if self.activation == "linear":
            return values
        return torch.where(values >= 0, values + 0.5, torch.sigmoid(values))

    def step(self, gates: Float[Tensor, "N G"], state: HiddenState) -> HiddenState:
        """a_t ⊙ h_{t−1} + b_t."""
        a, b = self.coefficients(gates)
        return HiddenState(a * state.h + b)

    def scan(
        self, gates: Float[Tensor, "T B G"], mask: Bool[Tensor, "T B"] | None, state: HiddenState, reverse: bool
    ) -> tuple[Float[Tensor, "T B H"], HiddenState]:
        """Run `LinearScan`; where not `mask`, a = 1 and b = 0 carry the state."""
        a, b = self.coefficients(gates)
        if mask is not None:
            gone = ~mask[:, :, None]
            a, b = a.masked_fill(gone, 1), b.masked_fill(gone, 0)
        outputs: Tensor = LinearScan.apply(a, b, state.h, reverse)  # type: ignore[no-untyped-call]
        return outputs, HiddenState(outputs[0 if reverse else -1])


class MinGRU(LinearCell):
    """The minimal GRU: its gates see the input alone."""

    blocks = 2

    def coefficients(self, gates: Float[Tensor, "*N G"]) -> tuple[Float[Tensor, "*N H"], Float[Tensor, "*N H"]]:
        """1 − z and z ⊙ n."""
        z, n = gates.chunk(2, -1)
        return torch.sigmoid(-z), torch.sigmoid(z) * self.candidate(n)


class LinearScan(Function):
    """h_t = a_t ⊙ h_{t−1} + b_t over all steps, and its manual backward pass, which is a scan the other way.

    With g_t = ∂L/∂(output t) and D_t that through all later steps too:
        D_t = a_{t+1} ⊙ D_{t+1} + g_t     ∂L/∂a_t = D_t ⊙ h_{t−1}     ∂L/∂b_t = D_t     ∂L/∂h_0 = a_1 ⊙ D_1
    Being made of itself it can be differentiated any number of times.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        """(a [T,B,H], b [T,B,H], h_0 [B,H], reverse) → outputs [T,B,H]: in rounds on a GPU, in turn on a CPU."""
        a, b, h, reverse = arguments
        outputs = (in_rounds if a.is_cuda else in_turn)(a, b, h, reverse)
        ctx.save_for_backward(a, h, outputs)
        ctx.reverse = reverse
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The formulas of the class's docstring."""
        a, h, outputs = ctx.saved_tensors
        zero = torch.zeros_like(h)
        first, later, previous = 0, torch.cat([a[1:], zero[None]]), torch.cat([h[None], outputs[:-1]])
        if ctx.reverse:
            first, later, previous = -1, torch.cat([zero[None], a[:-1]]), torch.cat([outputs[1:], h[None]])
        d: Tensor = LinearScan.apply(later, gradients[0], zero, not ctx.reverse)  # type: ignore[no-untyped-call]
        return d * previous, d, d[first] * a[first], None


def in_turn(a: Tensor, b: Tensor, h: Tensor, reverse: bool) -> Tensor:
    """One fused multiply-add a step: least work, and on a CPU the fastest by far."""
    outputs = torch.empty_like(b)
    for t in time_steps(len(b), reverse):
        h = torch.addcmul(b[t], a[t], h, out=outputs[t])
    return outputs


def in_rounds(a: Tensor, b: Tensor, h: Tensor, reverse: bool) -> Tensor:
    """log₂ T rounds over all steps at once (Hillis & Steele 1986): each pair takes in the one 1, 2, 4, … before it."""
    if reverse:
        return in_rounds(a.flip(0), b.flip(0), h, False).flip(0)
    b = torch.cat([torch.addcmul(b[:1], a[:1], h), b[1:]])
    distance = 1
    while distance < len(b):
        b = torch.cat([b[:distance], torch.addcmul(b[distance:], a[distance:], b[:-distance])])
        a = torch.cat([a[:distance], a[distance:] * a[:-distance]])
        distance *= 2
    return b
