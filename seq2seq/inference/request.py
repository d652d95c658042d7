"""What may be asked of a single translation beside its source: what it begins with, and the phrases that it holds."""

from __future__ import annotations

from typing import NamedTuple

import torch

from seq2seq.errors import UserError
from seq2seq.search import SearchOptions, steps_needed
from seq2seq.text import Tokenizer


class Request(NamedTuple):
    """A line to translate, where the translation begins with `prefix` and holds the `constraints`, all of them plain
    text, each as often as it is listed. They may overlap; a piece of text that ends within a word holds it, too."""

    text: str
    prefix: str = ""
    constraints: tuple[str, ...] = ()


class Asked(NamedTuple):
    """The same as pieces of the target side."""

    prefix: tuple[int, ...] = ()
    constraints: tuple[tuple[int, ...], ...] = ()


NOTHING = Asked()


def asked(request: Request, tokenizer: Tokenizer, source_length: int, options: SearchOptions, place: str) -> Asked:
    """What a request asks for, in pieces; `source_length` counts them in the source, with eos.

    Raises:
        UserError: it cannot be had. The message names `place`, the text, and the remedy.
    """
    if not request.prefix and not request.constraints:
        return NOTHING
    if not request.text.strip():
        raise UserError(f"{place}: asks for a translation of no text; give the text, or leave out what is asked")
    if request.constraints and options.sample:
        raise UserError(f"{place}: constraints belong to beam search, and sampling draws; use one of the two")
    found = Asked(
        _pieces(request.prefix, tokenizer, f"{place}: the prefix"),
        tuple(_pieces(phrase, tokenizer, f"{place}: the constraint") for phrase in request.constraints),
    )
    needed = steps_needed(found.constraints, found.prefix) + (not options.equal_length)
    limit = int(options.limits(torch.tensor([source_length])))
    if needed > limit:
        raise UserError(
            f"{place}: {_named(request)} may take {needed} pieces, the end counted, and a translation has at most "
            f"{limit} here; allow more (--max-length {needed}) or ask for less"
        )
    return found


def _pieces(text: str, tokenizer: Tokenizer, what: str) -> tuple[int, ...]:
    pieces = tokenizer.encode(text)
    if (shown := tokenizer.decode(pieces)) != text:
        raise UserError(
            f"{what} {text!r} would come out as {shown!r}, for the bundle's target pieces spell no other; "
            "write it so, or leave it out"
        )
    if not pieces and what.endswith("constraint"):
        raise UserError(f"{what} is empty; leave it out")
    return tuple(pieces)


def _named(request: Request) -> str:
    parts = [f"the prefix {request.prefix!r}"] if request.prefix else []
    if request.constraints:
        parts.append(f"the constraints {', '.join(map(repr, request.constraints))}")
    return " with ".join(parts)
