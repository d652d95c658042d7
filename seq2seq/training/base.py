"""The base class of tasks: `task.name` chooses a `Task`, and Lightning trains its `TaskModule`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple, Protocol

import pytorch_lightning as lightning
from pytorch_lightning.callbacks import Callback

from seq2seq.models import factory
from seq2seq.models.source_factors import factor_sizes
from seq2seq.models.task_descriptors import TASKS, TaskDescriptor, find_descriptor
from seq2seq.scoring.suitability import Weakness
from seq2seq.text import Tokenizers
from seq2seq.training.task_module import TaskModule

Scored = dict[str, dict[str, Any]]
"""Scores by metric, as `seq2seq.scoring.Scores.as_dict` gives them: each a `value` and a `signature`."""


class Source(Protocol):
    """What a run records about its corpus."""

    name: str
    source_language: str
    target_language: str


class Data(lightning.LightningDataModule, ABC):
    """Corpus, tokenizers and batches of a run. `statistics` go to log and card, `fingerprint` hashes all text."""

    corpus: Source
    tokenizers: Tokenizers
    statistics: dict[str, Any]
    fingerprint: str


class Outcome(NamedTuple):
    """The result of training, to be scored: the module's model has the best weights."""

    data: Any
    module: TaskModule
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]


class Card(NamedTuple):
    """What a model card says of a task: one sentence, how model hubs call the task, and how the bundle is used (with
    {bundle} in its place)."""

    summary: str
    hub_task: str
    use: str


class Task(ABC):
    """One task, without state: what it reads, trains and scores. Its model is that of its descriptor."""

    name: str
    """A name of `TASKS`."""
    options: tuple[str, ...]
    """The keys of the configuration's `task` in addition to `name`."""
    metrics: tuple[str, ...]
    """What its validation logs, and a callback may monitor."""

    @property
    def descriptor(self) -> TaskDescriptor:
        """What other rooms know of the task."""
        return TASKS[self.name]

    def logged(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        """`metrics`, where the task's options do not choose others."""
        return self.metrics

    def best_by(self, config: Mapping[str, Any]) -> str:
        """The logged metric that chooses the best model where `monitor` is auto."""
        return self.descriptor.val_metric

    def weakness(self, metric: str, data: Any) -> Weakness | None:
        """Why a logged metric cannot distinguish models by the references of val; None where it can."""
        return None

    def reporting(self, config: Mapping[str, Any], metric: str) -> Mapping[str, Any]:
        """The configuration's `task`, such that `metric` is logged, and comes first in the test."""
        options: Mapping[str, Any] = config["task"]
        return options

    @abstractmethod
    def check(self, config: Mapping[str, Any], trial: Any) -> None:
        """Raise `UserError` for what the schema does not know to be wrong, before data are read. `trial` is the model,
        of small vocabularies; it may be on the meta device."""

    @abstractmethod
    def data(self, config: Mapping[str, Any]) -> Any:
        """The data of a run, a `Data`; a run that starts from a bundle keeps the bundle's tokenizers."""

    def sizes(self, data: Any) -> dict[str, int]:
        """The sizes that the model takes from the data; see `factory.model`."""
        sizes = {"source": len(data.tokenizers.source), "target": len(data.tokenizers.target)}
        return sizes | factor_sizes(data.tokenizers)

    def describe(self, data: Any) -> str:
        """One line for the terminal: what is trained on."""
        counts = data.statistics
        return (
            f"{data.corpus.name}, {counts['pairs']:,} pairs to train on "
            f"({counts['dropped_empty']:,} empty and {counts['dropped_long']:,} over-long ones dropped), "
            f"{counts['vocabulary']['source']:,} source and {counts['vocabulary']['target']:,} target tokens"
        )

    def remark(self, config: Mapping[str, Any], data: Any) -> str | None:
        """One more line for the terminal, where the data and the configuration hardly fit."""
        return None

    @abstractmethod
    def module(self, config: Mapping[str, Any], model: Any, data: Any) -> TaskModule:
        """The LightningModule that trains `model`."""

    def callbacks(self, config: Mapping[str, Any], data: Any, folder: Path) -> Sequence[Callback]:
        """More callbacks than those of every task."""
        return ()

    @abstractmethod
    def score(self, outcome: Outcome, folder: Path) -> dict[str, Scored]:
        """The scores of each test split; leaves its predictions and pictures in `folder`."""

    def search(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """The search options that the bundle keeps."""
        return {}

    @abstractmethod
    def card(self, outcome: Outcome) -> Card:
        """What the bundle's card says."""


def load_task(options: Mapping[str, Any]) -> Task:
    """The task of the configuration's `task`, whose module is imported now. Raises `UserError` for an unknown name or
    option."""
    task: Task = resolve_name(find_descriptor(options.get("name")).training)()
    for key in options:
        factory.check_key(str(key), ("name", *task.options), "task", task.name)
    return task


def common(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of every `TaskModule`."""
    return {"optimizer": config["optimizer"], "scheduler": config["scheduler"]}
