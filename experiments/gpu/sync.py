"""Training steps in which the host never waits for the device."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback

from experiments.gpu.check import Cases, Setting
from experiments.gpu.models import COPIED
from experiments.gpu.runs import corpora, fit, new_folder, prepared

EVERY = 4  # steps between two that log
TORCHS = "swa_utils.py"  # torch's moving average reads its own counter


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
    with prepared(setting, new_folder(setting), [*overrides, f"trainer.log_every_n_steps={EVERY}"]) as run:
        run.trainer.callbacks.append(watch)
        with watch:
            fit(run)
    own = [place for place in watch.places if TORCHS not in place]
    found = {"ok": not own, "steps": watch.watched, "exempt": watch.exempt, "places": dict(watch.places)}
    if setting.cuda and not watch.places:
        strict = Watch("error", setting.cuda)
        with prepared(setting, new_folder(setting), [*overrides, f"trainer.log_every_n_steps={EVERY}"]) as run:
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
