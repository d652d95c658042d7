"""Numbers or labels for float sequences, with a bundle of task=regression, or of classification from features.

from seq2seq.corpora.features import read_features
from seq2seq.inference.feature_predictor import FeaturePredictor

predictor = FeaturePredictor.load("runs/prices/bundle")
predictor.predict(read_features(Path("windows.npz")))
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import torch

from seq2seq.bundle.format import Bundle, check_task, load_bundle
from seq2seq.corpora.features import to_frames
from seq2seq.errors import UserError
from seq2seq.inference.batching import BATCH_SIZE, run_batched
from seq2seq.inference.predictor import Predicted, written
from seq2seq.nn.types import Features
from seq2seq.text import LabelTokenizer
from seq2seq.text.numbers import written as as_text

CHUNK = 256
"""Sequences that are in memory at once; fewer than lines of text, as they are larger."""


class FeaturePredictor:
    """Predicts from float sequences [T, F]: arrays or nested lists, one row a time step. The outputs depend on the
    other sequences of a batch by rounding only.

    Raises `UserError` for a bundle that reads text, and for a sequence whose rows are not the model's F finite numbers.
    """

    def __init__(self, bundle: Bundle) -> None:
        check_task(bundle, "regression", "classification")
        if bundle.model.features is None:
            raise UserError("the bundle reads text, not features; use seq2seq.Predictor")
        self.bundle = bundle

    @classmethod
    def load(cls, folder: Path | str, device: str = "cpu", trusted: Iterable[str] = ()) -> FeaturePredictor:
        """Load a bundle; `trusted` and what is raised are those of `load_bundle`."""
        return cls(load_bundle(folder, trusted=list(trusted), device=device))

    def predict(self, sequences: Iterable[Any], *, batch_size: int = BATCH_SIZE) -> Iterator[str]:
        """The numbers (with spaces between them) or labels of each sequence, in order."""
        for output in self.outputs(sequences, batch_size=batch_size):
            yield output.text if isinstance(output, Predicted) else as_text(output)

    def outputs(self, sequences: Iterable[Any], *, batch_size: int = BATCH_SIZE) -> Iterator[Any]:
        """A list of numbers, or the labels with their probabilities, for each sequence."""
        return run_batched(
            zip(count(1), sequences),
            encode=self._encode,
            length=len,
            compute=self._compute,
            empty=lambda rows: None,
            batch_size=batch_size,
            chunk=CHUNK,
        )

    def _encode(self, items: list[tuple[int, Any]]) -> list[torch.Tensor]:
        width = self.bundle.model.features
        return [torch.from_numpy(to_frames(sequence, f"sequence {number}", width)) for number, sequence in items]

    @torch.no_grad()
    def _compute(self, sequences: list[torch.Tensor]) -> list[Any]:
        model: Any = self.bundle.model
        weight = next(model.parameters())
        values = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True).to(weight)
        lengths = torch.tensor([len(each) for each in sequences], device=weight.device)
        predicted = model.predict(Features(values, lengths))
        target = self.bundle.tokenizers.target
        if isinstance(target, LabelTokenizer):
            return list(written(predicted, target))
        rows: list[Any] = predicted.cpu().tolist()
        return rows
