"""Labels for text, with the bundle of a tagger or a classifier.

from seq2seq import Predictor
predictor = Predictor.load("runs/slots/bundle")
predictor("play Moon by Pearl")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import torch

from seq2seq.bundle.format import Bundle, check_task, load_bundle
from seq2seq.inference.batching import BATCH_SIZE, CHUNK, pad_ids, run_batched
from seq2seq.models.label_model import Labels
from seq2seq.models.task_descriptors import LABELLING
from seq2seq.runtime.threads import set_threads
from seq2seq.text import EOS, LINE_END, LabelTokenizer, check_text

DECIMALS = 4
"""Decimals of probabilities in output: rounding in float32 depends on the batch, by less than 1e-5."""


class Predicted(NamedTuple):
    """The labels of one line: as text, as a list for each word (or one for the text), and all labels'
    probabilities."""

    text: str
    labels: list[list[str]]
    probabilities: torch.Tensor  # [words, V]; one row for a text

    def as_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """The labels and the probabilities by label name, largest first, for a line of JSON.

        Probabilities are rounded to `DECIMALS`, so that another batch changes the last decimal by one at most. Of equal
        ones, those of the predicted labels come first.
        """
        rows = []
        for chosen, row in zip(self.labels, self.probabilities.tolist(), strict=True):
            pairs = [(name, round(p, DECIMALS)) for name, p in zip(names, row, strict=True)]
            rows.append(dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0] not in chosen))))
        return {"labels": self.labels, "probabilities": rows}


class Predictor:
    """Labels lines of text. A line's labels do not depend on the other lines nor on `batch_size`; its probabilities
    depend on them by rounding only, less than 1e-5 (which may decide a tie)."""

    def __init__(self, bundle: Bundle) -> None:
        check_task(bundle, *LABELLING)
        self.bundle = bundle
        assert isinstance(bundle.tokenizers.target, LabelTokenizer)
        self.labels = bundle.tokenizers.target

    @classmethod
    def load(
        cls, folder: Path | str, device: str = "cpu", threads: int | None = None, trusted: Sequence[str] = ()
    ) -> Predictor:
        """Load a bundle; `trusted` and what is raised are those of `load_bundle`. `threads` sets torch's number of
        threads for the process; None does not change it."""
        set_threads(threads)
        return cls(load_bundle(folder, trusted=trusted, device=device))

    def __call__(self, text: str) -> str:
        """The labels of one line."""
        return self.predict([text])[0]

    def predict(self, lines: Iterable[str], *, batch_size: int = BATCH_SIZE) -> list[str]:
        """The labels of each line, in order, as text; for a tagger, a line without words has an empty text."""
        return [predicted.text for predicted in self.predict_stream(lines, batch_size=batch_size)]

    def predict_stream(
        self,
        lines: Iterable[str],
        *,
        batch_size: int = BATCH_SIZE,
        chunk: int = CHUNK,
        progress: Callable[[int], object] | None = None,
    ) -> Iterator[Predicted]:
        """Labels with probabilities, as a stream that has `chunk` lines in memory at once.

        `progress` is called after each batch with its number of lines.
        """
        if isinstance(lines, str):
            raise TypeError("lines is one string, not an iterable of them; call the predictor itself, or give a list")
        return run_batched(
            zip(count(1), lines),
            encode=self._encode,
            length=len,
            compute=self._label,
            empty=lambda ids: Predicted("", [], torch.zeros(0, len(self.labels.labels))),
            batch_size=batch_size,
            chunk=chunk,
            progress=progress,
        )

    def _encode(self, items: list[tuple[int, str]]) -> list[list[int]]:
        """Encode lines, each with its number, from 1, for messages."""
        for number, text in items:
            check_text(text, f"line {number}")
        encoded = self.bundle.tokenizers.source.encode_batch([text.rstrip(LINE_END) for _, text in items])
        return [[*ids, EOS] for ids in encoded] if self.bundle.model.reads_eos else encoded

    @torch.no_grad()
    def _label(self, sources: list[list[int]]) -> list[Predicted]:
        model: Any = self.bundle.model
        return written(model.predict(pad_ids(sources, next(model.parameters()).device)), self.labels)


def written(labels: Labels, names: LabelTokenizer) -> list[Predicted]:
    """The labels of a batch as text, one `Predicted` for each sentence (or text)."""
    sets: list[list[str]] = [[] for _ in labels.chosen]
    for row, label in labels.chosen.nonzero().tolist():
        sets[row].append(names.labels[label])
    stream = iter(sets)
    counts = labels.counts.tolist()
    lists = [list(islice(stream, count)) for count in counts]
    rows = labels.probabilities.cpu().split(counts)
    return [Predicted(names.join(each), each, probabilities) for each, probabilities in zip(lists, rows, strict=True)]
