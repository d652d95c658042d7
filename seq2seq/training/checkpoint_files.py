"""Checkpoints as files: for going on with one's own runs, and all the same not unpickled."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from seq2seq.errors import UserError


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of Lightning's, on the CPU.

    Raises `UserError` for a file that is damaged, or holds anything beside tensors and plain types: that would have to
    be unpickled, and is not, whatever the environment says.
    """
    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: is no checkpoint of tensors and plain types, or is damaged ({reason})") from None
    return found
