"""Text in, text out, with a trained bundle.

from seq2seq import Translator
translator = Translator.load("runs/demo/bundle")
translator("A man sleeps.")
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

import torch

from seq2seq.bundle.format import Bundle, check_task, load_bundle
from seq2seq.errors import UserError
from seq2seq.inference.alignment import Aligner
from seq2seq.inference.ensemble import Ensemble, check_members
from seq2seq.inference.notebook import Shown
from seq2seq.inference.request import NOTHING, Asked, Request, asked
from seq2seq.inference.stepper import Stepper, Translating, check_search, translate_ids
from seq2seq.nn.types import Tokens
from seq2seq.search import Hypothesis, SearchOptions, Sentences
from seq2seq.text import EOS, PAD, check_text, without_line_end

BATCH_SIZE = 128
CHUNK = 4096
"""Lines that are held at once, and sorted by length."""

LONG = 64
"""Pieces. A batch with a longer source holds fewer sentences, so that its padded size stays below batch_size · LONG."""

MAX_SOURCE = 1024
"""Pieces. What a source has beyond them is cut off, with a warning."""

log = logging.getLogger(__name__)
This = TypeVar("This", bound="Translator")


class Translation(NamedTuple):
    """One translation of a line, and the hypothesis behind it: its pieces, score and attention."""

    text: str
    hypothesis: Hypothesis


Utility: TypeAlias = Callable[[Sequence[str]], Sequence[float]]
"""A number for each of several translations of a line, given all of them: see `seq2seq.inference.minimum_risk`."""

EMPTY = Translation("", Hypothesis([], 0.0, 0.0, [], finished=True))
"""The only translation of a line without text."""


class Translator:
    """Translates lines of text. What a line becomes depends neither on its neighbours nor on `batch_size`: the texts
    are equal. Scores, log-probabilities and attention weights are equal within 1e-5 (of the number, where that is above
    1), as a product of matrices is added up in an order that depends on their shapes; a tie as close may fall either
    way.

    `max_source` is the limit of a source in pieces: the rest is cut off, with a warning that says the line's number.
    `int8` takes the 8-bit output layer of `seq2seq.nn.int8`: on a CPU faster, and nearly the same. With `others` it is
    an ensemble (seq2seq/inference/ensemble.py), whose search options are those of the first; `names` are what errors
    call them.
    """

    task = "translation"

    def __init__(
        self,
        bundle: Bundle,
        *others: Bundle,
        max_source: int = MAX_SOURCE,
        int8: bool = False,
        names: Sequence[str] | None = None,
    ) -> None:
        bundles = (bundle, *others)
        for each in bundles:
            check_task(each, self.task)
        if max_source < 1:
            raise UserError(f"max_source={max_source}: must be at least 1")
        check_members(bundles, names or [f"bundle {i}" for i in range(1, len(bundles) + 1)])
        self.bundle, self.max_source = bundle, max_source
        ensemble = Ensemble([each.model for each in bundles], int8=int8) if others else None
        self.model: Translating = ensemble or bundle.model
        self.step = ensemble.step if ensemble else Stepper(bundle.model, int8=int8)

    @classmethod
    def load(
        cls: type[This],
        folder: Path | str | Sequence[Path | str],
        device: str = "cpu",
        threads: int | None = None,
        trusted: Sequence[str] = (),
        *,
        max_source: int = MAX_SOURCE,
        int8: bool = False,
    ) -> This:
        """Read a bundle, or several for an ensemble; see `load_bundle` for `trusted` and for the errors. `threads` is
        torch's number of threads, for the whole process; None leaves it as it is."""
        if threads is not None:
            if threads < 1:
                raise UserError(f"threads={threads}: must be at least 1")
            torch.set_num_threads(threads)
        folders = [folder] if isinstance(folder, Path | str) else folder
        bundles = [load_bundle(each, trusted=trusted, device=device) for each in folders]
        return cls(*bundles, max_source=max_source, int8=int8, names=[str(each) for each in folders])

    def aligner(self) -> Aligner:
        """What reads word alignments off the attention. Raises `UserError` where no model attends."""
        looking = [self.model.models[i] for i in self.model.looking] if isinstance(self.model, Ensemble) else []
        model = looking[0] if looking else self.bundle.model
        if not model.decoder.context.attends:
            raise UserError(
                "the bundle has no attention to read alignments from; train with context=additive or multiplicative"
            )
        return Aligner(self.bundle.tokenizers, model.encoder.stride, self.max_source)

    def __call__(self, text: str) -> str:
        """The translation of one sentence."""
        return self.translate([text])[0]

    def show(self, text: str) -> Shown:
        """The translation of one sentence to look at: in a notebook it draws where each piece came from."""
        ((best, *_),) = self.translate_full([text], self.options(n_best=1, return_attention=True))
        hypothesis, tokenizers = best.hypothesis, self.bundle.tokenizers
        target = tokenizers.target.pieces(hypothesis.tokens) + ["</s>"] * hypothesis.finished
        shown = Shown(best.text, (), target[: len(hypothesis.token_log_probs)], hypothesis.token_log_probs, [])
        if hypothesis.attention is None:
            return shown
        aligner = self.aligner()
        source = [*tokenizers.source.pieces(aligner.source_ids(text)), "</s>"]
        return shown._replace(source=source, weights=aligner.by_piece(text, hypothesis.attention).tolist())

    def options(
        self,
        *,
        beam_size: int | None = None,
        length_penalty: float | None = None,
        coverage_penalty: float | None = None,
        n_best: int | None = None,
        min_length: int | None = None,
        max_length: int | None = None,
        no_repeat_ngram: int | None = None,
        diversity_groups: int | None = None,
        diversity_penalty: float | None = None,
        sample: bool | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        return_attention: bool | None = None,
    ) -> SearchOptions:
        """The bundle's search options, changed where a value is given.

        `max_length` is the most pieces of a translation, the end counted; without it the limit follows the source's
        length. Raises `UserError` for a value out of its range.
        """
        given = {name: value for name, value in locals().items() if name in SearchOptions.__dataclass_fields__}
        limits = {} if max_length is None else {"max_length_ratio": 0.0, "max_length_extra": max_length}
        changes = {name: value for name, value in given.items() if value is not None}
        return replace(self.bundle.search, **changes, **limits)  # type: ignore[arg-type]

    def translate(
        self,
        lines: Iterable[str | Request],
        *,
        beam_size: int | None = None,
        length_penalty: float | None = None,
        max_length: int | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> list[str]:
        """The best translation of each line, in order; a line without text becomes an empty one."""
        options = self.options(beam_size=beam_size, length_penalty=length_penalty, n_best=1, max_length=max_length)
        return [found[0].text for found in self.translate_stream(lines, options, batch_size=batch_size)]

    def translate_full(
        self,
        lines: Iterable[str | Request],
        options: SearchOptions | None = None,
        *,
        batch_size: int = BATCH_SIZE,
        utility: Utility | None = None,
    ) -> list[list[Translation]]:
        """The `options.n_best` translations of each line, best first, with scores (and attention, if asked for)."""
        return list(self.translate_stream(lines, options, batch_size=batch_size, utility=utility))

    def translate_stream(
        self,
        lines: Iterable[str | Request],
        options: SearchOptions | None = None,
        *,
        batch_size: int = BATCH_SIZE,
        chunk: int = CHUNK,
        progress: Callable[[int], object] | None = None,
        utility: Utility | None = None,
        numbers: Iterable[int] | None = None,
    ) -> Iterator[list[Translation]]:
        """`translate_full` as a stream that holds `chunk` lines at once.

        `progress` is called with the number of lines that were translated, a batch at a time. `numbers` are the lines',
        from 0, where they are part of a text: draws depend on them, and messages name them. `utility` numbers the
        translations of a line: they are returned once each, best first, that number in place of their score; with
        draws and a `minimum_risk.ExpectedUtility` this is minimum Bayes risk.

        Raises:
            UserError: what a `Request` asks for cannot be had.
        """
        if isinstance(lines, str):
            raise TypeError("lines is one string, not an iterable of them; call the translator itself, or give a list")
        return self._stream(lines, options, batch_size, chunk, progress, utility, numbers)

    def check(self, requests: Iterable[str | Request], options: SearchOptions | None = None) -> None:
        """Raise `UserError` for the first line that asks for what cannot be had, before any is translated."""
        requests, numbers, options = iter(requests), count(), options or self.bundle.search
        while items := list(islice(requests, CHUNK)):
            texts = [item.text if isinstance(item, Request) else item for item in items]
            ids = self.bundle.tokenizers.source.encode_batch(texts)
            lengths = [min(len(each), self.max_source) + 1 for each in ids]
            self._asked(items, lengths, options, list(islice(numbers, len(items))))

    def _stream(
        self,
        items: Iterable[Any],
        options: SearchOptions | None,
        batch_size: int,
        chunk: int,
        progress: Callable[[int], object] | None = None,
        utility: Utility | None = None,
        numbers: Iterable[int] | None = None,
    ) -> Iterator[list[Translation]]:
        """`translate_stream` of whatever `_encode` takes."""
        if batch_size < 1 or chunk < 1:
            raise UserError(f"batch_size={batch_size}, chunk={chunk}: must be at least 1")
        options, progress = options or self.bundle.search, progress or (lambda count: None)
        check_search(self.model, options)
        counter = iter(count() if numbers is None else numbers)
        return self._chunks(iter(items), options, batch_size, chunk, progress, utility, counter)

    def _chunks(
        self,
        lines: Iterator[Any],
        options: SearchOptions,
        batch_size: int,
        chunk: int,
        progress: Callable[[int], object],
        utility: Utility | None,
        counter: Iterator[int],
    ) -> Iterator[list[Translation]]:
        while items := list(islice(lines, chunk)):
            numbers = list(islice(counter, len(items)))
            texts = [item.text if isinstance(item, Request) else item for item in items]
            sources = self._encode(texts, numbers)
            wanted = self._asked(items, [len(source) for source in sources], options, numbers)
            translations = [[EMPTY] for _ in texts]
            progress(sum(not len(source) for source in sources))
            for batch in batches([len(source) for source in sources], batch_size):
                padded, sentences = self._batch([sources[i] for i in batch]), _sentences(wanted, batch, numbers)
                found = translate_ids(self.model, padded, options, self.step, sentences)
                for i, hypotheses in zip(batch, found, strict=True):
                    translations[i] = _by_utility(self._decode(hypotheses), utility)
                progress(len(batch))
            yield from translations

    def _encode(self, texts: list[Any], numbers: Sequence[int]) -> list[Any]:
        """Ids with eos; none for a line without text. The lines have these `numbers`, from 0, and may have their ends,
        as Python reads them."""
        for number, text in zip(numbers, texts, strict=True):
            check_text(text, f"line {number + 1}")
        texts = list(map(without_line_end, texts))
        sources = self.bundle.tokenizers.source.encode_batch(texts)
        for i, text in enumerate(texts):
            if not text.strip():
                sources[i] = []
            elif len(sources[i]) > self.max_source:
                log.warning(
                    "line %d: its %d pieces are cut to the first %d", numbers[i] + 1, len(sources[i]), self.max_source
                )
                sources[i] = sources[i][: self.max_source]
        return [[*source, EOS] if source else [] for source in sources]

    def _asked(
        self, items: list[Any], lengths: list[int], options: SearchOptions, numbers: Sequence[int]
    ) -> list[Asked]:
        """What each line asks for; `lengths` are those of the sources, with eos."""
        target = self.bundle.tokenizers.target
        return [
            asked(item, target, length, options, f"line {number + 1}") if isinstance(item, Request) else NOTHING
            for item, length, number in zip(items, lengths, numbers, strict=True)
        ]

    def _batch(self, sources: list[Any]) -> Any:
        device = next(self.bundle.model.parameters()).device
        rows = [torch.tensor(source) for source in sources]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
        return Tokens(ids.to(device), torch.tensor([len(source) for source in sources], device=device))

    def _decode(self, hypotheses: list[Hypothesis]) -> list[Translation]:
        texts = self.bundle.tokenizers.target.decode_batch([hypothesis.tokens for hypothesis in hypotheses])
        return [Translation(*pair) for pair in zip(texts, hypotheses, strict=True)]


def _sentences(wanted: list[Asked], batch: list[int], numbers: Sequence[int]) -> Sentences:
    """For the search of a batch of lines, which have these `numbers`."""
    prefixes, constraints = zip(*(wanted[i] for i in batch), strict=True)
    mine = [numbers[i] for i in batch]
    return Sentences(prefixes if any(prefixes) else None, constraints if any(constraints) else None, mine)


def _by_utility(found: list[Translation], utility: Utility | None) -> list[Translation]:
    """The different texts, best first, each with its first hypothesis."""
    if utility is None:
        return found
    numbers = utility([translation.text for translation in found])
    best: dict[str, Translation] = {}
    for (text, hypothesis), number in zip(found, numbers, strict=True):
        best.setdefault(text, Translation(text, hypothesis._replace(score=number)))
    return sorted(best.values(), key=lambda translation: -translation.hypothesis.score)


def batches(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Positions of the non-zero lengths in batches of near lengths, longest first; see `LONG`."""
    order = sorted((i for i, length in enumerate(lengths) if length), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        size = max(1, batch_size * LONG // max(LONG, lengths[order[start]]))
        yield order[start : start + size]
        start += size
