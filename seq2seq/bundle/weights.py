"""Weights in files that are not trusted: of a bundle, a model that takes no more than its safetensors file says that it
holds; of a run, a checkpoint of tensors and plain types. Nothing is unpickled."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from seq2seq.errors import UserError

HEADER = 1 << 22  # bytes: a header describes a tensor in about 100
FLOATS = ("F16", "BF16", "F32", "F64")
FACTORIES = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn)
SPARE = 1 << 20  # numbers that a model may have in addition to its weights


class Header(NamedTuple):
    """The number of tensors of a file, and of the numbers in them."""

    tensors: int
    numbers: int


def read_header(path: Path) -> Header:
    """Read no tensor. Raises UserError unless the file is a complete safetensors file of floating-point numbers."""
    from safetensors import SafetensorError, safe_open

    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > HEADER:
        raise UserError(f"{path}: does not fit the format of safetensors: its header would have {length:,} bytes")
    try:
        with safe_open(path, "pt") as tensors:
            slices = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118
            kinds = {name: part.get_dtype() for name, part in slices.items()}
            numbers = sum(math.prod(part.get_shape()) for part in slices.values())
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: does not fit the format of safetensors: {error}; copy the bundle again") from None
    for name, kind in kinds.items():
        if kind not in FLOATS:
            raise UserError(f"{path}: does not fit a model: {name!r} is of type {kind}, not of {', '.join(FLOATS)}")
    return Header(len(slices), numbers)


def build_within(header: Header, make: Callable[[], nn.Module]) -> nn.Module:
    """The model that `make` builds; UserError instead of a model that is much larger than the file of its weights.

    The draws of its first weights leave no trace in the random generator.
    """
    with torch.random.fork_rng(devices=[]), _Budget(4 * header.numbers + SPARE):
        return make()


def check_depth(config: Mapping[str, Any], header: Header) -> None:
    """Raise UserError where a node asks for more layers than there are tensors."""
    for name, node in config.items():
        layers = node.get("num_layers", 0) if isinstance(node, Mapping) else 0
        if isinstance(layers, int) and layers > header.tensors:
            raise UserError(f"{name}.num_layers={layers}: the file of the weights has only {header.tensors} tensors")


def load_weights(model: nn.Module, path: Path) -> None:
    """Copy the weights into the parameters, which are tied already. Raises UserError where they do not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_model

    try:
        load_model(model, path)
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: does not fit the model of config.json: {reason}; copy the whole bundle again"
        ) from None


class _Budget(TorchFunctionMode):
    """Raises UserError, before they are made, for tensors of more than `limit` numbers in all."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._left = self._limit = limit

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        if function in FACTORIES:
            size = options.get("size", args)
            size = size[0] if size and isinstance(size[0], (tuple, list)) else size
            self._left -= math.prod(part for part in size if isinstance(part, int))
            if self._left < 0:
                raise UserError(
                    f"a tensor of {list(size)}: the model would have more than {self._limit:,} numbers, far more than "
                    "the file of its weights"
                )
        return function(*args, **options)


def read_checkpoint(path: Path, *, remedy: str = "", mapped: bool = True) -> dict[str, Any]:
    """Read a checkpoint of Lightning's, on the CPU; `mapped` into memory, so that only what is used is read.

    Raises `UserError`, with the `remedy`, for a file that is damaged, or holds anything but tensors and plain types:
    that would have to be unpickled, and is not, whatever the environment says.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        if not isinstance(found, dict):
            raise TypeError(f"it holds a {type(found).__name__}")
    except Exception as error:  # torch has no error of its own for a file that is cut or foreign
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: is damaged, or no checkpoint of tensors and plain types ({reason}){remedy}") from None
    return found
