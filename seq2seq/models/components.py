"""Names to component classes: the only place that imports what a configuration names.

A node is a plain mapping with `_target_`, the dotted name of a component class, and that class's own hyper-parameters;
nodes may nest (`encoder.cell`). A `_target_` resolves only to a class of a known base in this project, or in a package
that the user named as trusted; nothing else is ever imported or called, so that a configuration which came with a model
is only data.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from seq2seq.errors import UserError
from seq2seq.models.options import REQUIRED, arguments_of, check_key, check_range, check_type, options_of
from seq2seq.nn.bridges import Bridge
from seq2seq.nn.cells import Cell
from seq2seq.nn.contexts import Context
from seq2seq.nn.decoder import Decoder
from seq2seq.nn.encoders import Encoder
from seq2seq.nn.heads import Head
from seq2seq.nn.scheduled_sampling import Feedback
from seq2seq.runtime.old_names import current_name, current_value
from seq2seq.text import TokenizerTrainer

ROLES: dict[str, type] = {
    "cell": Cell,
    "encoder": Encoder,
    "bridge": Bridge,
    "context": Context,
    "decoder": Decoder,
    "head": Head,
    "feedback": Feedback,
    "source": TokenizerTrainer,  # of a tokenizer that differs by side
    "target": TokenizerTrainer,
}
"""What a node of this name must be; the name is the last word of its place in the configuration."""

COMPONENTS = (
    *("seq2seq.corpora", "seq2seq.text", "seq2seq.nn.bridges", "seq2seq.nn.cells", "seq2seq.nn.contexts"),
    *("seq2seq.nn.decoder", "seq2seq.nn.encoders", "seq2seq.nn.heads", "seq2seq.nn.pointer_head"),
    *("seq2seq.nn.scheduled_sampling", "seq2seq.nn.conditional_decoder"),
)
"""Where this project's components are. No other module of it is imported for a name: `seq2seq.__main__` would run."""

GIVEN = {
    "encoder": ("input_size",),
    "bridge": ("memory_size", "encoder_states", "decoder_states", "more"),
    "context": ("memory_size", "query_size"),
    "decoder": ("embedding", "memory_size", "context", "head"),
    "head": ("state_size", "context_size", "embedding"),
    "cell": ("input_size", "hidden_size"),
}
"""The arguments that the model passes itself, so that no size is given twice."""


def resolve(target: object, place: str, trusted: Sequence[str] = (), base: type | None = None) -> type:
    """The component class that `target` names.

    Raises `UserError` unless it is a class of the base that its place asks for, defined in this project's component
    modules or in one of the `trusted` packages, which may also be modules in the current folder. A name that a
    component had before its module moved is the same class (old_names.py).
    """
    base = base or ROLES[place.rpartition(".")[2]]
    module_name, _, name = str(current_name(target)).rpartition(".")
    package = module_name.partition(".")[0]
    if not isinstance(target, str) or not name.isidentifier() or package not in ("seq2seq", *trusted):
        raise UserError(
            f"{place}._target_: {target!r} is not a component of seq2seq; "
            f"if it is your own, name its package: trust=[{package or 'PACKAGE'}] (--trust when translating)"
        )
    if package == "seq2seq" and not f"{module_name}.".startswith(tuple(f"{part}." for part in COMPONENTS)):
        raise UserError(f"{place}._target_: {target!r} is not a component")
    if package in trusted and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # last, so that nothing installed is hidden by a file of this folder
    try:
        named = getattr(importlib.import_module(module_name), name, None)
    except ImportError as error:
        raise UserError(f"{place}._target_: {target!r} cannot be imported: {error}") from error
    if not isinstance(named, type) or not issubclass(named, base) or inspect.isabstract(named):
        raise UserError(f"{place}._target_: {target!r} is not a {base.__name__}")
    if named.__module__.partition(".")[0] not in ("seq2seq", *trusted):
        raise UserError(f"{place}._target_: {target!r} comes from {named.__module__}, which is not trusted")
    return named


def component(
    node: object, place: str, given: Sequence[str] = (), trusted: Sequence[str] = (), base: type | None = None
) -> Callable[..., Any]:
    """The class that a node names, with the node's hyper-parameters bound.

    `given` are the arguments that its owner will pass, `base` is what it must be where its place is no part of a model.
    Every keyword and its type is checked against the signature first. Raises `UserError` naming the key, its class, and
    the nearest right key.
    """
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise UserError(f"{place}: a component with _target_ is expected here, not {node!r}")
    kind = resolve(node["_target_"], place, trusted, base)
    values = {str(key): current_value(str(key), value) for key, value in node.items() if key != "_target_"}
    options = options_of(kind)
    for key, value in values.items():
        check_key(key, [name for name in options if name not in given], place, kind.__name__)
        if key not in ROLES:
            check_type(value, options[key].hint, f"{place}.{key}")
        check_range(key, value, place)
    missing = [
        name
        for name, option in options.items()
        if option.default is REQUIRED and name not in values and name not in given
    ]
    if missing:
        raise UserError(f"{place}: {kind.__name__} needs {', '.join(missing)}")
    bound = {key: _bind(key, value, f"{place}.{key}", trusted) for key, value in values.items()}
    return functools.partial(kind, **arguments_of(kind, bound))


def _bind(key: str, value: object, place: str, trusted: Sequence[str]) -> object:
    return component(value, place, GIVEN.get(key, ()), trusted) if key in ROLES else value
