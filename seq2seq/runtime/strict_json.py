"""JSON from people whom one does not know: of bounded size and depth, each key once, and nothing that is not plain."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from seq2seq.errors import UserError

LIMIT = 4 << 20
"""Bytes of a file, where its reader sets no other limit: parsed, they take up to about 30 times as much memory."""

DEPTH = 32  # of lists and objects within each other
DIGITS = 18  # of a whole number: no size and no count has more


def read_json(path: Path, limit: int = LIMIT) -> Any:
    """What a JSON file says.

    Raises UserError for a file that is not there or no regular file, has more than `limit` bytes, is not UTF-8 or not
    JSON, nests deeper than 32, names a key twice in one object, or holds a number that is not finite or has more than
    18 digits, or half of a surrogate pair.
    """
    if not path.is_file():
        raise UserError(f"{path}: cannot be read: it is missing, or no file; copy it again")
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise UserError(f"{path}: has more than {limit:,} bytes, which no file of its kind has")
    try:
        found = parse(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not JSON ({error}); copy it again, whole") from None
    return found


def parse(text: str) -> Any:
    """`json.loads`, as strict as `read_json` says. Raises ValueError (RecursionError for very deep nesting)."""
    found = json.loads(
        text, object_pairs_hook=_once, parse_int=_whole, parse_float=_finite, parse_constant=_not_a_number
    )
    _check(found)
    return found


def _check(found: Any) -> None:
    """Raise ValueError for what is nested too deep, and for text that UTF-8 cannot say."""
    level = [found]
    for _ in range(DEPTH + 1):
        keys = [key for item in level if isinstance(item, dict) for key in item]
        for text in [*keys, *(item for item in level if isinstance(item, str))]:
            text.encode()
        level = [part for item in level if isinstance(item, (dict, list)) for part in _parts(item)]
        if not level:
            return
    raise ValueError(f"nested deeper than {DEPTH} lists and objects")


def _parts(item: dict[str, Any] | list[Any]) -> list[Any]:
    return list(item.values()) if isinstance(item, dict) else item


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands twice in one object")
        found[key] = value
    return found


def _whole(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits")
    return int(digits)


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is no finite number")
    return number


def _not_a_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")
