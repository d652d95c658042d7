"""Training through the project's own trainer: each task in each precision, steps without a host synchronisation, and a
resume to the bit."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import random
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback

from experiments.gpu.check import Cases, Setting
from experiments.gpu.models import COPIED, LABELLED, SMALL, TRANSLATION, composed, distance
from seq2seq.runtime.distributed import current_rank
from seq2seq.training import run as training
from seq2seq.training.callbacks.signals import Stopping
from seq2seq.training.setup import Run, RunContext, prepare
from seq2seq.training.start.resuming import Start

PRECISIONS = {
    "32-true, highest": ["trainer.precision=32-true", "trainer.float32_matmul_precision=highest"],
    "32-true, high": ["trainer.precision=32-true", "trainer.float32_matmul_precision=high"],
    "bf16-mixed": ["trainer.precision=bf16-mixed"],
    "16-mixed": ["trainer.precision=16-mixed"],
}
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
EVERY = 4  # steps between two that log


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


# Every task in every precision


def train(setting: Setting, cases: Cases) -> None:
    """A few steps of each task; all losses and weights are finite, and the weights have changed."""
    for task, overrides in corpora(setting.folder / "corpora").items():
        for name, precision in PRECISIONS.items():
            if setting.quick and (task not in ("translation", "tagging, sets") or "high" in name.split()):
                continue
            cases.run(f"{task}, {name}", _trained, setting, [*overrides, *precision, "trainer.max_steps=4"])
    changes = {"model=bahdanau2015": [], "model=luong2015": COPIED["luong2015"]}
    for model, more in {} if setting.quick else changes.items():
        for name, precision in PRECISIONS.items():
            overrides = [*corpora(setting.folder / "corpora")["translation"], model, *more, *precision]
            cases.run(f"{model}, {name}", _trained, setting, [*overrides, "trainer.max_steps=4"])
    text = corpora(setting.folder / "corpora")["translation"]
    cases.run("cuda_graphs", _graphed, setting, [*text, "model=bahdanau2015"])


def _trained(setting: Setting, overrides: Sequence[str]) -> dict[str, Any]:
    with prepared(setting, _folder(setting), overrides) as run:
        before = [parameter.detach().clone() for parameter in run.module.model.parameters()]
        losses = Losses()
        run.trainer.callbacks.append(losses)
        fit(run)
    after = [parameter.detach().cpu() for parameter in run.module.model.parameters()]
    changed = sum(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    finite = all(bool(torch.isfinite(parameter).all()) for parameter in after)
    values = [float(value) for value in losses.values]
    okay = finite and changed > 0 and all(map(math.isfinite, values)) and run.trainer.global_step == 4
    found = {"losses": [round(value, 4) for value in values], "changed": f"{changed} of {len(after)}", "finite": finite}
    return {"ok": okay, "steps": run.trainer.global_step, **found}


def _graphed(setting: Setting, overrides: Sequence[str]) -> dict[str, Any]:
    """The same weights after the same steps with captured losses."""
    weights, captured = [], 0
    for graphs in ("false", "true"):
        more = [f"trainer.cuda_graphs={graphs}", "trainer.max_steps=60", "trainer.float32_matmul_precision=highest"]
        with prepared(setting, _folder(setting), [*overrides, *more]) as run:
            fit(run)
        weights.append(torch.cat([p.detach().double().cpu().flatten() for p in run.module.model.parameters()]))
        loss: Any = getattr(run.module, "graphed_loss", None)
        captured = len(loss.graphs) if loss is not None else captured
    error = distance(weights[1], weights[0])
    return {"ok": error < 1e-3 and (captured > 0 or not setting.cuda), "error": error, "graphs": captured}


class Losses(Callback):
    """Keeps the loss of every step, on its device."""

    def __init__(self) -> None:
        self.values: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        self.values.append(outputs["loss"].detach().clone())


def _folder(setting: Setting) -> Path:
    """A new folder for a run."""
    runs = setting.folder / "runs"
    runs.mkdir(exist_ok=True)
    return runs / f"{len(list(runs.iterdir()))}-{time.monotonic_ns()}"


# No host synchronisation


def sync(setting: Setting, cases: Cases) -> None:
    """Steps within which the host never waits for the device: where it does, the places in the code are named."""
    kinds = corpora(setting.folder / "corpora")
    text = kinds["translation"]
    jobs = {name: kinds[name] for name in kinds}
    jobs |= {
        "bahdanau2015": [*text, "model=bahdanau2015"],
        "luong2015": [*text, "model=luong2015", *COPIED["luong2015"]],
        "bf16-mixed": [*text, "trainer.precision=bf16-mixed"],
        "16-mixed": [*text, "trainer.precision=16-mixed"],
        "accumulated": [*text, "trainer.accumulate_grad_batches=2"],
        "dropout, smoothing, R-Drop": [*text, "embedding.dropout=0.2", "task.label_smoothing=0.1", "task.r_drop=1"],
        "scheduled sampling": [*text, "feedback@decoder.feedback=scheduled"],
        "a logger, a schedule": [*text, "logger=csv", "scheduler=cosine"],
        "moving average": [*text, "callbacks.ema.decay=0.99"],
        "minGRU": [*text, "cell=min_gru"],
        "zoneout, weight drop": [*text, "encoder.cell.zoneout=0.1", "decoder.cell.weight_drop=0.1"],
    }
    for name, overrides in jobs.items():
        if not setting.quick or name in ("translation", "tagging", "16-mixed"):
            steps = 12 if name != "accumulated" else 6
            cases.run(name, _synchronised, setting, [*overrides, f"trainer.max_steps={steps}"])


def _synchronised(setting: Setting, overrides: Sequence[str]) -> dict[str, Any]:
    """Once with the places collected; where there is none, once more with an error at the first."""
    watch = Watch("warn", setting.cuda)
    with prepared(setting, _folder(setting), [*overrides, f"trainer.log_every_n_steps={EVERY}"]) as run:
        run.trainer.callbacks.append(watch)
        with watch:
            fit(run)
    found = {"ok": not watch.places, "steps": watch.watched, "exempt": watch.exempt, "places": dict(watch.places)}
    if setting.cuda and not watch.places:
        strict = Watch("error", setting.cuda)
        with prepared(setting, _folder(setting), [*overrides, f"trainer.log_every_n_steps={EVERY}"]) as run:
            run.trainer.callbacks.append(strict)
            with strict:
                fit(run)
        found["error_mode"] = strict.watched
    return found | ({} if setting.cuda else {"not_watched": "a CPU has nothing to wait for"})


class Watch(Callback):
    """Watches the steps that neither log nor are among the first two, where buffers are made: from the start of such a
    batch, once it is on the device, to the start of the next, with the transfer of that one."""

    def __init__(self, mode: str, cuda: bool) -> None:
        self.mode, self.cuda = mode, cuda
        self.watched = self.exempt = 0
        self.places: dict[str, int] = {}

    def __enter__(self) -> None:
        self._filters = warnings.catch_warnings()
        self._filters.__enter__()
        warnings.simplefilter("always")
        warnings.showwarning = self._show  # type: ignore[assignment]

    def __exit__(self, *_: object) -> None:
        self._set("default")
        self._filters.__exit__(None, None, None)

    def on_train_batch_start(self, trainer: lightning.Trainer, module: Any, batch: Any, index: int) -> None:
        logs = index < 2 or trainer._logger_connector.should_update_logs
        self._set("default" if logs else self.mode)
        self.exempt += logs
        self.watched += not logs

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        self._set("default")

    def _set(self, mode: str) -> None:
        if self.cuda:
            torch.cuda.set_sync_debug_mode(mode)

    def _show(self, message: Any, *_: Any, **__: Any) -> None:
        if "called a synchronizing" not in str(message):
            return
        stack = [frame for frame in traceback.extract_stack()[:-1] if "experiments/gpu" not in frame.filename]
        stack = [frame for frame in stack if Path(frame.filename).name != "warnings.py"]
        ours = [frame for frame in stack if "/seq2seq/" in frame.filename][-2:]
        last = [frame for frame in stack if frame.filename not in [each.filename for each in ours]][-5:]
        place = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.line}" for f in reversed([*ours, *last]))
        self.places[place[:400]] = self.places.get(place[:400], 0) + 1


# Resume to the bit


def resume(setting: Setting, cases: Cases) -> None:
    """Eight steps, and four resumed for four more, with deterministic algorithms: the same bits."""
    kinds = corpora(setting.folder / "corpora")
    jobs = {
        "translation": kinds["translation"],
        "bahdanau2015": [*kinds["translation"], "model=bahdanau2015", "embedding.dropout=0.2"],
        "luong2015": [*kinds["translation"], "model=luong2015", *COPIED["luong2015"]],
        "language modelling": kinds["language modelling"],
        "tagging": kinds["tagging"],
        "16-mixed": [*kinds["translation"], "trainer.precision=16-mixed"],
        "cuda_graphs": [*kinds["translation"], "trainer.cuda_graphs=true", "embedding.dropout=0.2"],
    }
    for name, overrides in jobs.items():
        if not setting.quick or name == "cuda_graphs":
            cases.run(name, _resumed, setting, [*overrides, "+trainer.deterministic=true"])


def _resumed(setting: Setting, overrides: Sequence[str]) -> dict[str, Any]:
    first = _folder(setting)
    with prepared(setting, first, [*overrides, "trainer.max_steps=8"]) as run:
        fit(run)
        wanted = _state(run)
    second = _folder(setting)
    with prepared(setting, second, [*overrides, "trainer.max_steps=8", "callbacks.checkpoint.every_steps=4"]) as run:
        run.trainer.callbacks.append(Ending(5))
        with contextlib.suppress(Ended):
            fit(run)
    begin = Start(checkpoint=second / "checkpoints" / "last.ckpt")
    with prepared(setting, second, [*overrides, "trainer.max_steps=8"], begin) as run:
        fit(run, begin)
        found = _state(run)
    different = [name for name in wanted if not torch.equal(wanted[name], found[name])]
    return {"ok": not different, "tensors": len(wanted), "different": different[:5], "steps": run.trainer.global_step}


def _state(run: Run) -> dict[str, torch.Tensor]:
    """The weights and the optimizer's memory."""
    found = {name: value.detach().cpu().clone() for name, value in run.module.model.state_dict().items()}
    for number, memory in run.trainer.optimizers[0].state_dict()["state"].items():
        found |= {f"{number} {name}": value.cpu().clone() for name, value in memory.items()}
    return found


class Ended(Exception):  # noqa: N818  an event
    """A process that is gone."""


class Ending(Callback):
    """Ends a training at the end of so many batches, as a kill would."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        if index + 1 == self.batches:
            raise Ended
