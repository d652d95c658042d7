"""seq2seq: sequence-to-sequence translation with recurrent networks.

`Translator` translates text with a trained bundle, `Predictor` labels it; both, and torch with them, are imported at
first use.
"""

import os
import sys
from typing import TYPE_CHECKING

from seq2seq.runtime import old_imports
from seq2seq.runtime.threads import set_wait_policy

if TYPE_CHECKING:
    from seq2seq.inference.predictor import Predictor
    from seq2seq.inference.translator import Translator

if sys.platform == "darwin":  # read when torch is loaded: an operator that MPS lacks runs on the CPU, and torch says so
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")

__version__ = "0.1.0"
__all__ = ["Predictor", "Translator", "__version__"]


set_wait_policy()  # before torch is loaded
old_imports.install()


def __getattr__(name: str) -> object:
    if name == "Predictor":
        from seq2seq.inference.predictor import Predictor

        return Predictor
    if name == "Translator":
        from seq2seq.inference.translator import Translator

        return Translator
    raise AttributeError(f"module 'seq2seq' has no attribute {name!r}")
