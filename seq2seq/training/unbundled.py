"""The bundle of a run that was stopped before it had one: its model is that of a checkpoint, and has no test scores."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.runtime.old_names import current
from seq2seq.runtime.redaction import revealed
from seq2seq.training.base import Outcome, load_task
from seq2seq.training.callbacks.checkpoints import KEY
from seq2seq.training.configuration.switched_off import filled
from seq2seq.training.finish import restore, save
from seq2seq.training.records import run_record
from seq2seq.training.records.provenance import provenance
from seq2seq.training.start import resuming


def bundle_checkpoint(run: Path, checkpoint: Path, folder: Path) -> None:
    """Write the bundle `folder` of a checkpoint of `run`, whose data are read again for their tokenizers.

    Raises `UserError` where a process still trains there, and where the data are no longer what they were.
    """
    with run_record.claim(run) as claimed:
        if not claimed:
            raise UserError(f"{run}: has no bundle yet, and another process is training here; let it end first")
    saved = resuming.read(checkpoint)
    config = filled(revealed(current(saved[KEY]["config"])))
    task = load_task(config["task"])
    data = task.data(config)
    data.prepare_data()
    if data.fingerprint != saved[KEY]["data"]:
        raise UserError(f"{run}: the data differ from those that it was trained on, and it has no bundle yet")
    module = task.module(config, factory.model(task.name, config, task.sizes(data), config["trust"]), data)
    record: dict[str, Any] = run_record.read(run)
    words = ["seq2seq", "train", *record.get("options", []), *record.get("overrides", [])]
    progress = {"steps": int(saved["global_step"]), "epochs": int(saved["epoch"])}
    outcome = Outcome(data, module, config, provenance(config, data, progress, shlex.join(words)))
    validation = restore(task, outcome, checkpoint)
    parameters = sum(parameter.numel() for parameter in module.model.parameters())
    save(task, outcome, folder, {}, {"parameters": parameters, **validation})
