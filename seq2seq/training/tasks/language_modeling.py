"""Language modelling as a task: stateful truncated backpropagation through time, and bits per character."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seq2seq import __version__
from seq2seq.corpora import Corpus, StreamData
from seq2seq.errors import UserError
from seq2seq.models import LanguageModel, factory
from seq2seq.nn.encoders import StackState
from seq2seq.nn.types import Window, map_tensors
from seq2seq.runtime.atomic_files import atomic_write
from seq2seq.runtime.distributed import gathered, part
from seq2seq.text import EOS, UNK, TokenizerTrainer
from seq2seq.training.base import Card, Outcome, Scored, Task, common
from seq2seq.training.start.init_from import starting_tokenizers
from seq2seq.training.task_module import TaskModule

USE = """\
```sh
seq2seq sample BUNDLE --prompt {prompt} --length 500 --temperature 0.8 --top-p 0.95
```
"""


class LanguageModelingModule(TaskModule):
    """Trains a `LanguageModel` on the windows of a stream.

    `state` is what the training's rows have read so far: carried from window to window as a constant, and reset where
    a window begins the stream; also, with probability `reset`, of any one row at any window: a network that only
    continues reading may come to rely on what thousands of steps leave in its state, and fail where a text begins.
    Within a window errors are carried back `truncate` recurrent connections, or all the way. Validation carries
    `validation_state` through its own stream. `characters_per_token` is that of the validation text.
    """

    model: LanguageModel
    remedy = "lower data.batch_size or task.window"

    def __init__(
        self,
        model: LanguageModel,
        *,
        optimizer: Mapping[str, Any],
        scheduler: Mapping[str, Any],
        truncate: int | None,
        reset: float,
        characters_per_token: float,
    ) -> None:
        super().__init__(model, optimizer=optimizer, scheduler=scheduler)
        self.truncate, self.reset, self.characters_per_token = truncate, reset, characters_per_token
        self.state: StackState = ()
        self.validation_state: StackState = ()

    def loss(self, batch: Window, *, training: bool) -> tuple[Tensor, Tensor]:
        """Σ −log p(token) over all tokens of the window's rows."""
        before = self._before(batch, training=training)
        reach = self.truncate if training else None
        total, after = self.model.loss(batch.inputs, batch.targets, before, reach=reach)
        if training:
            self.state = map_tensors(Tensor.detach, after)
        else:
            self.validation_state = after
        return total, batch.targets.new_full((), batch.targets.numel())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the carried state, as plain tensors, of the rows of all processes."""
        super().on_save_checkpoint(checkpoint)
        tensors: list[Tensor] = []
        map_tensors(lambda x: tensors.append(x.cpu()) or x, self.state)  # type: ignore[func-returns-value]
        checkpoint["seq2seq_state"] = [torch.cat(rows) for rows in zip(*gathered(tensors), strict=True)]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the state of this rank's rows; a checkpoint before the first batch has none."""
        super().on_load_checkpoint(checkpoint)
        if tensors := checkpoint["seq2seq_state"]:
            rows = part(len(tensors[0]), self.trainer.global_rank, self.trainer.world_size)
            values = iter(tensors)
            self.state = map_tensors(lambda _: next(values)[rows], self.model.init_state(1))

    def on_train_start(self) -> None:
        """Move a loaded state to the model's device."""
        self.state = map_tensors(lambda x: x.to(self.device), self.state)

    def _before(self, batch: Window, *, training: bool) -> StackState:
        if batch.begin:
            return self.model.init_state(len(batch.inputs))
        if not training:
            return self.validation_state
        if not self.reset:
            return self.state
        kept = torch.rand(len(batch.inputs), 1, device=batch.inputs.device) >= self.reset
        return map_tensors(lambda x: x * kept, self.state)

    def validated(self) -> dict[str, float]:
        """Compute bits per character, as `val_bpc`."""
        nats = float(self._validation[0] / self._validation[1])
        return {"val_bpc": nats / math.log(2) / self.characters_per_token}


