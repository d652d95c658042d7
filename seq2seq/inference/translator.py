"""Translate text with a trained bundle.

from seq2seq import Translator
translator = Translator.load("runs/demo/bundle")
translator("A man sleeps.")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from seq2seq.bundle.format import Bundle, check_task, load_bundle
from seq2seq.errors import UserError
from seq2seq.inference.alignment import Aligner
from seq2seq.inference.batching import BATCH_SIZE, CHUNK, pad_ids, run_batched
from seq2seq.inference.ensemble import Ensemble, check_members
from seq2seq.inference.factored_requests import add_factors
from seq2seq.inference.factors import beyond_words, extended
from seq2seq.inference.minimum_risk import Utility
from seq2seq.inference.notebook import Shown
from seq2seq.inference.request import (
    MAX_SOURCE,
    EncodedRequest,
    Request,
    as_request,
    change_options,
    encode_sources,
    sentences,
    token_constraints,
    untagged,
)
from seq2seq.inference.shallow_fusion import LM_WEIGHT, ShallowFusion, check_language_model
from seq2seq.inference.stepper import Stepper, Translating, check_search, translate_ids
from seq2seq.inference.translation import EMPTY, Translation, ranked
from seq2seq.runtime.threads import set_threads
from seq2seq.search import Hypothesis, SearchOptions, StepFn
from seq2seq.text.tokenizer import LINE_END, columns_of, symbol_id
from seq2seq.text.unseen import decode_batch, known

This = TypeVar("This", bound="Translator")


class Translator:
    """Translates lines of text. The translation of a line does not depend on the other lines nor on `batch_size`.
    Scores, log-probabilities and attention weights depend on them by rounding only, less than 1e-5 (relative, for
    numbers above 1), as the order of summation in a matrix product depends on its shape; a tie as close as that may be
    decided differently.

    `max_source` is the most tokens of a source: longer ones are truncated, with a warning that names the line. A source
    of several columns has tabs between them, and a tag that training did not have is refused, or with `unknown_tags`
    read as unk; values of factors are after a tab each, too, or `factors`. `int8` uses the 8-bit output layer of
    `seq2seq.nn.int8`: faster on a CPU, with nearly the same results. With `others` it is an ensemble
    (seq2seq/inference/ensemble.py), with the search options of the first bundle; `names` are those of the bundles for
    messages.
    """

    task = "translation"

    def __init__(
        self,
        bundle: Bundle,
        *others: Bundle,
        max_source: int = MAX_SOURCE,
        int8: bool = False,
        names: Sequence[str] | None = None,
        unknown_tags: bool = False,
    ) -> None:
        bundles = (bundle, *others)
        for each in bundles:
            check_task(each, self.task)
        if max_source < 1:
            raise UserError(f"max_source={max_source}: must be at least 1")
        self.bundle = bundle
        self.max_source, self.unknown_tags = max_source, unknown_tags
        self.models = [each.model for each in bundles]
        self._columns = columns_of(bundle.tokenizers.source)
        self.model: Translating = bundle.model
        if others:
            check_members(bundles, names or [f"bundle {i}" for i in range(1, len(bundles) + 1)])
            self.model = ensemble = Ensemble(self.models, int8=int8)
            self.step: StepFn[Any, Any] = ensemble.step
        else:
            self.step = Stepper(bundle.model, int8=int8)

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
        unknown_tags: bool = False,
    ) -> This:
        """Load a bundle, or several for an ensemble; `trusted` and what is raised are those of `load_bundle`. `threads`
        sets torch's number of threads for the process; None does not change it."""
        set_threads(threads)
        folders = [folder] if isinstance(folder, Path | str) else folder
        bundles = [load_bundle(each, trusted=trusted, device=device) for each in folders]
        names = [str(each) for each in folders]
        return cls(*bundles, max_source=max_source, int8=int8, names=names, unknown_tags=unknown_tags)

    def add_language_model(self, folder: Path | str, weight: float = LM_WEIGHT, trusted: Sequence[str] = ()) -> None:
        """Let a language model join the search (shallow_fusion.py). Raises `UserError` for a bundle of another task or
        other tokens."""
        language = load_bundle(folder, trusted=trusted, device=str(next(self.bundle.model.parameters()).device))
        check_language_model(self.bundle, language, str(folder), weight)
        self.model = fused = ShallowFusion(self.model, self.step, language.model, weight)
        self.step = fused.step

    def aligner(self) -> Aligner:
        """Derives word alignments from attention weights. Raises `UserError` if no model has attention."""
        model = next((model for model in self.models if model.attends), None)
        if model is None:
            raise UserError(
                "the bundle has no attention to read alignments from; train with context=additive or multiplicative"
            )
        return Aligner(self.bundle.tokenizers, model.encoder.stride, self.max_source)

    def __call__(self, text: str) -> str:
        """The translation of one sentence."""
        return self.translate([text])[0]

    def show(self, text: str) -> Shown:
        """The translation of one sentence for display in a notebook, with probabilities and attention weights."""
        ((best, *_),) = self.translate_full([text], self.options(n_best=1, return_attention=True))
        hypothesis, tokenizers = best.hypothesis, self.bundle.tokenizers
        target = tokenizers.target.tokens(hypothesis.tokens) + ["</s>"] * hypothesis.finished
        shown = Shown(best.text, (), target[: len(hypothesis.token_log_probs)], hypothesis.token_log_probs, [])
        if hypothesis.attention is None:
            return shown
        aligner = self.aligner()
        source = [*tokenizers.source.tokens(aligner.source_ids(text)), "</s>"]
        return shown._replace(source=source, weights=aligner.by_token(text, hypothesis.attention).tolist())

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
        """The bundle's search options, with the given changes.

        `max_length` is the most tokens of a translation, with eos; by default the limit depends on the source's length.
        Raises `UserError` for a value out of its range.
        """
        changes = {name: value for name, value in locals().items() if name != "self"}
        return change_options(self.bundle.search, **changes)

    def translate(
        self,
        lines: Iterable[str | Request],
        *,
        beam_size: int | None = None,
        length_penalty: float | None = None,
        max_length: int | None = None,
        batch_size: int = BATCH_SIZE,
        factors: Mapping[str, Iterable[str]] | None = None,
    ) -> list[str]:
        """The best translation of each line, in order; a line without text becomes an empty one. `factors` are texts
        for the lines, of values of their words, by the names of the factors: {"pos": ["DET NOUN VERB"]}."""
        lines = lines if factors is None else add_factors(lines, factors, self.bundle.tokenizers)
        options = self.options(beam_size=beam_size, length_penalty=length_penalty, n_best=1, max_length=max_length)
        return [translations[0].text for translations in self.translate_stream(lines, options, batch_size=batch_size)]

    def translate_full(
        self,
        lines: Iterable[str | Request],
        options: SearchOptions | None = None,
        *,
        batch_size: int = BATCH_SIZE,
        utility: Utility | None = None,
        factors: Mapping[str, Iterable[str]] | None = None,
    ) -> list[list[Translation]]:
        """The `options.n_best` translations of each line, best first, with scores, and with attention if
        `options.return_attention`; `factors` as in `translate`."""
        lines = lines if factors is None else add_factors(lines, factors, self.bundle.tokenizers)
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
        """`translate_full` as a stream that has `chunk` lines in memory at once.

        `progress` is called after each batch with its number of lines. `numbers` are the line numbers, from 0, if the
        lines are part of a larger text: samples depend on them, and messages contain them. `utility` ranks the
        translations of a line: each distinct one is returned once, best first, with its utility as the score; with
        `sample` and a `minimum_risk.ExpectedUtility` this is minimum Bayes risk decoding.

        Raises:
            UserError: no translation can meet the constraints of a `Request`.
        """
        if isinstance(lines, str):
            raise TypeError("lines is one string, not an iterable of them; call the translator itself, or give a list")
        numbered = zip(count() if numbers is None else numbers, lines)
        return self._stream(numbered, options, utility, batch_size=batch_size, chunk=chunk, progress=progress)

    def _stream(
        self,
        numbered: Iterable[tuple[int, Any]],
        options: SearchOptions | None,
        utility: Utility | None = None,
        **batching: Any,
    ) -> Iterator[list[Translation]]:
        """The translations of numbered items; `batching` are arguments of `run_batched`."""
        options = options or self.bundle.search
        check_search(self.model, options)
        return run_batched(
            numbered,
            encode=lambda items: self._encode(items, options),
            length=lambda line: len(line.source),
            compute=lambda batch: self._translate(batch, options, utility),
            empty=lambda line: [EMPTY],
            **batching,
        )

    def _encode(self, items: list[tuple[int, Any]], options: SearchOptions) -> list[EncodedRequest]:
        """Encode lines, each with its number, from 0, and the constraints on their translations."""
        requests = [as_request(item) for _, item in items]
        sources = self._sources([(number, request.text) for (number, _), request in zip(items, requests, strict=True)])
        encoded = []
        for (number, _), ids, request in zip(items, sources, requests, strict=True):
            source, unseen = self._extended(request.text, ids)
            place, target = f"line {number + 1}", self.bundle.tokenizers.target
            before = self.before(request.tag if source else None, options.return_attention)
            constraints = token_constraints(request, target, len(before) + len(source), options, place)
            encoded.append(EncodedRequest(number, [*before, *source], constraints, bool(before), unseen, request.watch))
        return encoded

    def before(self, tag: str | None, attention: bool) -> list[Any]:
        """What a source with a tag begins with; nothing without one."""
        return [] if tag is None else [beyond_words(self.tag_id(tag, attention), self.bundle.tokenizers)]

    def _extended(self, text: str, source: list[Any]) -> tuple[Any, tuple[str, ...]]:
        """The ids of a source with those of its unknown tokens that can be copied, and these tokens."""
        limit = min((model.decoder.head.unseen for model in self.models if model.copies), default=0)
        return extended(self.bundle.tokenizers, text.rstrip(LINE_END), source, limit) if limit else (source, ())

    def tag_id(self, tag: str, attention: bool, place: str | None = None) -> int:
        """The id of a tag. Raises `UserError`, naming `place` (by default translate-file's option), where there is no
        such symbol, or its attention cannot be left out."""
        place = place or f"--tag {tag}"
        if attention and any(model.encoder.stride > 1 for model in self.models):
            raise UserError(f"{place}: this encoder joins it with the text, whose attention alone is wanted")
        if self.bundle.search.equal_length:
            raise UserError(f"{place}: an output as long as the text has no place for it; leave it out")
        return symbol_id(self.bundle.tokenizers.source, tag, place)

    def _sources(self, lines: list[tuple[int, str]]) -> list[list[Any]]:
        """The ids of sources, as `encode_sources` gives them."""
        known = not self.unknown_tags
        return encode_sources(lines, self.bundle.tokenizers, self._columns, self.max_source, known=known)

    def _translate(
        self, batch: list[EncodedRequest], options: SearchOptions, utility: Utility | None
    ) -> list[list[Translation]]:
        """Translate a batch of lines of similar length."""
        sources = self._pad([line.source for line in batch])
        best = translate_ids(self.model, sources, options, self.step, sentences(batch, self._decode))
        best = [untagged(each) if line.tagged else each for line, each in zip(batch, best, strict=True)]
        return [ranked(each, utility) if utility else each for each in map(self._decode, best, batch)]

    def _pad(self, sources: list[Any]) -> Any:
        return pad_ids(sources, next(self.bundle.model.parameters()).device)

    def _decode(self, hypotheses: list[Hypothesis], line: EncodedRequest) -> list[Translation]:
        """The text of hypotheses, whose tokens are then those of the vocabulary."""
        tokenizer, ids = self.bundle.tokenizers.target, [hypothesis.tokens for hypothesis in hypotheses]
        texts = decode_batch(tokenizer, ids, line.unseen) if line.unseen else tokenizer.decode_batch(ids)
        if line.unseen:
            hypotheses = [each._replace(tokens=known(tokenizer, each.tokens)) for each in hypotheses]
        return [Translation(*pair) for pair in zip(texts, hypotheses, strict=True)]
