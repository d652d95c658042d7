"""Requests whose sources have values of token factors, from a text of values for each line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import cast

from seq2seq.errors import UserError
from seq2seq.inference.factors import check_factor_names
from seq2seq.inference.request import Request, TaggedRequest, as_request
from seq2seq.text import LINE_END, Tokenizers
from seq2seq.text.factors import TAB


def add_factors(
    lines: Iterable[str | Request], factors: Mapping[str, Iterable[str]], tokenizers: Tokenizers
) -> Iterator[Request]:
    """Requests with the values of factors, by their names: of each a text a line, a value a word.

    Raises `UserError` for other factors than the model reads, and for another number of texts than there are lines.
    """
    if isinstance(lines, str):
        raise TypeError("lines is one string, not an iterable of them; give a list")
    given = tokenizers.factors.given if tokenizers.factors else ()
    check_factor_names(factors, given, lambda name: f"factors={{{name!r}: …}}")
    end = object()
    for number, (line, *cells) in enumerate(zip_longest(lines, *(factors[name] for name in given), fillvalue=end), 1):
        if end in (line, *cells):
            short = "lines" if line is end else f"factors[{given[cells.index(end)]!r}]"
            raise UserError(f"{short}: ends after {number - 1} lines, and others do not; give a text for each line")
        request = as_request(cast("str | Request", line))
        text = TAB.join([request.text.rstrip(LINE_END), *map(str, cells)])
        yield TaggedRequest(text, request.prefix, request.constraints, request.tag)
