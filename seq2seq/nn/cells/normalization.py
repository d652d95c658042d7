"""The derivative of a layer normalisation, for manual backward passes.

With x̂ = (a − mean(a)) / σ and σ² = var(a) + ε over the units, LN(a) = γ ⊙ x̂ + β, and g the gradient at LN(a):
    ∂a = (gγ − mean(gγ) − x̂ mean(gγ ⊙ x̂)) / σ     ∂L/∂γ = Σ g ⊙ x̂     ∂L/∂β = Σ g
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def standardised(
    values: Float[Tensor, "*T B G"], eps: float
) -> tuple[Float[Tensor, "*T B G"], Float[Tensor, "*T B 1"]]:
    """Standardise over the units; returns x̂ and 1/σ."""
    variance, mean = torch.var_mean(values, -1, correction=0, keepdim=True)
    by = (variance + eps).rsqrt()
    return (values - mean) * by, by


def through(g: Float[Tensor, "B G"], hat: Float[Tensor, "B G"], by: Float[Tensor, "B 1"]) -> Float[Tensor, "B G"]:
    """The gradient at a, from that at x̂."""
    return (g - g.mean(-1, keepdim=True) - hat * (g * hat).mean(-1, keepdim=True)) * by


def sums(
    g: Float[Tensor, "T B G"], hat: Float[Tensor, "T B G"], shift: Tensor | None
) -> tuple[Float[Tensor, "G"], Float[Tensor, "G"] | None]:
    """The gradients of γ and β, which there may not be, over all steps."""
    return (g * hat).sum((0, 1)), None if shift is None else g.sum((0, 1))
