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
    found = _with({**{key: usual[key] for key in TOP}, "name": "unnamed"}, config)
    found["trainer"] = _with(_file("trainer/default"), found.get("trainer"))
    found["scheduler"] = _scheduler(found.get("scheduler"))
    found["logger"] = _logger(found.get("logger"))
    found["callbacks"] = _callbacks(found.get("callbacks"))
    found["optimizer"] = _optimizer(found.get("optimizer"))
    if isinstance(found.get("embedding"), Mapping):
        found["embedding"] = _with({"size": usual["embedding"]["size"]}, found["embedding"])
    if isinstance(decoder := found.get("decoder"), Mapping) and decoder.get("feedback", 0) is None:
        found["decoder"] = {key: value for key, value in decoder.items() if key != "feedback"}
    settled: dict[str, Any] = found | _task(found)
    return settled


def _file(name: str) -> dict[str, Any]:
    """The options of a packaged file; none where there is no such file."""
    found: dict[str, Any] = deepcopy(_read(name))
    return found


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
    found, usual = dict(given or {}), _file("callbacks/default")
    for place, off in OFF.items():
        found[place] = _with({**usual[place], **({} if found.get(place) else off)}, found.get(place))
    return found


def _task(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the task, and `labels`, with what is missing."""
    task = config.get("task")
    if not isinstance(task, Mapping) or not isinstance(task.get("name"), str):
        return {}
    usual = _file(f"task/{task['name']}")
    found = {"task": _with(usual.get("task", usual), task)} if usual else {}
    if "labels" in usual:
        found["labels"] = _with(usual["labels"], config.get("labels"))
    return found
