"""Lightning's errors as one line: combinations of `trainer` options that only it knows."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning_fabric
import pytorch_lightning
from lightning_fabric.utilities.exceptions import MisconfigurationException

from seq2seq.errors import UserError

FOLDERS = tuple(Path(str(each.__file__)).parent for each in (pytorch_lightning, lightning_fabric))


@contextmanager
def naming_lightning() -> Iterator[None]:
    """Raise `UserError` where Lightning refuses what the block asks for: by its own class of error, or by one of
    Python's that its own code raises."""
    try:
        yield
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
        if not isinstance(error, MisconfigurationException) and not _is_lightnings(error):
            raise
        said = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"trainer: Lightning refuses these options: {said}") from None


def _is_lightnings(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and any(Path(frames[-1].filename).is_relative_to(folder) for folder in FOLDERS)
