"""Values of the environment stay out of what a run writes: records, logs, model cards and bundles."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TypeVar, cast

SECRET = re.compile("KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
"""Variables of such names hold secrets."""

SHORT = 6  # characters: what is shorter is part of other words, too
_read: set[str] = set()

Value = TypeVar("Value")


def environment(name: str, default: str | None = None) -> str | None:
    """What a configuration's ${oc.env:NAME} becomes; the name is kept in mind for `hide`.

    Raises KeyError for a variable that is not set, where there is no default.
    """
    _read.add(name)
    if name not in os.environ and default is None:
        raise KeyError(f"Environment variable '{name}' not found")
    return os.environ.get(name, default)


def hide(value: Value, *, everything: bool = False) -> Value:
    """The same text, list or mapping, with ${oc.env:NAME} in the place of each secret value of the environment; with
    `everything`, of each value that a configuration asked for."""
    names = [name for name in os.environ if SECRET.search(name) or (everything and name in _read)]
    known = {os.environ[name]: f"${{oc.env:{name}}}" for name in names if len(os.environ[name]) >= SHORT}
    if not known:
        return value
    found = re.compile("|".join(map(re.escape, sorted(known, key=len, reverse=True))))
    return cast(Value, _replace(value, found, known))


def _replace(value: object, found: re.Pattern[str], known: Mapping[str, str]) -> object:
    if isinstance(value, str):
        return found.sub(lambda match: known[match[0]], value)
    if isinstance(value, Mapping):
        return {key: _replace(item, found, known) for key, item in value.items()}
    if isinstance(value, list):
        return [_replace(item, found, known) for item in value]
    return value
