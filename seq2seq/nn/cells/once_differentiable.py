"""The decorator of a manual backward pass, which cannot itself be differentiated."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from seq2seq.errors import UserError

Backward = Callable[..., tuple[Tensor | None, ...]]


def once_differentiable(backward: Backward) -> Backward:
    """Raise `UserError` where a graph of the gradients is asked for (create_graph=True).

    torch's own decorator of this name raises only where the arriving gradient itself needs one; after a loss that is
    linear in the outputs it leaves out, without a word, what the backward pass owes to the states.
    """

    @functools.wraps(backward)
    def once(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise UserError("the manual backward pass has no second derivatives (create_graph=True); use path=step")
        return backward(ctx, *gradients)

    return once
