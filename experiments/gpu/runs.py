"""Runs of the project's own trainer on small files of each kind, prepared as `seq2seq train` prepares them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from experiments.gpu.check import Setting
from experiments.gpu.models import LABELLED, SMALL, TRANSLATION, composed
from seq2seq.runtime.distributed import current_rank
from seq2seq.training import run as training
from seq2seq.training.callbacks.signals import Stopping
from seq2seq.training.setup import Run, RunContext, prepare
from seq2seq.training.start.resuming import Start

COMMON = [
    "trainer.enable_progress_bar=false",
    "trainer.limit_val_batches=0",
    "trainer.max_epochs=3",
    "callbacks.early_stopping.patience=null",
    "scheduler=constant",
    "logger=null",
    "optimizer.lr=0.002",
]
WORDS = "the a old red small man dog house sees calls runs sleeps and in".split()


def corpora(folder: Path) -> dict[str, list[str]]:
    """Small files of each kind under `folder`, and the overrides that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("SEQ2SEQ_CACHE", str(folder / "cache"))
    draw = random.Random(1)
    sentences = [draw.choices(WORDS, k=draw.randint(2, 12)) for _ in range(400)]
    rows = {
        "tsv": [f"{' '.join(words)}\t{' '.join(word[::-1] for word in reversed(words))}" for words in sentences],
        "tagged": [f"{' '.join(words)}\t{' '.join(_tag(word) for word in words)}" for words in sentences],
        "sets": [f"{' '.join(words)}\t{' '.join(_set(word) for word in words)}" for words in sentences],
        "labelled": [f"{' '.join(words)}\t{'long' if len(words) > 6 else 'short'}" for words in sentences],
        "text": [" ".join(words) for words in sentences],
        "features": [
            json.dumps({"features": [[float(len(word)), *([0.5] * 11)] for word in words], "target": " ".join(words)})
            for words in sentences
        ],
    }
    for kind, lines in rows.items():
        for split, part in (("train", lines), ("val", lines[:20])):
            suffix = "jsonl" if kind == "features" else "txt"
            (folder / f"{kind}.{split}.{suffix}").write_text("".join(f"{line}\n" for line in part), encoding="utf-8")

    def files(kind: str, suffix: str = "txt") -> list[str]:
        return [f"data.corpus.{split}={folder}/{kind}.{split}.{suffix}" for split in ("train", "val")]

    languages = ["data.corpus.source_language=en", "data.corpus.target_language=xx"]
    words, batches = ["tokenizer=whitespace"], ["data.batch_size=8"]
    labels = [*LABELLED, *batches, "data.corpus.source_language=en"]
    return {
        "translation": ["data=tsv", *files("tsv"), *languages, *words, *batches, *SMALL, *TRANSLATION],
        "tagging": ["task=tagging", "data=tagged", *files("tagged"), *labels],
        "tagging, sets": [
            *("task=tagging", "data=tagged", *files("sets"), *labels),
            *("labels.many=true", "task.entities=false"),
        ],
        "classification": ["task=classification", "data=labelled", *files("labelled"), *labels],
        "language modelling": [
            *("task=language_modeling", "data=text", *files("text"), "tokenizer=characters", "task.window=16"),
            *(*LABELLED, *batches),
        ],
        "captioning": [
            *("task=captioning", "data=features", *files("features", "jsonl"), "encoder=recurrent"),
            *("data.corpus.target_language=en", *words, *batches, *SMALL, *TRANSLATION),
        ],
    }


def _tag(word: str) -> str:
    return "B-thing" if word in ("man", "dog", "house") else "O"


def _set(word: str) -> str:
    return "thing|noun" if word in ("man", "dog", "house") else "O"


@contextlib.contextmanager
def prepared(setting: Setting, folder: Path, overrides: Sequence[str], begin: Start | None = None) -> Iterator[Run]:
    """A run that is ready to fit, as `seq2seq train` prepares it."""
    accelerator = "cuda" if setting.cuda else "cpu"
    config = composed(*COMMON, f"trainer.accelerator={accelerator}", *overrides)
    task = training.check(config)
    with Stopping(together=False) as stopping, contextlib.redirect_stdout(io.StringIO()):
        context = RunContext(begin or Start(), time.monotonic(), stopping, None, current_rank())
        yield prepare(task, config, folder, context)


def fit(run: Run, begin: Start | None = None) -> None:
    training.fit(run, begin or Start())


def new_folder(setting: Setting) -> Path:
    """A new folder for a run."""
    runs = setting.folder / "runs"
    runs.mkdir(exist_ok=True)
    return runs / f"{len(list(runs.iterdir()))}-{time.monotonic_ns()}"
