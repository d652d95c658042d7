"""Translation and captioning over HTTP: n-best lists, constraints, alignments, attention and alternatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, TypeVar

from seq2seq.bundle.format import Bundle
from seq2seq.errors import UserError
from seq2seq.inference.alternatives import AlternativesTranslator
from seq2seq.inference.captioner import Captioner
from seq2seq.inference.files.formats import weights
from seq2seq.inference.request import Request, TaggedRequest, WatchedRequest, change_options, check_requests
from seq2seq.inference.stepper import check_search
from seq2seq.inference.translation import Translation
from seq2seq.inference.translator import Translator
from seq2seq.search import SearchOptions, StepFn
from seq2seq.serving.hosted import Hosted, Work, texts_of
from seq2seq.serving.limits import Limits
from seq2seq.serving.scheduler import Group, check_wanted
from seq2seq.serving.schemas import CaptionBody, PredictBody, SearchBody, TranslateBody
from seq2seq.text import check_text

SAMPLING = ("temperature", "top_k", "top_p", "seed")
Searching = TypeVar("Searching", bound=SearchBody)


class Searched(Hosted[Searching]):
    """A model whose results come from a search."""

    translator: Translator

    def options(self, body: SearchBody) -> SearchOptions:
        """The bundle's options with those of a request. Raises `UserError` for values that are invalid, above the
        limits, or without effect."""
        for name, most in (("beam_size", self.limits.beam), ("n_best", self.limits.beam)):
            self.check_limit(name, getattr(body, name), most)
        self.check_limit("max_length", body.max_length, self.limits.length)
        names = set(SearchBody.model_fields) - {"model"}
        options = change_options(self.bundle.search, **{name: getattr(body, name) for name in names})
        for name in SAMPLING:
            if not options.sample and (value := getattr(body, name)) is not None:
                raise UserError(f"{name}={value}: is for sampling; add sample=true")
        if body.diversity_penalty is not None and options.diversity_groups == 1:
            raise UserError(f"diversity_penalty={body.diversity_penalty}: is for groups; add diversity_groups")
        check_search(self.translator.model, options)
        return options

    def describe(self) -> dict[str, Any]:
        """The entry, with the default options of the search."""
        names = ("beam_size", "length_penalty", "coverage_penalty", "max_length_ratio", "max_length_extra", "sample")
        return super().describe() | {"search": {name: getattr(self.bundle.search, name) for name in names}}

    def text(self, result: Any) -> str:
        """The text of the best result."""
        return str(result[0]["text"])

    def as_dict(self, translation: Translation) -> dict[str, Any]:
        """One translation, as `TranslationResult` describes it."""
        text, hypothesis = translation
        tokens = self.bundle.tokenizers.target.tokens(hypothesis.tokens)
        return {
            "text": text,
            "score": finite(hypothesis.score),
            "log_prob": finite(hypothesis.log_prob),
            "finished": hypothesis.finished,
            "tokens": tokens + ["</s>"] * (len(hypothesis.token_log_probs) - len(tokens)),
            "token_log_probs": list(map(finite, hypothesis.token_log_probs)),
        }


class HostedTranslator(Searched[TranslateBody]):
    """A bundle of task=translation, for POST /translate; with `others` an ensemble of bundles, in these `folders`."""

    endpoint: ClassVar[str] = "/translate"

    def __init__(
        self,
        name: str,
        bundle: Bundle,
        limits: Limits,
        max_source: int,
        int8: bool = False,
        others: Sequence[Bundle] = (),
        folders: Sequence[str] = (),
    ) -> None:
        super().__init__(name, bundle, limits)
        self.translator: AlternativesTranslator = AlternativesTranslator(
            bundle, *others, max_source=max_source, int8=int8, names=folders
        )
        self.translator.step = while_wanted(self.translator.step)
        self.aligner = self.translator.aligner() if self.translator.model.attends else None
        self.members = list(folders)

    def work(self, body: TranslateBody) -> Work:
        """One item a text: its number and its `Request`."""
        self.check_count("texts", body.texts)
        self.check_limit("alternatives", body.alternatives, self.limits.beam)
        options = self.options(body)
        if body.alignments or body.attention:
            if self.aligner is None:
                raise UserError(f"model={self.name!r}: has no attention, so no alignments; leave both out")
            options = replace(options, return_attention=True)
        if body.tag is not None:
            self.translator.tag_id(body.tag, options.return_attention, f"tag={body.tag!r}")
        requests = self._requests(body)
        for number, request in enumerate(requests, 1):
            for text in (request.text, request.prefix, *request.constraints):
                check_text(text, f"line {number}")
        if body.prefixes or body.constraints:
            check_requests(requests, self.bundle.tokenizers, options, self.translator.max_source)
        wanted = body.alignments, body.attention, body.alternatives
        key = (self.name, options, wanted)
        group = Group(key, self.limits.batch, lambda items: self._compute(items, options, *wanted))
        return Work(group, list(enumerate(requests)))

    def watched(self, work: Work, watch: Callable[[int, Any], object]) -> Work:
        """The same texts; `watch` gets the text and the tokens of each, after each step of its search."""
        tokenizer = self.bundle.tokenizers.target

        def tell(line: int, translation: Translation) -> None:
            tokens = tokenizer.tokens(translation.hypothesis.tokens)
            watch(line, {"line": line, "text": translation.text, "tokens": tokens})

        items = [(line, WatchedRequest.of(request, partial(tell, line))) for line, request in work.items]
        return Work(work.group, items)

    def describe(self) -> dict[str, Any]:
        """The entry, with the tags that the model knows, and the members of an ensemble, whose scores are not known."""
        described = super().describe() | {"tags": list(getattr(self.bundle.tokenizers.source, "symbols", {}))}
        if not self.members:
            return described
        counts = [parameter.numel() for model in self.translator.models for parameter in model.parameters()]
        together = {"parameters": sum(counts), "attention": self.aligner is not None, "scores": {}}
        return described | together | {"members": self.members}

    def predict(self, body: PredictBody) -> TranslateBody:
        """The texts with the bundle's options."""
        return TranslateBody(model=body.model, texts=texts_of(body))

    def _requests(self, body: TranslateBody) -> list[Request]:
        """The texts with their prefixes and constraints. Raises `UserError` unless there is one for each text."""
        count = len(body.texts)
        for name in ("prefixes", "constraints"):
            given = getattr(body, name)
            if given is not None and len(given) != count:
                raise UserError(f"{name}: has {len(given)} entries for {count} texts; give one for each, empty or not")
        prefixes = body.prefixes or [""] * count
        constraints = body.constraints or [[]] * count
        return [
            TaggedRequest(text, prefix, tuple(filter(None, phrases)), body.tag)
            for text, prefix, phrases in zip(body.texts, prefixes, constraints, strict=True)
        ]

    def _compute(
        self, items: list[tuple[int, Request]], options: SearchOptions, alignments: bool, attention: bool, number: int
    ) -> list[list[dict[str, Any]]]:
        """The results of a batch, as JSON has them. The numbers of texts decide samples, as in translate-file."""
        numbers, requests = zip(*items, strict=True)
        translated = list(self.translator.translate_stream(requests, options, numbers=numbers))
        results = []
        for request, translations in zip(requests, translated, strict=True):
            described = [self.as_dict(each) for each in translations]
            for each, one in zip(described, translations, strict=True):
                each |= self._attention(request.text, one, alignments, attention)
            results.append(described)
        if number:
            best = [(request, each[0].hypothesis.tokens) for request, each in zip(requests, translated, strict=True)]
            for described, steps in zip(results, self.translator.alternatives(best, number, options), strict=True):
                described[0]["alternatives"] = [[each._asdict() for each in step] for step in steps]
        return results

    def _attention(self, source: str, translation: Translation, alignments: bool, attention: bool) -> dict[str, Any]:
        if self.aligner is None or not (alignments or attention):
            return {}
        tokens, matrix = translation.hypothesis.tokens, translation.hypothesis.attention
        links = {"alignment": self.aligner.pharaoh(source, tokens, matrix)} if alignments else {}
        return links | (weights(self.aligner, source, matrix) if attention else {})


