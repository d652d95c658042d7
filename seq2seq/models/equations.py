"""Whether two configurations of a model describe the same equations, so that the weights of the one fit the other.

Shapes do not show it: a GRU's reset gate before or after the product, tanh or relu, softmax or sigmoid have the same
parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from seq2seq.errors import UserError
from seq2seq.models.components import GIVEN, ROLES, resolve
from seq2seq.models.factory import OF_TRAINING
from seq2seq.models.options import REQUIRED, options_of

TRAINING_ONLY = (
    *("dropout", "word_dropout", "variational", "path", "feedback", "init", "init_scale", "forget_bias", "weight_drop"),
    "recurrent_dropout",
    *OF_TRAINING,
)
"""Keys of a model's configuration that change its training or its speed, but not what its weights mean."""
BY_SHAPE = ("attention_size",)  # null, or the same width as a number: the weights themselves say which
TARGET = "_target_"
PLAIN: dict[str, dict[str, Any]] = {
    "embedding": {"share": False, "characters": None, "factors": None, "factors_combine": "concat"},
    "labels": {"many": False, "separator": "|", "none": "O"},
}
"""Defaults of nodes that name no component."""


class Difference(NamedTuple):
    """A key that two configurations give different values; None where the key is not there."""

    key: str
    one: Any
    other: Any


def differences(one: Mapping[str, Any], other: Mapping[str, Any], trusted: Sequence[str] = ()) -> Iterator[Difference]:
    """The keys in which two models differ, defaults counted, but for those of training only."""
    first, second = (dict(_leaves(with_defaults(config, trusted), "")) for config in (one, other))
    for key in dict.fromkeys([*first, *second]):
        if first.get(key) != second.get(key) and key.rpartition(".")[2] not in BY_SHAPE:
            yield Difference(key, first.get(key), second.get(key))


def with_defaults(config: Mapping[str, Any], trusted: Sequence[str] = ()) -> dict[str, Any]:
    """The nodes of a model with each option of each component; classes by the places where they are defined."""
    return {
        name: {**PLAIN.get(name, {}), **_node(node, name, trusted)} if isinstance(node, Mapping) else node
        for name, node in config.items()
    }


def _node(node: Mapping[str, Any], place: str, trusted: Sequence[str]) -> dict[str, Any]:
    given_values = {
        key: _node(value, f"{place}.{key}", trusted) if isinstance(value, Mapping) else value
        for key, value in node.items()
    }
    role = place.rpartition(".")[2]
    if TARGET not in node or role not in ROLES:
        return given_values
    try:
        kind = resolve(node[TARGET], place, trusted)
    except UserError:  # not a component of this project; building the model says so
        return given_values
    given = GIVEN.get(role, ())
    usual = {
        name: option.default
        for name, option in options_of(kind).items()
        if name not in (*given, *ROLES) and option.default is not REQUIRED
    }
    named = {TARGET: f"{kind.__module__}.{kind.__qualname__}"}  # first, since a class differs before its options do
    return named | usual | given_values | named


def _leaves(node: Mapping[str, Any], place: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if key in TRAINING_ONLY:
            continue
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{place}{key}.")
        else:
            yield f"{place}{key}", list(value) if isinstance(value, tuple) else value
