"""A configuration's mistakes, each named by its key, found before anything is read and before Lightning is imported."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from seq2seq.corpora import Corpus
from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.models.task_descriptors import TaskDescriptor, find_descriptor
from seq2seq.runtime.distributed import Rank, current_rank
from seq2seq.runtime.paths import packaged
from seq2seq.search import SearchOptions
from seq2seq.text import BOS, EOS, PAD, TokenizerTrainer
from seq2seq.training.configuration import wandb_options
from seq2seq.training.configuration.accelerators import check_accelerator
from seq2seq.training.configuration.option_catalogue import below, catalogue, choices, read
from seq2seq.training.configuration.option_rules import ELSEWHERE, RULES, TRAINER, check_value, like
from seq2seq.training.optimization import optimizers

COMPONENTS = ("encoder", "bridge", "context", "decoder", "head", "tokenizer", "data.corpus")
KEYS = ("name", "seed", "trust", "resume", "init_from", "init_vocabulary", "freeze", "task")
PARTS = ("data", "optimizer", "scheduler", "trainer", "logger", "callbacks")
"""The groups that every task reads in addition to its model."""
INSTEAD = {"bridge": " (zero: the decoder starts from nothing)", "search": " (greedy is the fastest)"}
MORE = {"trainer": TRAINER}
"""Keys that are known in addition to those of the YAML files."""


def check(config: Mapping[str, Any]) -> nn.Module:
    """Raise `UserError` for a key that is not known (with the nearest that is), a value of the wrong type or out of its
    range, components that do not fit each other, and a model that this machine's memory cannot hold.

    Returns the model that was built to see this: of small vocabularies, on the meta device.
    """
    task = find_descriptor(config["task"].get("name") if isinstance(config.get("task"), Mapping) else None)
    _check_parts(task, config)
    for place, value in _options(config, ""):
        _check_value(place, value)
    _check_processes(config["trainer"], current_rank())
    check_accelerator(config["trainer"])
    if config["trainer"].get("cuda_graphs") and task.name not in ("translation", "captioning"):
        raise UserError(f"trainer.cuda_graphs=true: task={task.name} has no such training step; set it to false")
    _check_length(config["trainer"], config["scheduler"])
    if (lines := config["trainer"].get("validation_lines")) and "decoder" not in task.nodes:
        raise UserError(
            f"trainer.validation_lines={lines}: a validation of {task.name} does not search; set it to null"
        )
    optimizers.check(config["optimizer"], config["scheduler"])
    if "wandb" in (config.get("logger") or {}):
        wandb_options.resolve(config["logger"]["wandb"])
    if config.get("search") is not None:
        factory.check_options(config["search"], SearchOptions, "search")
        SearchOptions(**{"bos": BOS, "eos": EOS, "pad": PAD, **config["search"]})
    trust = config["trust"]
    factory.component(config["data"].get("corpus"), "data.corpus", (), trust, Corpus)()
    trainer = factory.component(config.get("tokenizer"), "tokenizer", (), trust, TokenizerTrainer)()
    if (
        "decoder" in task.nodes
        and task.source == "text"
        and config["embedding"].get("share") is True
        and not trainer.joint
    ):
        raise UserError(
            "embedding.share=true: each side has a vocabulary of its own; set tokenizer.joint=true, or it to false"
        )
    trial = _trial_model(task, config)
    if getattr(trial, "copies", False) and not trainer.joint:
        raise UserError(
            "head=pointer: what it copies must be a token of the target, and each side has a vocabulary of its own; "
            "set tokenizer.joint=true, or use another head"
        )
    return trial


def _check_parts(task: TaskDescriptor, config: Mapping[str, Any]) -> None:
    """Raise `UserError` for a part that the task does not know, and for one that it needs and that is switched off, or
    is something else than options."""
    for key, value in config.items():
        if key == "embedding" and key not in task.nodes:  # train.yaml has it for every task
            _check_untouched(task, value)
            continue
        factory.check_key(key, (*KEYS, *PARTS, *task.groups, *task.nodes, *task.optional), "config", task.name)
    for name in (*PARTS, *task.groups, *task.nodes):
        value = config.get(name)
        if not isinstance(value, Mapping):
            off = "is switched off" if value is None else f"is {value!r}, not options"
            remedy = f"use {name}={'|'.join(known)}" if (known := choices(name)) else f"leave {name} as it is"
            raise UserError(f"{name}: {off}, and task={task.name} needs it; {remedy}{INSTEAD.get(name, '')}")


def _check_untouched(task: TaskDescriptor, embedding: Any) -> None:
    """Raise `UserError` for options of tables that the task does not have."""
    usual = read(packaged("conf") / "train.yaml")["embedding"]
    for key, value in (embedding or {}).items():
        if value != usual.get(key):
            raise UserError(f"embedding.{key}={value!r}: task={task.name} has no table of vectors; leave it out")


def _check_length(trainer: Mapping[str, Any], scheduler: Mapping[str, Any]) -> None:
    """Raise `UserError` where a training that the learning rate must know the end of has none."""
    endless = trainer.get("max_epochs") in (None, -1) and trainer.get("max_steps", -1) == -1
    if endless and scheduler.get("name") == "cosine":
        raise UserError(
            "scheduler=cosine: the learning rate needs to know where training ends; set trainer.max_epochs or "
            "trainer.max_steps, or use scheduler=constant"
        )


def _check_processes(trainer: Mapping[str, Any], rank: Rank) -> None:
    """One process trains on one device."""
    devices = trainer.get("devices", 1)
    count = len(devices) if isinstance(devices, list) else devices if isinstance(devices, int) else 1
    count = 1 if count == -1 else count  # all there are: training looks how many
    if rank.world_size == 1 and count > 1:
        raise UserError(
            f"trainer.devices={devices}: a process trains on one device; start {count} that train together: "
            f"torchrun --nproc-per-node {count} -m seq2seq train …"
        )
    if rank.world_size > 1 and count not in (1, rank.local_world_size):
        raise UserError(
            f"trainer.devices={devices}: {rank.local_world_size} processes were started here; leave it at 1"
        )
    if rank.world_size > 1 and trainer.get("split_out_of_memory"):
        raise UserError(f"trainer.split_out_of_memory=true: is for one process, not {rank.world_size}; set it to false")


def _options(node: Mapping[str, Any], place: str) -> Iterator[tuple[str, Any]]:
    """Each option outside of components, with its place."""
    for key, value in node.items():
        name = f"{place}.{key}" if place else str(key)
        if name in COMPONENTS:
            if value is not None and not (isinstance(value, Mapping) and "_target_" in value):
                raise UserError(f"{name}={value!r}: a component is expected here; use {name.split('.')[0]}=NAME")
        elif isinstance(value, Mapping) and name not in RULES and (value or name not in catalogue()):
            _check_known(name)
            yield from _options(value, name)
        else:
            yield name, value


def _check_known(place: str) -> None:
    parent, _, key = place.rpartition(".")
    if parent != "optimizer":  # torch's own, see `optimizers.check`
        factory.check_key(
            key, [*below(parent), *MORE.get(parent, ())], parent or "config", parent or "the configuration"
        )


def _check_value(place: str, value: object) -> None:
    known = catalogue().get(place)
    if remedy := ELSEWHERE.get(place.removeprefix("trainer.")) if place.startswith("trainer.") else None:
        raise UserError(f"{place}={value!r}: is not yours to set; {remedy}")
    if known is None:
        _check_known(place)
    if place.count(".") == 0 and known is None and value is None:
        return  # a group that the task has no use for
    check_value(place, value, RULES[place] if place in RULES else like(known or ()))


def _trial_model(task: TaskDescriptor, config: Mapping[str, Any]) -> nn.Module:
    """Build the model without memory for its numbers, as small as the data could make it; with others' components on
    the CPU, as they may need numbers to be made."""
    if config["trust"]:
        return factory.trial_model(task.name, config, config["trust"])
    kind: Any = factory.resolve(config["encoder"].get("_target_"), "encoder")
    if kind.reads_images and task.source != "features":
        raise UserError(f"encoder: {kind.__name__} reads images, and task={task.name} has tokens; use another encoder")
    try:
        with torch.device("meta"):
            model = factory.trial_model(task.name, config)
        needed = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    except (RuntimeError, OverflowError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{_largest(config)}: no such model can be made ({reason}); lower it") from None
    there = _memory()
    if there is not None and needed > there:
        raise UserError(
            f"{_largest(config)}: the model alone would take {needed / 1e9:,.0f} GB, and this machine has "
            f"{there / 1e9:,.0f}; lower it"
        )
    return model


def _memory() -> int | None:
    """Bytes of memory of this machine; None where the operating system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _largest(config: Mapping[str, Any]) -> str:
    """The largest number among the sizes, with its place."""
    nodes = {name: config.get(name) or {} for name in ("embedding", *COMPONENTS[:-2])}
    sizes = [(value, place) for place, value in _numbers(nodes, "")]
    value, place = max(sizes)
    return f"{place}={value}"


def _numbers(node: Mapping[str, Any], place: str) -> Iterator[tuple[str, int]]:
    for key, value in node.items():
        name = f"{place}.{key}" if place else str(key)
        if isinstance(value, Mapping):
            yield from _numbers(value, name)
        elif isinstance(value, int) and not isinstance(value, bool) and key != "halfway":
            yield name, value
