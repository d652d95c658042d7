"""A line to translate, and the constraints on its translation: a prefix, and phrases that it must contain."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import torch

from seq2seq.errors import UserError
from seq2seq.inference.batching import CHUNK
from seq2seq.inference.factors import with_rows
from seq2seq.search import Hypothesis, SearchOptions, Sentences, steps_needed
from seq2seq.text import EOS, LINE_END, Tokenizer, Tokenizers, check_text, columns_of, sentence_of
from seq2seq.text.protection import Span
from seq2seq.text.tokenizer import Columned

log = logging.getLogger(__name__)

MAX_SOURCE = 1024
"""Most tokens of a source; longer ones are truncated, with a warning."""

WORDS = {2: "two", 3: "three"}


class Request(NamedTuple):
    """A line to translate. Its translation begins with `prefix` and contains each of the `constraints`, as often as it
    is listed; all are plain text. Constraints may overlap, and may begin or end within a word."""

    text: str
    prefix: str = ""
    constraints: tuple[str, ...] = ()

    @property
    def tag(self) -> str | None:
        """A symbol of the source's tokenizer, which the model reads before the text; see `TaggedRequest`."""
        return None

    @property
    def watch(self) -> Callable[[Any], object] | None:
        """Called after each step of the search with the best `Translation` so far; see `WatchedRequest`."""
        return None


class TaggedRequest(Request):
    """A `Request` with a `tag`, which is no field: who takes requests apart gets three."""

    _tag: str | None = None

    def __new__(
        cls, text: str, prefix: str = "", constraints: tuple[str, ...] = (), tag: str | None = None
    ) -> TaggedRequest:
        """Make a request whose source has a tag."""
        made = super().__new__(cls, text, prefix, constraints)
        made._tag = tag
        return made

    @property
    def tag(self) -> str | None:
        """The symbol before the text."""
        return self._tag


class WatchedRequest(TaggedRequest):
    """A request that is looked on: `watch` is called from the thread that translates, after each step of the search,
    with the best translation so far, whose hypothesis has tokens alone."""

    _watch: Callable[[Any], object]

    @classmethod
    def of(cls, request: Request, watch: Callable[[Any], object]) -> WatchedRequest:
        """The same request, looked on."""
        made = cls(*request, tag=request.tag)
        made._watch = watch
        return made

    @property
    def watch(self) -> Callable[[Any], object]:
        """Called after each step of the search with the best `Translation` so far."""
        return self._watch


class TokenConstraints(NamedTuple):
    """Prefix and constraints of a `Request` as token ids of the target side."""

    prefix: tuple[int, ...] = ()
    constraints: tuple[tuple[int, ...], ...] = ()


UNCONSTRAINED = TokenConstraints()


class EncodedRequest(NamedTuple):
    """The number of a line, from 0, its source (token ids with eos, rows of them and their factors, or frames), the
    constraints on its translation, and whether the source begins with a tag; its unknown tokens that can be copied
    (`seq2seq.text.unseen`); the spans that are kept, and the tokens that only they may become; and who is told of the
    search."""

    number: int
    source: Any
    constraints: TokenConstraints = UNCONSTRAINED
    tagged: bool = False
    unseen: tuple[str, ...] = ()
    watch: Callable[[Any], object] | None = None
    spans: tuple[Span, ...] = ()
    reserved: tuple[int, ...] = ()


def as_request(line: str | Request) -> Request:
    """A line of plain text as a request without constraints."""
    return Request(line) if isinstance(line, str) else line


