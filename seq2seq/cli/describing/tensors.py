"""The header of a safetensors file, read without torch."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.errors import UserError
from seq2seq.runtime.strict_json import parse

HEADER = 1 << 22  # most bytes of a header, as in seq2seq.bundle.weights
BYTES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}
AXES = 8  # most dimensions of a tensor


class Weights(NamedTuple):
    """The number of parameters, their types, and the numbers in each part of the model."""

    numbers: int
    kinds: str
    parts: dict[str, int]


def read_weights(path: Path) -> Weights:
    """Read a header. Raises `UserError` unless it describes a file of exactly this size."""
    if not path.is_file() or path.resolve().parent != path.parent.resolve():
        raise UserError(f"{path}: is missing, or is no file of this folder; copy the bundle again")
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(min(length, HEADER))
    try:
        if length > HEADER or len(header) < length:
            raise ValueError(f"its header would have {length:,} bytes")
        return _counted(parse(header.decode("utf-8")), size - 8 - length)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path}: does not fit the format of safetensors ({type(error).__name__}: {error}); copy the bundle again"
        ) from None


def _counted(tensors: dict[str, Any], space: int) -> Weights:
    parts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    end = 0
    for name, tensor in tensors.items():
        if name == "__metadata__":
            continue
        shape, (begin, last) = tensor["shape"], tensor["data_offsets"]
        valid = len(shape) <= AXES and all(isinstance(side, int) and side >= 0 for side in (*shape, begin, last))
        if not valid or math.prod(shape) * BYTES[tensor["dtype"]] != last - begin:
            raise ValueError(f"{name[:80]!r} has not the size that its shape says")
        parts[_part(name)] += math.prod(shape)
        kinds[tensor["dtype"]] += 1
        end = max(end, last)
    if end != space:
        raise ValueError(f"{space:,} bytes of tensors where {end:,} are described")
    return Weights(sum(parts.values()), ", ".join(sorted(kinds)), dict(parts))


def _part(name: str) -> str:
    """The part of the model of a parameter; the decoder's context and head are separate parts."""
    first, *rest = name.split(".")
    return f"{first}.{rest[0]}" if first == "decoder" and rest and rest[0] in ("context", "head") else first
