"""Two tokenizers of different kinds: graphemes and phonemes, characters and words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from seq2seq.errors import UserError
from seq2seq.text.tokenizer import Sampling, Tokenizer, TokenizerTrainer


class SourceAndTarget(TokenizerTrainer):
    """A trainer for each side. Raises UserError if the target's samples: only the source's segmentation can."""

    def __init__(self, source: Callable[[], TokenizerTrainer], target: Callable[[], TokenizerTrainer]) -> None:
        self.source = source()
        self.target = target()
        self.joint = False
        self.symbols = self.source.symbols
        self.training_lines = self.source.training_lines
        if self.target.sampling:
            raise UserError(
                "tokenizer.target.sampling_alpha: only the source's segmentation can be sampled; set it to 0"
            )

    def settings(self) -> dict[str, Any]:
        """The settings of both trainers."""
        return {"source": self.source.settings(), "target": self.target.settings()}

    def train(self, lines: Iterable[str]) -> Tokenizer:
        """Train the source's tokenizer."""
        return self.source.train(lines)

    def train_side(self, lines: Iterable[str], side: Literal["source", "target"]) -> Tokenizer:
        """Train the source's tokenizer, as its trainer does."""
        return self.source.train_side(lines, "source")

    def for_target(self) -> TokenizerTrainer:
        """The trainer of the target's tokenizer."""
        return self.target

    @property
    def sampling(self) -> Sampling | None:
        """The source trainer's sampling, applied to the source only."""
        return self.source.sampling and self.source.sampling._replace(source=True, target=False)
