"""Where a run begins: at its beginning, or at the checkpoint of an earlier process that trained in the same folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.bundle.weights import read_checkpoint
from seq2seq.errors import UserError
from seq2seq.runtime.atomic_files import LEFT, atomic_write
from seq2seq.runtime.old_names import current
from seq2seq.runtime.redaction import hide
from seq2seq.training.callbacks.checkpoints import KEY, LAST
from seq2seq.training.configuration import monitoring
from seq2seq.training.configuration.option_catalogue import catalogue
from seq2seq.training.records import run_record

FREE = (
    *("name", "trust", "resume", "trainer.", "logger.", "search.", "callbacks.samples", "callbacks.checkpoint.every_"),
    *(f"{place}.mode" for place in monitoring.PLACES),  # follows from the metric; older runs may have had a wrong one
    "data.encoding_workers",
)
FIXED = (
    *("trainer.precision", "trainer.accumulate_grad_batches", "trainer.gradient_clip", "trainer.validation_lines"),
)
"""The beginnings of keys that may differ when a run is resumed, because they decide how long is trained and what is
watched, and those among them that decide what is learned."""


class Start(NamedTuple):
    """Where a run begins; at its beginning, all is None or 0."""

    checkpoint: Path | None = None
    step: int = 0  # what the loggers count
    optimizer_steps: int = 0
    seconds: float = 0.0  # that the run had taken until then
    data: str | None = None  # the fingerprint of the data
    monitors: Mapping[str, str] = {}  # the metrics that the run has been using, by their places

    def as_list(self) -> list[Any]:
        """As plain values, for other processes."""
        return [str(self.checkpoint) if self.checkpoint else None, *self[1:]]

    @classmethod
    def from_list(cls, values: list[Any]) -> Start:
        """A start from what `as_list` returned."""
        return cls(Path(values[0]) if values[0] else None, *values[1:])


END = Start(step=sys.maxsize, optimizer_steps=sys.maxsize)
"""Training is done, and only scoring is left: nothing that was logged is removed."""


def earlier(folder: Path, resume: str | None) -> dict[str, Any]:
    """The run.json of an earlier process, {} where there was none, or one that failed before it trained: so a command
    can be corrected and given again.

    Raises `UserError` where there was one and `resume` is null.
    """
    path = folder / "run.json"
    if not path.exists():
        return {}
    record = run_record.read(folder)
    if resume is None and record.get("status") == "failed" and not _has_trained(folder):
        return {}
    if resume is None:
        raise UserError(
            f"{folder}: already holds a run; resume it (resume=auto), or choose another folder (hydra.run.dir=…)"
        )
    if not record:
        raise UserError(f"{path}: cannot be read; remove it to begin anew")
    return record


def _has_trained(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("checkpoints", "metrics.csv", "bundle"))


def start(folder: Path, config: Mapping[str, Any], known: Mapping[str, Any]) -> Start:
    """The checkpoint that `resume` names: with "auto" the folder's last, the beginning where there is none yet, or the
    end where the record says that training is done.

    Raises `UserError` for one that is missing or damaged, or of a run that learned something else.
    """
    resume = config["resume"]
    if resume == "auto" and known.get("trained"):
        return END
    path = folder / "checkpoints" / LAST if resume == "auto" else Path(resume or "")
    if resume is None or (resume == "auto" and not path.exists()):
        return Start()
    checkpoint = read(path)
    facts = checkpoint[KEY]
    monitors = monitoring.recorded_in(facts["config"])
    adopted = monitoring.adopt(config, monitors)
    for key, now, before in differences(hide(adopted, everything=True), facts["config"]):
        raise UserError(
            f"resume: {key} is {now!r}, but {before!r} in {path}; use the overrides it was trained with, or begin anew "
            "in another folder (with init_from=BUNDLE, if it is to start from these weights)"
        )
    return Start(path, facts["step"], checkpoint["global_step"], facts["seconds"], facts["data"], monitors)


def read(path: Path) -> dict[str, Any]:
    """A checkpoint of this project's, its tensors still on disk. Raises `UserError` where it is none, or is damaged."""
    if not path.is_file():
        raise UserError(f"resume={path}: no such checkpoint; give auto, the folder of a run, or one of its checkpoints")
    checkpoint = read_checkpoint(path, remedy="; remove it to begin anew")
    if not isinstance(checkpoint.get(KEY), dict) or "config" not in checkpoint[KEY]:
        raise UserError(f"{path}: was written by an older seq2seq, or by something else; no run can resume from it")
    return checkpoint


def differences(now: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """The keys, with dots, whose values differ and matter, and both values.

    An option that is newer than the checkpoint matters only where it is set to something that no packaged file sets.
    """
    flat, other = _flat(current(now)), _flat(current(before))
    kept = now.get("init_from") and not now.get("init_vocabulary")
    free = (*FREE, "tokenizer.") if kept else FREE  # they are the bundle's, whatever older runs wrote
    for key in sorted({*flat, *other}):
        newer = key in flat and key not in other and flat[key] in catalogue().get(key, ())
        if flat.get(key) != other.get(key) and not newer and (key.startswith(FIXED) or not key.startswith(free)):
            yield key, flat.get(key), other.get(key)


def check_data(begin: Start, fingerprint: str) -> None:
    """Raise `UserError` where the text is no longer what it was."""
    if begin.data not in (None, fingerprint):
        raise UserError(f"resume: the data differ from those that {begin.checkpoint} was trained on; begin anew")


def tidy(folder: Path, begin: Start) -> None:
    """Remove what the earlier process wrote after the checkpoint: sample translations, unfinished files."""
    for path in [*folder.glob(LEFT), *(folder / "checkpoints").glob(LEFT)]:
        path.unlink(missing_ok=True)
    samples = folder / "samples.tsv"
    if not samples.exists():
        return
    header, *rows, _ = samples.read_bytes().split(b"\n")  # the last is empty, or was being written
    kept = [row for row in rows if int(row.partition(b"\t")[0]) <= begin.optimizer_steps]
    if kept:
        with atomic_write(samples) as path:
            path.write_bytes(b"\n".join([header, *kept, b""]))
    else:
        os.unlink(samples)


def _flat(node: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= _flat(value, f"{place}{key}.") if isinstance(value, Mapping) else {f"{place}{key}": value}
    return flat
