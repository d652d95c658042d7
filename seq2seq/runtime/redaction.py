"""Hide secret values of the environment in what a run writes: records, logs, model cards and bundles."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TypeVar, cast

SECRET = re.compile("KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
"""Environment variables with these words in their names are secret."""

SHORT = 6  # characters: shorter values are not hidden, as they may occur in other words
_read: set[str] = set()

Value = TypeVar("Value")


def environment(name: str, default: str | None = None) -> str | None:
    """The resolver of ${oc.env:NAME} in configurations, which records the names for `hide`.

    Raises KeyError for a variable that is not set and has no default.
    """
    _read.add(name)
    if name not in os.environ and default is None:
        raise KeyError(f"Environment variable '{name}' not found")
    return os.environ.get(name, default)


def hide(value: Value, *, everything: bool = False) -> Value:
    """Replace each secret value of the environment by ${oc.env:NAME}, in a text, list or mapping; with `everything`,
    also all values that configurations resolved."""
    names = [name for name in os.environ if SECRET.search(name) or (everything and name in _read)]
    known = {os.environ[name]: f"${{oc.env:{name}}}" for name in names if len(os.environ[name]) >= SHORT}
    if not known:
        return value
    pattern = re.compile("|".join(map(re.escape, sorted(known, key=len, reverse=True))))
    return cast(Value, _replace(value, pattern, known))


def revealed(value: Value) -> Value:
    """The same text, list or mapping, with each ${oc.env:NAME} that `hide` left replaced by the variable's value, if it
    is set."""
    names = {f"${{oc.env:{name}}}": text for name, text in os.environ.items()}
    return cast(Value, _replace(value, re.compile(r"\$\{oc\.env:[^}]*\}"), names))


def _replace(value: object, pattern: re.Pattern[str], known: Mapping[str, str]) -> object:
    if isinstance(value, str):
        return pattern.sub(lambda match: known.get(match[0], match[0]), value)
    if isinstance(value, Mapping):
        return {key: _replace(item, pattern, known) for key, item in value.items()}
    if isinstance(value, list):
        return [_replace(item, pattern, known) for item in value]
    return value
