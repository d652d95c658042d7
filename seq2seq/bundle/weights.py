"""Loading weights from untrusted files: a bundle's model may not be larger than its safetensors file; a run's
checkpoint may have tensors and plain types only. Nothing is unpickled."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from seq2seq.errors import UserError

HEADER = 1 << 22  # most bytes of a header, which needs about 100 for each tensor
FLOATS = ("F16", "BF16", "F32", "F64")
FACTORIES = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn)
SPARE = 1 << 20  # numbers that a model may have next to its weights


class Header(NamedTuple):
    """The number of tensors in a file, and of all their elements."""

    tensors: int
    numbers: int


def read_header(path: Path) -> Header:
    """Read the header, and no tensor. Raises UserError unless the file is a complete safetensors file of floats."""
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
    """Call `make` to build a model. Raises UserError if the model would be much larger than the file of its weights.

    The state of the random generator is unchanged.
    """
    with torch.random.fork_rng(devices=[]), _Budget(4 * header.numbers + SPARE):
        return make()


def check_depth(config: Mapping[str, Any], header: Header) -> None:
    """Raise UserError if a node has more layers than the file has tensors."""
    extra = config.get("extra_encoders")
    for name, node in [*config.items(), *(extra.items() if isinstance(extra, Mapping) else ())]:
        layers = node.get("num_layers", 0) if isinstance(node, Mapping) else 0
        if isinstance(layers, int) and layers > header.tensors:
            raise UserError(f"{name}.num_layers={layers}: the file of the weights has only {header.tensors} tensors")


def load_weights(model: nn.Module, path: Path) -> None:
    """Copy the weights into the parameters, which are tied already. Raises UserError if they do not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_model

    try:
        load_model(model, path)
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: does not fit the model of config.json: {reason}; copy the bundle again") from None


class _Budget(TorchFunctionMode):
    """Raises UserError when the tensors created in the context would have more than `limit` elements in all."""

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
    """Load a checkpoint of Lightning's on the CPU; if `mapped`, it is memory-mapped.

    Raises `UserError`, with the `remedy`, for a file that is damaged, or has anything but tensors and plain types: that
    would have to be unpickled, which never happens.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        if not isinstance(checkpoint, dict):
            raise TypeError(f"it holds a {type(checkpoint).__name__}")
    except Exception as error:  # torch has no exception class for truncated or foreign files
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: is damaged, or no checkpoint of tensors and plain types ({reason}){remedy}") from None
    return checkpoint
