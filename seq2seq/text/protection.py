"""Spans of a text that a translation keeps as they are: names, numbers, markup. A model reads and writes a symbol of
its tokenizer for each span, and the span is put back in its place.

A symbol is encoded as it is, and the text on both of its sides on its own, without the space next to it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from seq2seq.errors import UserError
from seq2seq.text.tokenizer import Tokenizer

NAME = "<protected{}>"  # the symbols of a vocabulary for spans, counted from 1
PROBES = ("", "a", " ", "a 1")  # texts in which a pattern of spans matches nothing empty
Encode = Callable[[Sequence[str]], list[list[int]]]


class Span(NamedTuple):
    """A part of a text that is kept; `before` and `after` are the characters that touch it, empty where that is a space
    or the end of the text."""

    text: str
    before: str
    after: str


def symbol_names(count: int) -> list[str]:
    """The names of so many symbols."""
    return [NAME.format(i) for i in range(1, count + 1)]


def protecting_symbols(tokenizer: Tokenizer) -> list[int]:
    """The ids of a tokenizer's symbols for spans, in their order."""
    symbols: dict[str, int] = getattr(tokenizer, "symbols", {})
    names = symbol_names(len(symbols))
    return [symbols[name] for name in names if name in symbols]


def compiled(pattern: str, option: str = "--protect") -> re.Pattern[str]:
    """A pattern of spans. Raises UserError for what is no regular expression, and where it matches nothing at all, or
    a space alone."""
    try:
        made = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(f"{option} {pattern!r}: is no regular expression ({error}); mend it") from None
    if any(not match[0] for probe in PROBES for match in made.finditer(probe)):
        raise UserError(f"{option} {pattern!r}: matches the empty string; write what a span has at least, as in \\d+")
    if made.fullmatch(" "):
        raise UserError(f"{option} {pattern!r}: matches a space, which only separates words; write \\S, or other signs")
    return made


def matches(pattern: re.Pattern[str], text: str) -> list[tuple[int, int]]:
    """Where the spans of a text begin and end."""
    return [match.span() for match in pattern.finditer(text) if match[0]]


def cut(text: str, places: Sequence[tuple[int, int]]) -> tuple[list[str], list[Span]]:
    """The texts between spans, one more than there are spans, and the spans. A space next to a span is of neither."""
    spans, texts, end = [], [], 0
    for begin, stop in places:
        texts.append(text[end:begin])
        spans.append(Span(text[begin:stop], text[begin - 1 : begin].strip(), text[stop : stop + 1].strip()))
        end = stop
    texts.append(text[end:])
    last = len(texts) - 1
    texts = [each.removeprefix(" ") if i else each for i, each in enumerate(texts)]
    return [each.removesuffix(" ") if i < last else each for i, each in enumerate(texts)], spans


def joined_ids(encode: Encode, texts: Sequence[str], symbols: Sequence[int]) -> list[int]:
    """The ids of texts with a symbol between each two."""
    first, *others = encode(texts)
    return first + [i for symbol, ids in zip(symbols, others, strict=True) for i in (symbol, *ids)]


def symbols_of(spans: Sequence[Span], symbols: Sequence[int]) -> list[int]:
    """The symbol of each span, in turn."""
    return [symbols[i % len(symbols)] for i in range(len(spans))]


def spans_in_order(
    spans: Sequence[Span], first: Sequence[Span], symbols: Sequence[int], *, ends: bool
) -> tuple[tuple[Span, ...], list[int]]:
    """The spans of a source in an order in which those of a prefix, `first`, come before others with the same symbol,
    and the symbols of the prefix; of fewer spans where the source lacks one. A span of the prefix touches what it
    touches there, and if the prefix `ends` with it, what it touches in the source."""
    left, chosen = list(range(len(spans))), list[int]()
    ordered = list(spans)
    for own in first:
        at = next((i for i in left if spans[i].text == own.text), None)
        if at is None:
            break
        left.remove(at)
        chosen.append(at)
        ordered[at] = own._replace(after=spans[at].after) if ends and len(chosen) == len(first) else own
    by_symbol: dict[int, list[Span]] = {}
    for i in (*chosen, *left):
        by_symbol.setdefault(i % len(symbols), []).append(ordered[i])
    return (
        tuple(by_symbol[i % len(symbols)].pop(0) for i in range(len(spans))),
        [symbols[i % len(symbols)] for i in chosen],
    )


