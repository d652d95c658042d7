"""Pretrained vectors in a model's tables: `embedding.vectors={source: FILE, target: FILE}`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seq2seq.corpora.vectors import read_vectors
from seq2seq.errors import UserError
from seq2seq.models.task_descriptors import TASKS
from seq2seq.text import SpellingTokenizer, Tokenizer, Tokenizers, WhitespaceTokenizer


def check(config: Mapping[str, Any]) -> None:
    """Raise `UserError` for a file that is not there, a side that has no table, and files without use."""
    files, task = given(config), config["task"]["name"]
    for side, path in files.items():
        if side not in (tables := TASKS[task].embeddings):
            sides = " and ".join(tables) or "no side"
            raise UserError(f"embedding.vectors.{side}: task={task} has vectors of its {sides} only; leave it out")
        if not path.is_file():
            raise UserError(f"embedding.vectors.{side}={path}: no such file")
    if files and config.get("init_from") is not None:
        raise UserError("embedding.vectors: init_from brings vectors of its own; leave one of the two out")
    if _embedding(config).get("share") and len(set(files.values())) > 1:
        raise UserError("embedding.vectors: embedding.share=true has one table for both sides; give one file")
    for side in _embedding(config).get("freeze_vectors") or ():
        if side not in files:
            raise UserError(
                f"embedding.freeze_vectors={side}: has no file of vectors; set embedding.vectors.{side}=FILE"
            )


def given(config: Mapping[str, Any]) -> dict[str, Path]:
    """The file of each side that has one."""
    vectors = _embedding(config).get("vectors") or {}
    return {side: Path(path).expanduser() for side, path in vectors.items() if path is not None}


def _embedding(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options of the tables; none where a task has no table."""
    options: Mapping[str, Any] = config.get("embedding") or {}
    return options


def place(model: nn.Module, config: Mapping[str, Any], tokenizers: Tokenizers) -> list[str]:
    """Write the vectors into the model's tables, and take those that are frozen out of training: the table of a side,
    with the rows of which the file has nothing.

    Returns a line about each file. Raises `UserError` for a file that is none of vectors of this width.
    """
    frozen, told = _embedding(config).get("freeze_vectors") or (), []
    for side, path in given(config).items():
        table: Any = model.get_submodule(TASKS[config["task"]["name"]].embeddings[side])
        pretrained = read_vectors(path, _words(getattr(tokenizers, side)), table.weight.size(1))
        chosen = torch.from_numpy(pretrained.exact | pretrained.composed)
        with torch.no_grad():
            table.weight[chosen] = torch.from_numpy(pretrained.values)[chosen].to(table.weight)
        if side in frozen:
            table.weight.requires_grad_(False)
        told.append(f"embedding.vectors.{side}: {pretrained}")
    return told


def _words(tokenizer: Tokenizer) -> Tokenizer:
    """Whose tokens are the rows of a table: bytes of words have vectors of their own."""
    return WhitespaceTokenizer(**tokenizer.describe()) if isinstance(tokenizer, SpellingTokenizer) else tokenizer
