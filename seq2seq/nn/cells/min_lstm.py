"""The minimal LSTM (Feng et al. 2024): forget and input gate see the input alone and share one unit of weight.

    i_t = σ(W_i x_t + b_i)     f_t = σ(W_f x_t + b_f)     n_t = φ(W_n x_t + b_n), φ as in min_gru.py
    f'_t = f_t / (f_t + i_t)   i'_t = i_t / (f_t + i_t)
    h_t = f'_t ⊙ h_{t−1} + i'_t ⊙ n_t

Feng, Tung, Ahmed, Bengio & Hajimirsadeghi, "Were RNNs All We Needed?", arXiv 2410.01201, §3.2 and appendix B. There is
no output gate, so the state is h alone. Blocks in the order i, f, n.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from seq2seq.errors import UserError
from seq2seq.nn.cells.initialization import Init
from seq2seq.nn.cells.min_gru import CandidateActivation, LinearCell


class MinLSTM(LinearCell):
    """The minimal LSTM; raises `UserError` for a forget bias without biases."""

    blocks = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        activation: CandidateActivation = "positive",
        forget_bias: float = 0.0,
        init: Init = "uniform",
        init_scale: float = 1.0,
    ) -> None:
        if forget_bias and not bias:
            raise UserError(f"MinLSTM: forget_bias={forget_bias} needs bias=true")
        self.forget_bias = forget_bias
        super().__init__(input_size, hidden_size, bias=bias, activation=activation, init=init, init_scale=init_scale)

    def reset_parameters(self) -> None:
        """As every cell's, then the forget gate's bias raised by `forget_bias`."""
        super().reset_parameters()
        if self.forget_bias and self.bias_ih is not None:
            with torch.no_grad():
                self.bias_ih[self.hidden_size : 2 * self.hidden_size] += self.forget_bias

    def coefficients(self, gates: Float[Tensor, "*N G"]) -> tuple[Float[Tensor, "*N H"], Float[Tensor, "*N H"]]:
        """f' and i' ⊙ n. f' = σ(log f − log i) also where both gates are closed and the quotient would be 0/0."""
        i, f, n = gates.chunk(3, -1)
        odds = F.logsigmoid(f) - F.logsigmoid(i)
        return torch.sigmoid(odds), torch.sigmoid(-odds) * self.candidate(n)