class LanguageModeling(Task):
    """N-to-N: the next token at each position, of any text."""

    name = "language_modeling"
    options = ("window", "truncate", "reset")
    metrics = ("val_loss", "val_bpc")

    def check(self, config: Mapping[str, Any], trial: LanguageModel) -> None:
        """Raise `UserError` for two vocabularies, and for batches that would be split."""
        if not config["tokenizer"].get("joint", True):
            raise UserError("tokenizer.joint=false: a language model has one vocabulary; set tokenizer.joint=true")
        if config["trainer"].get("split_out_of_memory"):
            raise UserError(
                "trainer.split_out_of_memory=true: a language model carries its state from batch to batch, which are "
                "not split; lower data.batch_size or task.window"
            )

    def data(self, config: Mapping[str, Any]) -> StreamData:
        """Read the stream of text."""
        options = {
            key: value for key, value in config["data"].items() if key not in ("corpus", "vocabulary_size", "root")
        }
        for key in options:
            factory.check_key(key, ("batch_size",), "data", "language modelling")
        corpus = factory.component(config["data"]["corpus"], "data.corpus", (), config["trust"], Corpus)()
        trainer = factory.component(config["tokenizer"], "tokenizer", (), config["trust"], TokenizerTrainer)()
        trainer, tokenizers = starting_tokenizers(config, trainer)
        window = config["task"]["window"]
        return StreamData(corpus, trainer, seed=config["seed"], window=window, tokenizers=tokenizers, **options)

    def describe(self, data: StreamData) -> str:
        """Describe for the terminal how much text there is."""
        counts = data.statistics
        return (
            f"{data.corpus.name}, {counts['train_tokens']:,} tokens to train on, {counts['val_tokens']:,} to validate "
            f"on, {counts['vocabulary']['target']:,} different ones; {counts['windows']:,} windows an epoch"
        )

    def module(self, config: Mapping[str, Any], model: LanguageModel, data: StreamData) -> LanguageModelingModule:
        """Make the module that trains the language model."""
        return LanguageModelingModule(
            model,
            **common(config),
            truncate=config["task"]["truncate"],
            reset=config["task"]["reset"],
            characters_per_token=data.characters("val") / len(data.stream("val")),
        )

    def score(self, outcome: Outcome, folder: Path) -> dict[str, Scored]:
        """Bits per character and perplexity a token of each test, read as one stream. SPLIT.lines.txt holds the bits
        per character of each line, a tab, and the line."""
        tests: dict[str, Scored] = {}
        for split in outcome.data.corpus.splits[2:]:
            tests[split] = _score(split, outcome, folder)
        return tests

    def card(self, outcome: Outcome) -> Card:
        """With the beginning of the validation text as a prompt."""
        first = next((line for _, line in outcome.data.corpus.pairs("val") if line.strip()), "")
        prompt = "'" + first[:30].replace("'", "'\\''") + "'"
        return Card("Writes text, a token after the other.", "text-generation", USE.format(prompt=prompt))


@torch.no_grad()
def surprise(model: LanguageModel, data: StreamData, split: str) -> NDArray[np.float64]:
    """−log p of every token of a split, in nats: one pass, each token with all tokens before it as its past."""
    device, state, losses = next(model.parameters()).device, model.init_state(1), []
    for window in data.ordered(split):
        nats, state = model.token_losses(window.inputs.to(device), window.targets.to(device), state)
        losses.append(nats[0].double().cpu())
    return torch.cat(losses).numpy()


def _score(split: str, outcome: Outcome, folder: Path) -> Scored:
    data = outcome.data
    nats, stream = surprise(outcome.module.model.eval(), data, split), np.asarray(data.stream(split))  # type: ignore[arg-type]
    ends = np.flatnonzero(stream == EOS)
    bits = np.add.reduceat(nats, np.concatenate([[0], ends[:-1] + 1])) / math.log(2)
    lines = [line for _, line in data.corpus.pairs(split)]
    with atomic_write(folder / f"{split}.lines.txt") as path:
        listed = (f"{total / (len(line) + 1):.3f}\t{line}\n" for total, line in zip(bits, lines, strict=True))
        path.write_text("".join(listed), encoding="utf-8", newline="\n")
    characters = sum(len(line) + 1 for line in lines)
    signature = (
        f"characters:{characters}|tokens:{len(stream)}|unk:{int((stream == UNK).sum())}|"
        f"tokenizer:{data.tokenizers.target.kind}|state:carried|version:{__version__}"
    )
    values = {"bits per character": bits.sum() / characters, "perplexity": math.exp(nats.mean())}
    return {name: {"value": float(value), "signature": signature} for name, value in values.items()}
