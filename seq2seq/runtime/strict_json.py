"""A parser for untrusted JSON: bounded size and depth, unique keys, finite numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from seq2seq.errors import UserError

LIMIT = 4 << 20
"""Default limit of a file in bytes; parsed, it takes up to about 30 times as much memory."""

DEPTH = 32  # most levels of nested lists and objects
DIGITS = 18  # most digits of an integer: no size or count has more


def read_json(path: Path, limit: int = LIMIT) -> Any:
    """Read a JSON file.

    Raises UserError for a file that is missing or no regular file, has more than `limit` bytes, is not UTF-8 or not
    JSON, is nested deeper than 32, has a key twice in one object, a number that is not finite or has more than 18
    digits, or half of a surrogate pair.
    """
    if not path.is_file():
        raise UserError(f"{path}: cannot be read: it is missing, or no file; copy it again")
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise UserError(f"{path}: has more than {limit:,} bytes, which no file of its kind has")
    try:
        parsed = parse(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not JSON ({error}); copy it again") from None
    return parsed


def parse(text: str) -> Any:
    """`json.loads` with the checks of `read_json`. Raises ValueError, or RecursionError for very deep nesting."""
    parsed = json.loads(
        text, object_pairs_hook=_unique, parse_int=_integer, parse_float=_finite, parse_constant=_not_a_number
    )
    _check(parsed)
    return parsed


def _check(parsed: Any) -> None:
    """Raise ValueError for nesting that is too deep, and for text that UTF-8 cannot encode."""
    level = [parsed]
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


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f"the key {key!r} is twice in one object")
        content[key] = value
    return content


def _integer(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits")
    return int(digits)


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is no finite number")
    return number


def _not_a_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")
