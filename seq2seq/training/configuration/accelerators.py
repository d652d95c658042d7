"""Whether this machine has the accelerator that a run asks for: found out before Lightning is imported."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import torch

from seq2seq.errors import UserError


def check_accelerator(trainer: Mapping[str, Any]) -> None:
    """Raise `UserError` for a `trainer.accelerator` that is not there, and for float64 on MPS, which has none."""
    asked = trainer.get("accelerator") or "auto"
    what, is_there = ACCELERATORS.get(asked, ("", lambda: True))
    if not is_there():
        there = ", ".join(name for name, (_, is_available) in ACCELERATORS.items() if is_available())
        others = f" ({there} is there)" if there else ""
        raise UserError(f"trainer.accelerator={asked}: this machine has no {what}{others}; set it to auto or cpu")
    double = str(trainer.get("precision", "32")) in ("64", "64-true")
    if double and asked in ("mps", "gpu", "auto") and chosen(asked) == "mps":
        raise UserError(
            f"trainer.precision={trainer['precision']}: MPS has no float64; set trainer.accelerator=cpu, or "
            "trainer.precision=32-true"
        )


def set_float32_precision(precision: str | None) -> None:
    """Set how exactly products of float32 are computed, by matrix units and by cuDNN's recurrent kernels: `highest` in
    float32, `high` in TF32 (19 bits) where the device has it. None leaves all as torch has it, which is float32 for
    products and TF32 within cuDNN."""
    if precision is not None:
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = precision == "high"


def chosen(asked: str) -> str:
    """What Lightning takes for auto and gpu: MPS first, then CUDA."""
    if asked not in ("auto", "gpu"):
        return asked
    return next((name for name in ("mps", "cuda") if ACCELERATORS[name][1]()), "cpu")


def _has_cuda() -> bool:
    return torch.cuda.is_available()


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def _has_tpu() -> bool:
    if importlib.util.find_spec("torch_xla") is None:
        return False
    from pytorch_lightning.accelerators import XLAAccelerator

    return XLAAccelerator.is_available()


ACCELERATORS: dict[str, tuple[str, Callable[[], bool]]] = {
    "gpu": ("GPU that torch can use", lambda: _has_cuda() or _has_mps()),
    "cuda": ("NVIDIA or AMD GPU that torch can use", lambda: _has_cuda()),
    "mps": ("GPU of Apple's that torch can use", lambda: _has_mps()),
    "tpu": ("TPU, or torch_xla is not installed", _has_tpu),
}