def read_request(
    line: str, *, prefixes: bool, constraints: bool, place: str, tag: str | None = None, columns: int = 1
) -> Request:
    """Parse a line of an input file with tab-separated fields: the source, of so many `columns`, a prefix (with
    `prefixes`), and any number of constraints (with `constraints`). All fields but the source may be missing, and empty
    ones are ignored.

    Raises `UserError`, naming `place`, for a line with too many fields.
    """
    if not prefixes and not constraints:
        return TaggedRequest(line, tag=tag)
    cells = line.split("\t")
    text, fields = "\t".join(cells[:columns]), cells[columns:]
    prefix = fields.pop(0) if prefixes and fields else ""
    if fields and not constraints:
        raise UserError(
            f"{place}: has {len(cells)} fields, where --prefixes reads {WORDS.get(columns + 1, columns + 1)}, "
            f"{'source<TAB>' * columns}prefix; take the other "
            "tabs out, or add --constraints"
        )
    return TaggedRequest(text, prefix, tuple(filter(None, fields)), tag)


def encode_sources(
    lines: Sequence[tuple[int, str]], tokenizers: Tokenizers, columns: Columned | None, max_source: int, *, known: bool
) -> list[list[Any]]:
    """The ids of sources, each with its number, from 0, with eos; none for a line without text. Lines may still have
    their line end. Longer ones than `max_source` are truncated, with a warning. With factors, the elements are rows of
    an id and its factors. `columns` is the source's tokenizer if it is for several (`columns_of`).

    Raises `UserError`, naming the line, for half of a character, another number of columns or values of factors, and
    an unknown tag if tags must be `known`.
    """
    tokenizer, factors = tokenizers.source, tokenizers.factors
    for number, text in lines:
        try:
            text.encode()  # several times faster than `check_text`
        except UnicodeEncodeError:
            check_text(text, f"line {number + 1}")
    texts = [text.rstrip(LINE_END) for _, text in lines]
    sentences = [sentence_of(text, factors) for text in texts] if factors else texts
    sources = tokenizer.encode_batch(sentences)
    for i, text in enumerate(texts):
        if factors and text.strip():
            factors.check(text, f"line {lines[i][0] + 1}")
        if not sentences[i].strip():
            sources[i] = []
            continue
        if columns:
            columns.check(text, f"line {lines[i][0] + 1}", known=known)
        if (length := len(sources[i])) > max_source:
            log.warning("line %d: its %d tokens are cut to the first %d", lines[i][0] + 1, length, max_source)
            sources[i] = columns.cut(sources[i], max_source) if columns else sources[i][:max_source]
    ended = [[*source, EOS] if source else [] for source in sources]
    return with_rows(ended, texts, tokenizers) if factors else ended


def change_options(options: SearchOptions, *, max_length: int | None = None, **changes: Any) -> SearchOptions:
    """Search options with the given changes, where they are not None; `max_length` is a limit that does not depend on
    the source's length.

    Raises `UserError` for a value out of its range.
    """
    if max_length is not None:
        changes |= {"max_length_ratio": 0.0, "max_length_extra": max_length}
    return replace(options, **{name: value for name, value in changes.items() if value is not None})


def check_requests(
    lines: Iterable[str | Request],
    tokenizers: Tokenizers,
    options: SearchOptions,
    max_source: int = MAX_SOURCE,
    *,
    unknown_tags: bool = False,
) -> None:
    """Raise `UserError` for the first line whose constraints no translation can meet, or whose columns or tags are not
    those that the model reads, before any line is translated."""
    columns = columns_of(tokenizers.source)
    stream = map(as_request, lines)
    first = 1
    while requests := list(islice(stream, CHUNK)):
        factors = tokenizers.factors
        sources = tokenizers.source.encode_batch([sentence_of(request.text, factors) for request in requests])
        for number, (request, source) in enumerate(zip(requests, sources, strict=True), first):
            if factors and request.text.strip():
                factors.check(request.text, f"line {number}")
            if columns and request.text.strip():
                columns.check(request.text, f"line {number}", known=not unknown_tags)
            length = min(len(source), max_source) + 1 + (request.tag is not None)
            token_constraints(request, tokenizers.target, length, options, f"line {number}")
        first += len(requests)


