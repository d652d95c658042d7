"""An output layer in 8-bit integers, for translating on a CPU: two thirds of a small model's work is this product.

    q_v = round(w_v / σ_v), σ_v = max|w_v| / 127       once, for each row of the weight
    p   = round(f / τ),     τ   = max|f| / 127         for each row of features by itself
    logits = τ σ_v (p · q_v) + b_v

The sum of products is exact, in 32-bit integers, and each row has its own scale: a row of features gives the same
logits in any batch. Only the rounding of f and W is lost; measure BLEU before you rely on it. Features of
another batch size differ in their last bits, and one that lies between two of the 255 levels is then rounded to the
other: scores are equal across batch sizes within 1e-3 of their value, not within the 1e-5 of float32.
"""

from __future__ import annotations

from functools import cache

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from seq2seq.errors import UserError

LEVELS = 127


class Int8Linear:
    """features → logits, from a weight [V, F] and a bias [V]. Raises `UserError` elsewhere than on a CPU."""

    def __init__(self, weight: Float[Tensor, "V F"], bias: Float[Tensor, "V"]) -> None:
        if weight.device.type != "cpu":
            raise UserError(f"int8 is for the CPU, not for {weight.device.type}; leave it off there")
        weight = weight.detach().float()
        self.scale = (weight.abs().amax(1) / LEVELS).clamp_min(torch.finfo(torch.float32).tiny)
        # [F, V] in memory, the order in which the integer product reads it fastest.
        self.weight = (weight / self.scale[:, None]).round_().to(torch.int8).t().contiguous()
        self.bias = bias.detach().float()

    def __call__(self, features: Float[Tensor, "N F"]) -> Float[Tensor, "N V"]:
        """Compute logits by the formula of the module's docstring."""
        features = features.float()
        scale = (features.abs().amax(1, keepdim=True) / LEVELS).clamp_min(torch.finfo(torch.float32).tiny)
        rows = (features / scale).round_().to(torch.int8)
        products = _product(rows, self.weight).float().mul_(scale)
        return torch.addcmul(self.bias, products, self.scale, out=products)


def _product(rows: Int8[Tensor, "N F"], weight: Int8[Tensor, "F V"]) -> Tensor:
    """The exact product: torch's of integers, or in float64 (exact as well, and slower) where torch has none here."""
    return torch._int_mm(rows, weight) if _integers_work() else rows.double() @ weight.double()


@cache
def _integers_work() -> bool:
    """Whether torch multiplies 8-bit integers on this machine, and without an overflow on the way: by trying it."""
    largest = torch.full((64, 64), LEVELS, dtype=torch.int8)
    try:
        return bool((torch._int_mm(largest, largest) == 64 * LEVELS * LEVELS).all())
    except (AttributeError, RuntimeError):
        return False
