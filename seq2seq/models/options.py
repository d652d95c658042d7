"""The options of a component, taken from its constructor, and the checks of a configuration's keys and values.

A parameter that is a dataclass groups options: its fields are keys of the component itself, and no key names the group.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import types
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, NamedTuple

from seq2seq.errors import UserError

RANGES = {"hidden_size": 10**7, "size": 10**7, "attention_size": 10**7, "num_layers": 1000, "num_heads": 1000}
"""Hyper-parameters of any component that are at least 1, and the most that is not a mistake."""
REQUIRED = inspect.Parameter.empty
"""The default of an option that has none."""
_hints = cache(typing.get_type_hints)  # it evaluates strings: half of the time of a check of options


class Option(NamedTuple):
    """One key of a component: its type, its default, and the constructor's parameter that takes it."""

    hint: Any
    default: Any
    parameter: str


@cache
def options_of(kind: type) -> Mapping[str, Option]:
    """The options of a class by their keys."""
    hints = typing.get_type_hints(getattr(kind, "__init__"))  # noqa: B009
    options: dict[str, Option] = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        group = hints.get(name, Any)
        if dataclasses.is_dataclass(group):
            fields = typing.get_type_hints(group)
            options |= {each.name: Option(fields[each.name], each.default, name) for each in dataclasses.fields(group)}
        else:
            options[name] = Option(group, parameter.default, name)
    return options


def arguments_of(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the constructor from the values of its options: those of a group become one dataclass."""
    arguments: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for key, option in options_of(kind).items():
        if key not in values:
            continue
        if option.parameter == key:
            arguments[key] = values[key]
        else:
            groups.setdefault(option.parameter, {})[key] = values[key]
    hints = _hints(getattr(kind, "__init__")) if groups else {}  # noqa: B009
    return arguments | {name: hints[name](**fields) for name, fields in groups.items()}


def check_key(key: str, known: Sequence[str], place: str, owner: str) -> None:
    """Raise `UserError` with the nearest right key when `key` is none of the `known`."""
    if key in known:
        return
    near = difflib.get_close_matches(key, known, 1)
    hint = f"did you mean {place}.{near[0]}?" if near else f"it knows {', '.join(known) or 'no options'}"
    raise UserError(f"{place}.{key}: {owner} has no option {key!r}; {hint}")


def check_options(options: Mapping[str, Any], kind: type, place: str) -> None:
    """Raise `UserError` for a key that the dataclass `kind` has not, or a value that is not of its type."""
    hints = _hints(kind)
    for key, value in options.items():
        check_key(key, list(hints), place, kind.__name__)
        check_type(value, hints[key], f"{place}.{key}")


def check_type(value: object, hint: Any, place: str) -> None:
    """Raise `UserError` for a value that is not of the type `hint`."""
    if fits(value, hint):
        return
    if typing.get_origin(hint) is Literal:
        *others, last = typing.get_args(hint)
        raise UserError(f"{place}={value!r} is not known; use {', '.join(map(str, others))} or {last}")
    raise UserError(f"{place}: {value!r} is not of type {hint.__name__ if isinstance(hint, type) else hint}")


def fits(value: object, hint: Any) -> bool:
    """Whether a plain value is of a signature's plain type, its items included; an int passes for a float, a bool for
    nothing but bool, and no number that is not finite for any."""
    if hint is Any or isinstance(hint, typing.TypeVar):
        return True
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return any(fits(value, option) for option in arguments)
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in arguments)
    if hint is type(None):
        return value is None
    if hint in (float, int):
        kinds = (int, float) if hint is float else int
        return isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
    if origin is Sequence:
        return isinstance(value, (list, tuple)) and all(fits(item, option) for item in value for option in arguments)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(
            fits(item, option) for item in value.values() for option in arguments[1:]
        )
    return not isinstance(origin, type) or isinstance(value, origin)


def check_range(key: str, value: object, place: str) -> None:
    """Raise `UserError` for a value out of the range that a hyper-parameter of this name has in any component."""
    if key in RANGES and isinstance(value, int) and not 1 <= value <= RANGES[key]:
        raise UserError(f"{place}.{key}={value} must be at least 1 and at most {RANGES[key]:,}")
    if key == "dropout" and isinstance(value, (int, float)) and not 0 <= value < 1:
        raise UserError(f"{place}.{key}={value} must be at least 0 and below 1")
