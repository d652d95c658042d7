"""The layer-normalised gated recurrent unit (Ba, Kiros & Hinton 2016).

    LN(a; γ, β) = γ ⊙ (a − mean(a)) / √(var(a) + ε) + β                 over the units of one sentence at one step
    [r_t ; z_t] = σ(LN(W_rz x_t; γ_1, β_1) + LN(U_rz h_{t−1}; γ_2, β_2))
    n_t = tanh(LN(W_n x_t; γ_3, β_3) + r_t ⊙ LN(U_n h_{t−1}; γ_4, β_4))
    h_t = z_t ⊙ h_{t−1} + (1 − z_t) ⊙ n_t                                the update gate `keep`s: torch
    h_t = (1 − z_t) ⊙ h_{t−1} + z_t ⊙ n_t                                the update gate `write`s: Ba et al.

Ba, Kiros & Hinton, "Layer Normalization", arXiv 1607.06450, supplementary material: r and z are normalised as one
vector of 2H. The scale of U and W then matters no more, γ carries it. The β are the biases. Blocks in torch's order
r, z, n.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seq2seq.nn.cells.base import Cell
from seq2seq.nn.cells.initialization import Init
from seq2seq.nn.matmul import linear
from seq2seq.nn.types import HiddenState


class LayerNormGRU(Cell[HiddenState]):
    """Option `update` (keep, write); `bias` gives the normalisations a β. Raises `UserError` for another `update`."""

    blocks = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        update: Literal["keep", "write"] = "keep",
        init: Init = "uniform",
        init_scale: float = 1.0,
        weight_drop: float = 0.0,
        zoneout: float = 0.0,
    ) -> None:
        shares = {"weight_drop": weight_drop, "zoneout": zoneout}
        super().__init__(input_size, hidden_size, bias=False, init=init, init_scale=init_scale, **shares)
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
