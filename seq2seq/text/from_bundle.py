"""The tokenizers of a bundle for another model, such as a language model that is to join a translator's search."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from seq2seq.text.loading import load_tokenizers
from seq2seq.text.tokenizer import Tokenizer, TokenizerTrainer


class BundleTokenizer(TokenizerTrainer):
    """Trains nothing: gives the tokenizer of one `side` of `bundle`, or of `both`. Raises UserError, once it is asked,
    for a folder that has no tokenizers."""

    training_lines = 1

    def __init__(self, bundle: str, side: Literal["source", "target", "both"] = "target") -> None:
        self.bundle, self.side = Path(bundle).expanduser(), side
        self.joint = side != "both"

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        tokenizer: Tokenizer = getattr(load_tokenizers(self.bundle), "source" if self.side == "both" else self.side)
        return tokenizer

    def train(self, lines: Iterable[str]) -> Tokenizer:
        """The bundle's tokenizer, whatever the lines; of both sides, the source's."""
        return self._tokenizer

    def for_target(self) -> TokenizerTrainer:
        """The same for the target."""
        return BundleTokenizer(str(self.bundle), "target") if self.side == "both" else self

    def settings(self) -> dict[str, Any]:
        """What the tokenizer is."""
        both = {"target": self.for_target().settings()} if self.side == "both" else {}
        return {"kind": "bundle", "fingerprint": self._tokenizer.fingerprint} | both
