"""Composed configurations of each task, and how tests change them."""

from functools import cache
from typing import Any

from seq2seq.cli.composing.configurations import composed as hydra_composed
from seq2seq.cli.composing.configurations import composing

TASKS = {
    "translation": [],
    "tagging": [],
    "classification": ["data.corpus.labels=intents"],
    "language_modeling": ["data=shakespeare"],
    "captioning": [],
    "regression": [],
}
Config = dict[str, Any]


@cache
def composed(task: str) -> Config:
    with composing():
        return hydra_composed([f"task={task}", "name=x", *TASKS[task]])


def copied(config: Config, place: str) -> tuple[Config, Config]:
    """A copy that may be changed at a place, and the node there; all else is shared (a check changes nothing)."""
    found = node = dict(config)
    for key in filter(None, place.split(".")):
        node[key] = dict(node[key])
        node = node[key]
    return found, node


def put(config: Config, place: str, value: object) -> None:
    *above, last = place.split(".")
    for key in above:
        config[key] = config.get(key) or {}
        config = config[key]
    config[last] = value


def get(config: Config, place: str) -> Any:
    found: Any = config
    for key in place.split("."):
        found = found[key]
    return found
