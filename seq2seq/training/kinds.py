"""The tasks by name; a task's module is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.training.base import Kind

KINDS = {
    "translation": "seq2seq.training.tasks.translation.Translation",
    "tagging": "seq2seq.training.tasks.tagging.Tagging",
    "classification": "seq2seq.training.tasks.classification.Classification",
    "captioning": "seq2seq.training.tasks.captioning.Captioning",
    "language_modeling": "seq2seq.training.tasks.language_modeling.LanguageModeling",
}


def find(task: Mapping[str, Any]) -> Kind:
    """The kind that `task.name` names. Raises `UserError` for an unknown name or option."""
    name = task.get("name")
    if name not in KINDS:
        raise UserError(f"task.name={name!r}: there is no such task; use one of {', '.join(KINDS)}")
    module, _, kind = KINDS[str(name)].rpartition(".")
    found: Kind = getattr(import_module(module), kind)()
    for key in task:
        factory.check_key(str(key), ("name", *found.options), "task", str(name))
    return found
