"""A translator that keeps spans of its sources, such as names, numbers and markup (`translate-file --protect`).

A span is a symbol for the model, which `data.protect` taught it; the search writes the symbols of a source exactly once
each, however long that makes the output, and they become the spans again (seq2seq/text/protection.py). What else the
model writes and the pattern matches is left out: an output has the spans of its source, and no other.
"""

from __future__ import annotations

import re
from typing import Any

from seq2seq.errors import UserError
from seq2seq.inference.request import EncodedRequest, TokenConstraints, as_request
from seq2seq.inference.translator import Translation, Translator
from seq2seq.search import Hypothesis, SearchOptions
from seq2seq.text import EOS, without_line_end
from seq2seq.text.protection import compiled, cut, joined_ids, matches, protecting_symbols, put_back, symbols_of


class ProtectingTranslator(Translator):
    """A `Translator` whose outputs have the spans of their sources that match a pattern; see `protect`."""

    pattern: re.Pattern[str]

    def protect(self, pattern: str) -> None:
        """Set the pattern of the spans, a regular expression of Python's `re`.

        Raises `UserError` for a pattern that can match nothing, for a bundle without symbols for spans, and for a model
        that copies.
        """
        self.pattern = compiled(pattern)
        self.source_symbols, self.target_symbols = map(protecting_symbols, self.bundle.tokenizers[:2])
        if not self.source_symbols or len(self.source_symbols) != len(self.target_symbols):
            raise UserError(f"--protect {pattern!r}: the bundle has no symbols for spans; train it with data.protect=8")
        if any(model.copies for model in self.models):
            raise UserError(f"--protect {pattern!r}: the model copies by itself (head=pointer); leave it out")
        if self.bundle.search.equal_length:
            raise UserError(f"--protect {pattern!r}: an output as long as its source cannot keep spans; leave it out")

    def _encode(self, items: list[tuple[int, Any]], options: SearchOptions) -> list[EncodedRequest]:
        if options.sample:
            raise UserError(
                f"--protect {self.pattern.pattern!r}: is for a search, and sampling draws; use one of the two"
            )
        texts = [without_line_end(as_request(item).text) for _, item in items]
        encoded = super()._encode(items, options)
        return [self._protected(line, text) for line, text in zip(encoded, texts, strict=True)]

    def _protected(self, line: EncodedRequest, text: str) -> EncodedRequest:
        line = line._replace(reserved=tuple(self.target_symbols))
        texts, spans = cut(text, matches(self.pattern, text))
        if not spans:
            return line
        symbols = symbols_of(spans, self.source_symbols)
        source = joined_ids(self.bundle.tokenizers.source.encode_batch, texts, symbols)[: self.max_source]
        wanted = [(symbol,) for symbol in symbols_of(spans, self.target_symbols)]
        constraints = TokenConstraints(line.constraints.prefix, (*line.constraints.constraints, *wanted))
        return line._replace(
            source=[*line.source[: line.tagged], *source, EOS], constraints=constraints, spans=tuple(spans)
        )

    def _decode(self, hypotheses: list[Hypothesis], line: EncodedRequest) -> list[Translation]:
        target, symbols = self.bundle.tokenizers.target, self.target_symbols
        texts = [put_back(target, each.tokens, line.spans, symbols, self.pattern) for each in hypotheses]
        return [Translation(*pair) for pair in zip(texts, hypotheses, strict=True)]
