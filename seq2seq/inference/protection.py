"""A translator that keeps spans of its sources, such as names, numbers and markup (`translate-file --protect`).

A span is a symbol for the model, which `data.protect` taught it; the search writes the symbols of a source exactly once
each, however long that makes the output, and they become the spans again (seq2seq/text/protection.py). Samples hold
them, too. What else the model writes and the pattern matches is left out: an output has the spans of its source, and no
other. A prefix may have spans of the source; a phrase has none, as they are kept anyway. (Where a phrase becomes a
match together with what is around it, it loses letters, too.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from seq2seq.errors import UserError
from seq2seq.inference.request import (
    EncodedRequest,
    Request,
    TaggedRequest,
    TokenConstraints,
    as_request,
    check_constrained,
    check_length,
    encode_given,
)
from seq2seq.inference.translation import Translation
from seq2seq.inference.translator import Translator
from seq2seq.search import Hypothesis, SearchOptions
from seq2seq.text import EOS, LINE_END, Tokenizers, columns_of
from seq2seq.text.protection import (
    Span,
    compiled,
    cut,
    joined_ids,
    matches,
    protecting_symbols,
    put_back,
    spans_in_order,
    symbols_of,
)


class SpanKeeper:
    """Spans of lines that match a pattern, a regular expression of Python's `re`, as symbols of a bundle's tokenizers.

    Raises `UserError` for a pattern that can match nothing, for tokenizers without symbols for spans, and for sources
    with factors or of several columns.
    """

    def __init__(self, pattern: str, tokenizers: Tokenizers) -> None:
        self.pattern, self.tokenizers = compiled(pattern), tokenizers
        self.source, self.target = map(protecting_symbols, tokenizers[:2])
        if tokenizers.factors:
            raise UserError(f"--protect {pattern!r}: spans have no factors, which this bundle reads; leave it out")
        if columns_of(tokenizers.source):
            raise UserError(f"--protect {pattern!r}: is for sources of one text, and the bundle reads columns")
        if not self.source or len(self.source) != len(self.target):
            raise UserError(f"--protect {pattern!r}: the bundle has no symbols for spans; train it with data.protect=8")

    def encoded(self, line: EncodedRequest, request: Request, limit: int, options: SearchOptions) -> EncodedRequest:
        """An encoded line with symbols for its spans, its source cut to so many tokens, and the constraints of its
        request. Raises `UserError` as `constraints` does."""
        text, place = request.text.rstrip(LINE_END), f"line {line.number + 1}"
        texts, spans = cut(text, matches(self.pattern, text))
        if spans:
            ids = joined_ids(self.tokenizers.source.encode_batch, texts, symbols_of(spans, self.source))
            line = line._replace(source=[*line.source[: line.tagged], *ids[:limit], EOS])
        given = self.constraints(request, spans, len(line.source), options, place)
        line = line._replace(constraints=given[0], spans=given[1], reserved=tuple(self.target))
        return line if text.strip() else line._replace(constraints=TokenConstraints(), spans=())

    def constraints(
        self, request: Request, spans: Sequence[Span], source_length: int, options: SearchOptions, place: str
    ) -> tuple[TokenConstraints, tuple[Span, ...]]:
        """The constraints of a request and of its spans, and the spans, of those with one symbol first what the prefix
        has. Raises `UserError`, naming `place`, for a prefix with other spans, a phrase with any, and for both where no
        translation can meet them."""
        check_constrained(request, options, place)
        texts, own = cut(request.prefix, matches(self.pattern, request.prefix))
        ordered, symbols = spans_in_order(spans, own, self.target, ends=not texts[-1])
        if len(symbols) < len(own):
            raise UserError(
                f"{place}: the prefix {request.prefix!r} has {own[len(symbols)].text!r} more often than the source, "
                "and --protect keeps each once; leave it out"
            )
        for phrase in request.constraints:
            if matches(self.pattern, phrase):
                raise UserError(
                    f"{place}: the constraint {phrase!r} has what --protect keeps anyway; leave that out of it"
                )
        target, kept = self.tokenizers.target, [(symbol,) for symbol in symbols_of(spans, self.target)]

        def encode(parts: Sequence[str]) -> list[list[int]]:
            return [list(encode_given(part, target, f"{place}: the prefix")) if part else [] for part in parts]

        prefix = tuple(joined_ids(encode, texts, symbols))
        phrases = [encode_given(phrase, target, f"{place}: the constraint") for phrase in request.constraints]
        encoded = TokenConstraints(prefix, (*phrases, *kept))
        if request.prefix or request.constraints:
            check_length(encoded, request, source_length, options, place, len(kept))
        return encoded, ordered

    def check(self, lines: Iterable[str | Request], options: SearchOptions, limit: int) -> None:
        """Raise `UserError` as `constraints` does, for the first line."""
        for number, request in enumerate(map(as_request, lines)):
            line = EncodedRequest(number, [*self.tokenizers.source.encode(request.text)[:limit], EOS])
            self.encoded(line, request, limit, options)


class ProtectingTranslator(Translator):
    """A `Translator` whose outputs have the spans of their sources that match a pattern; see `protect`."""

    keeper: SpanKeeper

    @property
    def pattern(self) -> re.Pattern[str]:
        """What the spans match."""
        return self.keeper.pattern

    def protect(self, pattern: str) -> None:
        """Set the pattern of the spans. Raises `UserError` as `SpanKeeper` does, for a model that copies, and for one
        whose outputs are as long as their sources."""
        self.keeper = SpanKeeper(pattern, self.bundle.tokenizers)
        if any(model.copies for model in self.models):
            raise UserError(f"--protect {pattern!r}: the model copies by itself (head=pointer); leave it out")
        if self.bundle.search.equal_length:
            raise UserError(f"--protect {pattern!r}: an output as long as its source cannot keep spans; leave it out")

    def _encode(self, items: list[tuple[int, Any]], options: SearchOptions) -> list[EncodedRequest]:
        requests = [as_request(item) for _, item in items]
        texts = [TaggedRequest(request.text, tag=request.tag) for request in requests]
        lines = super()._encode([(number, text) for (number, _), text in zip(items, texts, strict=True)], options)
        encoded = self.keeper.encoded
        return [encoded(line, each, self.max_source, options) for line, each in zip(lines, requests, strict=True)]

    def _decode(self, hypotheses: list[Hypothesis], line: EncodedRequest) -> list[Translation]:
        target = self.bundle.tokenizers.target
        texts = [put_back(target, each.tokens, line.spans, self.keeper.target, self.pattern) for each in hypotheses]
        return [Translation(*pair) for pair in zip(texts, hypotheses, strict=True)]