def put_back(
    tokenizer: Tokenizer, ids: Sequence[int], spans: Sequence[Span], symbols: Sequence[int], pattern: re.Pattern[str]
) -> str:
    """The text of an output that has the symbol of each span exactly once, with the spans in their places.

    A span touches the text around it where it did in the source, and letters only where it touched letters there. Where
    the text would then have other spans than the source (two that grew together, or one that the model wrote itself),
    all spans are set apart by spaces, and the first letter of each wrong one is left out until none is left.
    """
    texts, order = _between(tokenizer, ids, spans, symbols)
    wanted = Counter(span.text for span in spans)
    for touching in (True, False):
        text, _ = _joined(texts, order, touching)
        if Counter(text[begin:end] for begin, end in matches(pattern, text)) == wanted:
            return text
    return _cleared(texts, order, pattern)


def _between(
    tokenizer: Tokenizer, ids: Sequence[int], spans: Sequence[Span], symbols: Sequence[int]
) -> tuple[list[str], list[Span]]:
    """The texts between the symbols of an output, and the spans in the order of its symbols."""
    waiting: dict[int, list[Span]] = {}
    for symbol, span in zip(symbols_of(spans, symbols), spans, strict=True):
        waiting.setdefault(symbol, []).append(span)
    parts: list[list[int]] = [[]]
    order = []
    for i in ids:
        if waiting.get(i):
            order.append(waiting[i].pop(0))
            parts.append([])
        else:
            parts[-1].append(i)
    return tokenizer.decode_batch(parts), order


def _joined(texts: Sequence[str], spans: Sequence[Span], touching: bool) -> tuple[str, list[tuple[int, int]]]:
    """The texts with the spans between them, and the places of the spans."""
    out, places, last = texts[0], [], None
    for span, text in zip(spans, texts[1:], strict=True):
        close = touching and _touches(span.before, out[-1:]) and (last is None or _touches(last.after, span.text[:1]))
        out += span.text if close or not out else f" {span.text}"
        places.append((len(out) - len(span.text), len(out)))
        out += text if touching and _touches(span.after, text[:1]) else f" {text}" if text else ""
        last = None if text else span
    return out, places


def _touches(before: str, now: str) -> bool:
    """Whether a span that touched a character before, in the source, touches the one that is there now."""
    return bool(before) and (before.isalnum() or not now.isalnum())


def _cleared(texts: Sequence[str], spans: Sequence[Span], pattern: re.Pattern[str]) -> str:
    """The spans set apart, without the letters of the texts by which the pattern would match anything else."""
    texts = list(texts)
    while True:
        text, places = _joined(texts, spans, False)
        wrong = (place for place in matches(pattern, text) if place not in places)
        letter = next((each for place in wrong for each in _letters(texts, text, places, *place)), None)
        if letter is None:
            return text
        i, offset = letter
        texts[i] = texts[i][:offset] + texts[i][offset + 1 :]


def _letters(
    texts: Sequence[str], text: str, places: Sequence[tuple[int, int]], begin: int, end: int
) -> Iterator[tuple[int, int]]:
    """The letters between `begin` and `end` that are of no span: the number of their text, and the offset in it."""
    starts = [0, *(stop + 1 for _, stop in places)]
    for i, (start, own) in enumerate(zip(starts, texts, strict=True)):
        yield from ((i, at - start) for at in range(max(begin, start), min(end, start + len(own))) if text[at] != " ")
