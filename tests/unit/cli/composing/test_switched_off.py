"""Every node and every key of every task's configuration, switched off by null and taken away by ~: each means
something, or is refused in one line. What it means is tested by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from seq2seq.cli.composing.configurations import composed as hydra_composed
from seq2seq.cli.composing.configurations import composing
from seq2seq.cli.composing.switching import spelled_for_hydra
from seq2seq.errors import UserError
from seq2seq.training import run
from seq2seq.training.configuration.switched_off import filled
from tests.configurations import TASKS, Config, composed, copied


def places(node: Config, place: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield (name := f"{place}.{key}" if place else str(key))
        if isinstance(value, dict):
            yield from places(value, name)


def outcome(config: Config) -> str | None:
    """What the check says; None where it says nothing. Anything but `UserError` fails the test."""
    try:
        run.check(filled(config))
    except UserError as error:
        return str(error)
    return None


SAME = ("trainer", "optimizer", "scheduler", "logger", "search")  # in all tasks: tried in one


@pytest.mark.slow
@pytest.mark.usefixtures("trainers_made_once")
@pytest.mark.parametrize("task", TASKS)
def test_every_node_and_key(task: str) -> None:
    for place in places(composed(task)):
        if task != "translation" and place.startswith(SAME):
            continue
        above, _, last = place.rpartition(".")
        for off in (True, False):
            config, node = copied(composed(task), above)
            node |= {last: None}
            if not off:
                del node[last]
            told = outcome(config)
            assert told is None or "\n" not in told
            assert told is None or place.split(".")[0] in told or place.rpartition(".")[2] in told, (place, told)


def settled(*overrides: str) -> Config:
    with composing():
        return hydra_composed(list(overrides))


class TestMeaning:
    def test_no_schedule_is_a_constant_rate(self) -> None:
        assert settled("scheduler=null")["scheduler"] == {"name": "constant", "warmup_steps": 0}

    @pytest.mark.parametrize("off", ["logger=null", "~logger", "logger=[]", "logger=wandb logger.wandb=null"])
    def test_no_logger(self, off: str) -> None:
        assert settled(*off.split())["logger"] == {}

    def test_no_checkpoint_and_no_early_stopping(self) -> None:
        for found in (settled("~callbacks"), settled("callbacks.checkpoint=null", "~callbacks.early_stopping")):
            assert found["callbacks"]["checkpoint"]["save_top_k"] == 0
            assert found["callbacks"]["early_stopping"]["patience"] is None

    def test_a_key_that_is_taken_away_has_its_default(self) -> None:
        found = settled("seed=7", "~seed", "~trainer.precision", "~task.label_smoothing", "~optimizer.lr", "~name")
        assert (found["seed"], found["trainer"]["precision"]) == (1, "32-true")
        assert (found["task"]["label_smoothing"], found["optimizer"]["lr"]) == (0.1, 0.001)
        assert found["name"] == "default-embedded"

    def test_a_group_that_no_one_needs_to_choose(self) -> None:
        assert settled("experiment=null") == settled("~experiment") == settled()

    def test_what_is_there_stays(self) -> None:
        for task in TASKS:
            assert filled(composed(task)) == composed(task)


@pytest.mark.parametrize(
    ("typed", "spelled"),
    [
        ("scheduler=null", "~scheduler"),
        ("cell@decoder.cell=null", "~cell@decoder.cell"),
        ("logger=null", "logger=[]"),
        ("~logger", "logger=[]"),
        ("~scheduler", "~scheduler"),
        ("scheduler=cosine", "scheduler=cosine"),
        ("optimizer.lr=null", "optimizer.lr=null"),
        ("~name", None),
        ("experiment=null", None),
    ],
)
def test_spelled_for_hydra(typed: str, spelled: str | None) -> None:
    assert spelled_for_hydra([typed]) == ([] if spelled is None else [spelled])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"optimizer": None}, "use optimizer=adadelta|adam|adamw|sgd"),
        ({"bridge": None}, "use bridge=copy|linear|zero (zero: the decoder starts from nothing)"),
        ({"search": None}, "(greedy is the fastest)"),
        ({"embedding": None}, "embedding: is switched off, and task=translation needs it"),
        ({"trainer": 5}, "trainer: is 5, not options"),
        ({"task": None}, "task.name"),
    ],
)
def test_what_no_run_can_do_without(wrong: dict[str, Any], told: str) -> None:
    assert told in (outcome({**composed("translation"), **wrong}) or "")
