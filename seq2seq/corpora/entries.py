"""The entries of a corpus of files: what is read, how often, and the tag that comes before each of its sources.

An entry is the name of a file (for parallel text a prefix, or the names of two files), or a mapping

    {files: corpus/train, weight: 7, tag: '<BT>', source_language: en, target_language: fr, alignments: train.align}

of which only `files` is needed. A split is one entry, or a list of them.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from seq2seq.errors import UserError

Files: TypeAlias = str | Sequence[str]
"""One file's name; for parallel text a prefix, or the names of two files."""

Entry: TypeAlias = Files | Mapping[str, Any]


class Part(NamedTuple):
    """One entry of a split. Without languages of its own it has the corpus's."""

    files: Files
    weight: float | None = None
    tag: str | None = None
    source_language: str | None = None
    target_language: str | None = None
    alignments: str | None = None


def parts_of(value: Any, place: str, *, several: bool = False) -> list[Part]:
    """The parts of what a configuration has for a split; of a list of texts each is an entry if `several` are expected,
    else it is one entry, the names of two files.

    Raises UserError, naming the `place`, for what is no entry, and where some entries have a weight and others none.
    """
    if isinstance(value, (str, Mapping)):
        parts = [_part(value, place)]
    elif several or any(isinstance(each, Mapping) for each in value):
        parts = [_part(each, place) for each in value]
    else:
        parts = [Part(value)]
    if not parts:
        raise UserError(f"{place}: has no entry; give the name of a file, or a list of them")
    if 0 < sum(part.weight is not None for part in parts) < len(parts):
        raise UserError(f"{place}: some of its entries have a weight and others none; give each a weight, or none")
    return parts


def _part(entry: Any, place: str) -> Part:
    if not isinstance(entry, Mapping):
        return Part(entry)
    for key in entry:
        if key not in Part._fields:
            near = difflib.get_close_matches(str(key), Part._fields, 1) or [", ".join(Part._fields)]
            raise UserError(f"{place}: an entry has no {key!r}; did you mean {near[0]}?")
    part = Part(**{"files": None, **entry})
    for key in ("tag", "source_language", "target_language", "alignments"):
        value = getattr(part, key)
        if value is not None and (not isinstance(value, str) or not value):
            raise UserError(f"{place}: {key}={value!r} is not a text; write it in quotes, or leave it out")
    if not part.files or not isinstance(part.files, (str, list, tuple)):
        raise UserError(f"{place}: an entry needs files, such as {{files: corpus/train, weight: 2}}")
    number = isinstance(part.weight, (int, float)) and not isinstance(part.weight, bool)
    if part.weight is not None and not (number and math.isfinite(part.weight) and part.weight > 0):
        raise UserError(f"{place}: weight={part.weight!r} of {part.files!r} is no positive number")
    return part
