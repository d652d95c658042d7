"""Word alignments from files: a line a pair, links SOURCE-TARGET of word positions from 0 (Pharaoh's format).

A link that is possible, but not sure, is SOURCE?TARGET (or SOURCEpTARGET), as files for evaluation have them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise, repeat
from pathlib import Path
from typing import NamedTuple

from seq2seq.corpora import readers
from seq2seq.corpora.entries import Part
from seq2seq.errors import UserError

LINK = re.compile(r"(\d+)([-?p])(\d+)")


class Link(NamedTuple):
    """Positions of a source word and a target word, from 0, and whether the link is sure."""

    source: int
    target: int
    sure: bool = True


def read_links(path: Path) -> Iterator[list[Link]]:
    """The links of each line. Raises UserError, with the line, for what is none."""
    for number, line in enumerate(readers.lines(path), 1):
        links = []
        for text in line.split():
            if not (link := LINK.fullmatch(text)):
                raise UserError(f"{path}:{number}: {text!r} is no link; write SOURCE-TARGET, words counted from 0")
            links.append(Link(int(link[1]), int(link[3]), link[2] == "-"))
        yield links


def links_of(parts: Sequence[Part], bounds: Sequence[int]) -> Iterator[tuple[str, list[Link]]]:
    """The links of each pair of a split, with their places; none where an entry has no alignments. Raises UserError
    where a file has more or fewer lines than its entry has pairs."""
    for part, (begin, end) in zip(parts, pairwise(bounds), strict=True):
        if part.alignments is None:
            yield from repeat((str(part.files), []), end - begin)
            continue
        path, lines = Path(part.alignments).expanduser(), 0
        for lines, links in enumerate(read_links(path), 1):
            if lines > end - begin:
                break
            yield f"{path}:{lines}", links
        if lines != end - begin:
            more = "more lines" if lines > end - begin else f"{lines} lines"
            raise UserError(f"{path}: has {more}, and {part.files} {end - begin} pairs; an alignment is a line a pair")
