"""Central differences: gradients without any derivation, to test those with one.

    ∂f/∂x_i ≈ (f(x + ε e_i) − f(x − ε e_i)) / 2ε        truncation error O(ε²), rounding error O(10⁻¹⁶/ε)

Their sum is smallest near ε = 10⁻⁵, which leaves about ten digits. Bishop, Pattern Recognition and Machine
Learning (2006), equation 5.69.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64


def central_differences(
    f: Callable[[Float64[np.ndarray, "*N"]], float], at: Float64[np.ndarray, "*N"], epsilon: float = 1e-5
) -> Float64[np.ndarray, "*N"]:
    """The gradient of `f` at `at`, by two evaluations for each element; `at` is not changed."""
    moved, gradient = at.copy(), np.zeros_like(at)
    for i in np.ndindex(at.shape):
        moved[i] = at[i] + epsilon
        above = f(moved)
        moved[i] = at[i] - epsilon
        gradient[i] = (above - f(moved)) / (2 * epsilon)
        moved[i] = at[i]
    return gradient


def relative_error(a: Float64[np.ndarray, "*N"], b: Float64[np.ndarray, "*N"]) -> float:
    """‖a − b‖ / max(‖a‖, ‖b‖), or 0 if both are 0."""
    size = max(np.linalg.norm(a), np.linalg.norm(b))
    return float(np.linalg.norm(a - b) / size) if size else 0.0
