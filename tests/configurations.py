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
