"""The minimal gated unit (Zhou et al. 2016): a GRU whose one gate both resets and updates.

    f_t = σ(W_f x_t + U_f h_{t−1} + b_f)
    n_t = tanh(W_n x_t + U_n (f_t ⊙ h_{t−1}) + b_n)
    h_t = (1 − f_t) ⊙ h_{t−1} + f_t ⊙ n_t

Zhou, Wu, Zhang & Zhou, "Minimal Gated Unit for Recurrent Neural Networks", International Journal of Automation and
Computing 13 (2016). Blocks in the order f, n.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seq2seq.nn.cells.base import Cell, by_unit
from seq2seq.nn.cells.gru import GRUResetBeforeThroughTime
from seq2seq.nn.matmul import linear
from seq2seq.nn.types import HiddenState


class MGU(Cell[HiddenState]):
    """The minimal gated unit, with one gate for reset and update."""

    blocks = 2
    offers = ("manual",)

    def step(self, gates: Float[Tensor, "N G"], state: HiddenState) -> HiddenState:
        """One time step by the equations of the module's docstring."""
        h, size = state.h, self.hidden_size
        bias_f, bias_n = (None, None) if self.bias_hh is None else self.bias_hh.chunk(2)
        f = torch.sigmoid(gates[:, :size] + linear(h, self.weight_hh[:size], bias_f))
        n = torch.tanh(gates[:, size:] + linear(f * h, self.weight_hh[size:], bias_n))
        return HiddenState(h + f * (n - h))

    def manual(
        self, gates: Float[Tensor, "T B G"], mask: Bool[Tensor, "T B *H"] | None, state: HiddenState, reverse: bool
    ) -> tuple[Float[Tensor, "T B H"], HiddenState]:
        """The GRU that resets before the product and writes, its gates r and z tied: f's rows are repeated, and their
        two gradients add up."""
        gates, mask = self._twice(gates, -1), by_unit(mask)
        outputs, last = GRUResetBeforeThroughTime.apply(  # type: ignore[no-untyped-call]
            gates, state.h, self._twice(self.weight_hh), self._twice(self._hidden_bias()), mask, reverse, False
        )
        return outputs, HiddenState(last)

    def _twice(self, blocks: Tensor, dim: int = 0) -> Tensor:
        return torch.cat([blocks.narrow(dim, 0, self.hidden_size), blocks], dim)
