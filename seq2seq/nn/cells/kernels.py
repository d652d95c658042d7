"""Which of torch's fused recurrent kernels run on this machine, by running a tiny sequence through the cell.

What the libraries have cannot be read off the names of processors. oneDNN, for one, has an LSTM in bfloat16 for some
instruction sets only, and under autocast torch calls it without asking whether there is one.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch

from seq2seq.nn.cells.base import Cell

_answers: WeakKeyDictionary[Cell[Any], dict[tuple[Any, ...], bool]] = WeakKeyDictionary()


def fused_runs(cell: Cell[Any]) -> bool:
    """Whether `cell.fused` runs as it would be called now: on this device, in this precision, with gradients or not.

    Each cell is asked once for each of these. Raises what is no matter of kernels: `torch.OutOfMemoryError`.
    """
    weight = cell.weight_ih
    if weight.is_meta or torch.compiler.is_compiling():
        return True  # nothing runs now: an exported network is for any machine
    key = (weight.device, weight.dtype, lower_precision(weight.device.type), torch.is_grad_enabled())
    answers = _answers.setdefault(cell, {})
    if key not in answers:
        answers[key] = _try(cell)
    return answers[key]


def lower_precision(kind: str) -> torch.dtype | None:
    """The type that autocast computes products in on a kind of device; None where it is off."""
    on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if on else None


def _try(cell: Cell[Any]) -> bool:
    """Two steps of two sentences, and the gradient of their inputs where gradients are on."""
    inputs = cell.weight_ih.new_zeros(2, 2, cell.input_size, requires_grad=torch.is_grad_enabled())
    mask = torch.ones(2, 2, dtype=torch.bool, device=inputs.device)
    try:
        outputs, _ = cell.fused(inputs, cell.init_state(2), mask)
        if outputs.requires_grad:
            torch.autograd.grad(outputs.sum(), inputs)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # NotImplementedError is one: a device without the operator
        return False
    return True
