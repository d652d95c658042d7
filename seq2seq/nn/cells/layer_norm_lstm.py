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

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seq2seq.errors import UserError
from seq2seq.nn.cells.base import Cell
from seq2seq.nn.cells.initialization import Init
from seq2seq.nn.cells.regularization import NONE, Regularization
from seq2seq.nn.matmul import linear
from seq2seq.nn.types import LSTMState


class LayerNormLSTM(Cell[LSTMState]):
    """The layer-normalised LSTM: `bias` gives the normalisations a β, and `forget_bias` is where that of f̂ starts.

    Raises `UserError` when a forget bias is asked for without biases.
    """

    blocks = 4
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