class HostedCaptioner(Searched[CaptionBody]):
    """A bundle of task=captioning, for POST /caption."""

    endpoint: ClassVar[str] = "/caption"

    def __init__(self, name: str, bundle: Bundle, limits: Limits) -> None:
        super().__init__(name, bundle, limits)
        self.translator: Captioner = Captioner(bundle)
        self.translator.step = while_wanted(self.translator.step)

    def describe(self) -> dict[str, Any]:
        """The entry, with the length F of a row of features."""
        return super().describe() | {"width": self.bundle.model.features}

    def work(self, body: CaptionBody) -> Work:
        """One item a sequence: its rows as an array."""
        self.check_count("features", body.features)
        options = self.options(body)
        frames = [self.translator.frames(rows, number) for number, rows in enumerate(body.features)]
        for number, rows in enumerate(frames, 1):
            self.check_limit(f"sequence {number}: rows", len(rows), self.limits.length)
        group = Group((self.name, options), self.limits.batch, lambda items: self._compute(items, options))
        return Work(group, list(enumerate(frames)))

    def predict(self, body: PredictBody) -> CaptionBody:
        """The sequences with the bundle's options."""
        sequences = [rows for rows in body.inputs if not isinstance(rows, str)]
        if len(sequences) < len(body.inputs):
            raise UserError("inputs: this model reads rows of numbers, and these are texts")
        return CaptionBody(model=body.model, features=sequences)

    def _compute(self, items: list[tuple[int, Any]], options: SearchOptions) -> list[list[dict[str, Any]]]:
        numbers, sequences = zip(*items, strict=True)
        results = self.translator.caption_stream(sequences, options, numbers=numbers)
        return [[self.as_dict(each) for each in translations] for translations in results]


def while_wanted(step: StepFn[Any, Any]) -> StepFn[Any, Any]:
    """The same step function, which ends the search when no client waits for the batch any longer."""

    def checked(ids: Any, state: Any, memory: Any) -> Any:
        check_wanted()
        return step(ids, state, memory)

    return checked


def finite(value: float) -> float | None:
    """A number for JSON: None (null) if it is not finite."""
    return value if math.isfinite(value) else None