def token_constraints(
    request: Request, tokenizer: Tokenizer, source_length: int, options: SearchOptions, place: str
) -> TokenConstraints:
    """Encode prefix and constraints; `source_length` counts the tokens of the source, with eos.

    Raises:
        UserError: no translation can meet them. The message names `place`, the text, and the remedy.
    """
    if not request.prefix and not request.constraints:
        return UNCONSTRAINED
    check_constrained(request, options, place)
    encoded = TokenConstraints(
        encode_given(request.prefix, tokenizer, f"{place}: the prefix"),
        tuple(encode_given(phrase, tokenizer, f"{place}: the constraint") for phrase in request.constraints),
    )
    check_length(encoded, request, source_length, options, place)
    return encoded


def check_constrained(request: Request, options: SearchOptions, place: str) -> None:
    """Raise `UserError`, naming `place`, for a prefix or phrases of a line without text, and phrases where sampling
    draws."""
    if not request.text.strip() and (request.prefix or request.constraints):
        raise UserError(f"{place}: has constraints but no text to translate; give the text, or remove the constraints")
    if request.constraints and options.sample:
        raise UserError(f"{place}: constraints belong to beam search, and sampling draws; use one of the two")


def check_length(
    encoded: TokenConstraints, request: Request, source_length: int, options: SearchOptions, place: str, kept: int = 0
) -> None:
    """Raise `UserError`, naming `place`, where a prefix and phrases are longer than a translation, whose limit does not
    count `kept` tokens."""
    needed = steps_needed(encoded.constraints, encoded.prefix) + (not options.equal_length) - kept
    limit = int(options.limits(torch.tensor([source_length])))
    if needed > limit:
        raise UserError(
            f"{place}: {_described(request)} may need {needed} tokens, with eos, and a translation has at most "
            f"{limit}; allow more (--max-length {needed}) or remove some"
        )


def sentences(
    batch: Sequence[EncodedRequest], decode: Callable[[list[Hypothesis], EncodedRequest], Sequence[Any]]
) -> Sentences:
    """The constraints and numbers of a batch of lines, for the search, and who looks on; `decode` gives hypotheses of a
    line their text."""
    prefixes, constraints = zip(*(line.constraints for line in batch), strict=True)
    numbers = [line.number for line in batch]
    given = Sentences(prefixes if any(prefixes) else None, constraints if any(constraints) else None, numbers)
    watchers = {i: partial(_tell, decode, line) for i, line in enumerate(batch) if line.watch}
    return given._replace(reserved=batch[0].reserved or None, watchers=watchers or None)


def _tell(
    decode: Callable[[list[Hypothesis], EncodedRequest], Sequence[Any]], line: EncodedRequest, tokens: list[int]
) -> None:
    assert line.watch is not None
    line.watch(decode([Hypothesis(tokens, 0.0, 0.0, [], finished=False)], line)[0])


def untagged(hypotheses: list[Hypothesis]) -> list[Hypothesis]:
    """The same with the attention to the text alone, without the column of the tag."""
    return [each if each.attention is None else each._replace(attention=each.attention[:, 1:]) for each in hypotheses]


def encode_given(text: str, tokenizer: Tokenizer, what: str) -> tuple[int, ...]:
    """The ids of a prefix or a phrase. Raises `UserError`, naming `what`, for a text that they do not spell."""
    ids: Sequence[int] = tokenizer.encode(text)
    if (decoded := tokenizer.decode(ids)) != text:
        raise UserError(
            f"{what} {text!r} would come out as {decoded!r}, for the bundle's target tokens spell no other; "
            "write it so, or leave it out"
        )
    if not ids and what.endswith("constraint"):
        raise UserError(f"{what} is empty; leave it out")
    return tuple(ids)


def _described(request: Request) -> str:
    parts = [f"the prefix {request.prefix!r}"] if request.prefix else []
    if request.constraints:
        parts.append(f"the constraints {', '.join(map(repr, request.constraints))}")
    return " with ".join(parts)
