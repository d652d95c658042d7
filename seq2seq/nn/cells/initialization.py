"""How a cell's weights start.

| init       | recurrent weights U        | input weights W            | biases, peepholes | source               |
|------------|----------------------------|----------------------------|-------------------|----------------------|
| uniform    | uniform in ±1/√H           | the same                   | the same          | torch; textbooks     |
| normal     | standard normal            | the same                   | 0                 | textbooks            |
| xavier     | uniform in ±√(6 / (H + H)) | uniform in ±√(6 / (I + H)) | 0                 | Glorot & Bengio 2010 |
| orthogonal | a random orthogonal matrix | as xavier                  | 0                 | Saxe et al. 2014     |
| identity   | the identity               | normal, deviation 0.001    | 0                 | Le et al. 2015, §4   |

Each gate's H rows are drawn for themselves, so that a gate starts as it would alone. Matrices (not biases) are then
multiplied by `init_scale`: a standard normal U has a spectral radius near √H and wants something like 0.01, and Le et
al. scale the identity where long memory hurts. Gains and shifts of layer normalisation start at 1 and 0.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from seq2seq.errors import UserError

Init = Literal["uniform", "normal", "xavier", "orthogonal", "identity"]
# How one gate's rows are drawn: of the recurrent weights, of the input weights. `uniform` draws everything alike.
DRAWS: dict[Init, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "normal": (nn.init.normal_, nn.init.normal_),
    "xavier": (nn.init.xavier_uniform_, nn.init.xavier_uniform_),
    "orthogonal": (nn.init.orthogonal_, nn.init.xavier_uniform_),
    "identity": (nn.init.eye_, functools.partial(nn.init.normal_, std=0.001)),
}


def check_init(owner: str, init: Init, scale: float, recurrent: bool) -> None:
    """Raise `UserError` for an `init` that a cell without recurrent weights cannot use, or a scale ≤ 0."""
    if not recurrent and init in ("orthogonal", "identity"):
        raise UserError(f"{owner}: init={init} is about recurrent weights, of which it has none; use init=xavier")
    if not (scale > 0 and math.isfinite(scale)):
        raise UserError(f"{owner}: init_scale={scale} must be a positive number")


@torch.no_grad()
def initialize(parameters: Iterable[tuple[str, Tensor]], hidden_size: int, init: Init, scale: float) -> None:
    """Draw the named parameters of one cell in place by the table above; `weight_hh` is the recurrent matrix."""
    for name, weight in parameters:
        if init == "uniform":
            nn.init.uniform_(weight, -1 / math.sqrt(hidden_size), 1 / math.sqrt(hidden_size))
        elif weight.dim() == 1:
            nn.init.zeros_(weight)
        else:
            draw = DRAWS[init][name != "weight_hh"]
            for block in weight.split(hidden_size):
                draw(block)
        if weight.dim() == 2:
            weight.mul_(scale)
