"""What a configuration means where a part of it is switched off (`KEY=null`) or a key was taken away (`~KEY`).

    callbacks.early_stopping    training runs to its end
    callbacks.checkpoint        no best model is chosen: the last weights are kept and bundled
    callbacks                   neither of them
    scheduler                   the learning rate stays as it is
    logger, logger.NAME         metrics.csv only, or one view of it less
    decoder.feedback            teacher forcing
    any other key               its default, as in the YAML files

What a model cannot do without (encoder, optimizer, task, …) is refused when the configuration is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any

from seq2seq.runtime.paths import packaged
from seq2seq.training.configuration.option_catalogue import read

NO_SCHEDULE = "constant"
OFF: dict[str, dict[str, Any]] = {
    "checkpoint": {"monitor": "val_loss", "mode": "min", "save_top_k": 0},
    "early_stopping": {"monitor": "val_loss", "mode": "min", "patience": None},
}
"""What the parts of `callbacks` say where they are switched off."""
TOP = ("seed", "trust", "resume", "init_from", "init_vocabulary", "freeze")


def filled(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a configuration in which each part that is switched off, and each key that is missing, has the value
    that it stands for. What is there, right or wrong, stays as it is."""
    usual = _file("train")
    full = _with({**{key: usual[key] for key in TOP}, "name": "unnamed"}, config)
    full["trainer"] = _with(_file("trainer/default"), full.get("trainer"))
    full["scheduler"] = _scheduler(full.get("scheduler"))
    full["logger"] = _logger(full.get("logger"))
    full["callbacks"] = _callbacks(full.get("callbacks"))
    full["optimizer"] = _optimizer(full.get("optimizer"))
    if isinstance(full.get("embedding"), Mapping):
        full["embedding"] = _with({"size": usual["embedding"]["size"]}, full["embedding"])
    if isinstance(decoder := full.get("decoder"), Mapping) and decoder.get("feedback", 0) is None:
        full["decoder"] = {key: value for key, value in decoder.items() if key != "feedback"}
    settled: dict[str, Any] = full | _task(full)
    return settled


def _file(name: str) -> dict[str, Any]:
    """The options of a packaged file; none where there is no such file."""
    options: dict[str, Any] = deepcopy(_read(name))
    return options


@cache
def _read(name: str) -> dict[str, Any]:
    path = packaged("conf") / f"{name}.yaml"
    return read(path) if path.is_file() else {}


def _with(usual: Mapping[str, Any], given: Any) -> Any:
    """`given`, then the keys of `usual` that it lacks; something else than options is for `check` to refuse."""
    if given is not None and not isinstance(given, Mapping):
        return given
    return {**(given or {}), **{key: value for key, value in usual.items() if key not in (given or {})}}


def _scheduler(given: Any) -> Any:
    named = given.get("name", "") if isinstance(given, Mapping) else NO_SCHEDULE if given is None else ""
    return _with(_file(f"scheduler/{named}"), given)


def _optimizer(given: Any) -> Any:
    """torch has its own default for all but the learning rate."""
    if not isinstance(given, Mapping):
        return given
    usual = _file(f"optimizer/{given.get('name')}")
    return _with({"lr": usual["lr"]} if usual else {}, given)


def _logger(given: Any) -> Any:
    if not isinstance(given, Mapping):
        return given or {}
    return {
        name: _with(_file(f"logger/{name}").get(name, {}), options)
        for name, options in given.items()
        if options is not None
    }


def _callbacks(given: Any) -> Any:
    if given is not None and not isinstance(given, Mapping):
        return given
    callbacks, usual = dict(given or {}), _file("callbacks/default")
    for place, off in OFF.items():
        callbacks[place] = _with({**usual[place], **({} if callbacks.get(place) else off)}, callbacks.get(place))
    return callbacks


def _task(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the task, and `labels`, with what is missing."""
    task = config.get("task")
    if not isinstance(task, Mapping) or not isinstance(task.get("name"), str):
        return {}
    usual = _file(f"task/{task['name']}")
    nodes = {"task": _with(usual.get("task", usual), task)} if usual else {}
    if "labels" in usual:
        nodes["labels"] = _with(usual["labels"], config.get("labels"))
    return nodes
