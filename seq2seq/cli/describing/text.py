"""Print facts as aligned lines. Facts from files may be hostile: control characters are escaped, and long values are
truncated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

WIDTH, ITEMS = 2000, 60
"""Most characters of a value, and most entries of a list or mapping; JSON has all of them."""


def printable(text: str, width: int = WIDTH) -> str:
    """One line with control characters escaped, truncated with an ellipsis."""
    cut = text[:width]
    shown = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in cut)
    return shown + "…" * (len(text) > width)


def lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """A line `name  value` for each fact; those of a mapping are indented below its name. None is left out."""
    rows = list(_rows(facts, ""))
    width = max((len(name) for name, _ in rows if len(name) <= 36), default=0)
    for name, value in rows:
        yield f"{name:<{width}}  {value}".rstrip()


def _rows(facts: Mapping[str, Any], indent: str) -> Iterator[tuple[str, str]]:
    for i, (key, value) in enumerate(facts.items()):
        if i == ITEMS:
            yield f"{indent}…", f"{len(facts) - ITEMS} more"
            return
        name = indent + printable(str(key).replace("_", " ") if not indent else str(key), 60)
        if isinstance(value, Mapping) and "value" in value:
            yield name, _score(value)
        elif isinstance(value, Mapping):
            if value:
                yield name, ""
                yield from _rows(value, indent + "  ")
        elif value is not None:
            yield name, shown(value)


def shown(value: Any) -> str:
    """A value as text."""
    if isinstance(value, bool) or value is None:
        return str(value).lower() if value is not None else "null"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{printable(str(key), 60)} {shown(item)}" for key, item in _first(list(value.items())))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(shown(item) for item in _first(value))
    return printable(str(value))


def _first(items: Sequence[Any]) -> Sequence[Any]:
    return items if len(items) <= ITEMS else items[:ITEMS]


def _score(score: Mapping[str, Any]) -> str:
    """A score, with its interval and signature if it has them."""
    value, low, high = (score.get(key) for key in ("value", "low", "high"))
    number = f"{value:.2f}" if isinstance(value, (int, float)) else shown(value)
    interval = f" [{low:.2f}, {high:.2f}]" if isinstance(low, (int, float)) and isinstance(high, (int, float)) else ""
    signature = score.get("signature")
    return f"{number}{interval}" + (f"  {printable(str(signature), 300)}" if signature else "")
