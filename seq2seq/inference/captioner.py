"""Float sequences in, text out, with a bundle of task=captioning.

from seq2seq.inference.captioner import Captioner
from seq2seq.corpora.features import read_features

captioner = Captioner.load("runs/digits/bundle")
captioner.caption(read_features(Path("digits.npz")))
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

import torch

from seq2seq.corpora.features import to_frames
from seq2seq.corpora.store import Frames
from seq2seq.inference.batching import BATCH_SIZE
from seq2seq.inference.request import EncodedRequest
from seq2seq.inference.translation import Translation
from seq2seq.inference.translator import Translator
from seq2seq.nn.types import Features
from seq2seq.search import SearchOptions

CHUNK = 256
"""Sequences that are in memory at once; fewer than lines of text, as they are larger."""


class Captioner(Translator):
    """A `Translator` whose inputs are float sequences [T, F]: arrays or nested lists, one row a frame or region.

    Raises `UserError` for a bundle of another task, and for a sequence whose rows are not the model's F finite numbers.
    """

    task = "captioning"

    def caption(
        self, sequences: Iterable[Any], options: SearchOptions | None = None, *, batch_size: int = BATCH_SIZE
    ) -> list[str]:
        """The best text of each sequence, in order."""
        return [translations[0].text for translations in self.caption_stream(sequences, options, batch_size=batch_size)]

    def caption_stream(
        self,
        sequences: Iterable[Any],
        options: SearchOptions | None = None,
        *,
        batch_size: int = BATCH_SIZE,
        chunk: int = CHUNK,
        numbers: Iterable[int] | None = None,
    ) -> Iterator[list[Translation]]:
        """The `options.n_best` texts of each sequence, best first; `chunk` sequences are in memory at once. `numbers`
        are those of `translate_stream`."""
        numbered = zip(count() if numbers is None else numbers, sequences)
        return self._stream(numbered, options, batch_size=batch_size, chunk=chunk)

    def frames(self, sequence: Any, number: int) -> Frames:
        """A sequence as an array; `number`, from 0, is for the message of the `UserError`."""
        return to_frames(sequence, f"sequence {number + 1}", self.bundle.model.features)

    def _encode(self, items: list[tuple[int, Any]], options: SearchOptions) -> list[EncodedRequest]:
        frames = [self.frames(sequence, number) for number, sequence in items]
        tensors = map(torch.from_numpy, frames)
        return [EncodedRequest(number, values) for (number, _), values in zip(items, tensors, strict=True)]

    def _pad(self, sources: list[Any]) -> Features:
        weight = next(self.bundle.model.parameters())  # for the model's device and dtype
        values = torch.nn.utils.rnn.pad_sequence(sources, batch_first=True).to(weight)
        return Features(values, torch.tensor([len(source) for source in sources], device=weight.device))
