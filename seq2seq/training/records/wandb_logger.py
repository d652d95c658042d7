"""Lightning's logger for wandb, whose errors never end a run: local files are the source of truth."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import WandbLogger

from seq2seq.runtime.redaction import hide
from seq2seq.training.configuration.wandb_options import LONGEST, WandbOptions, empty_variables

INIT_TIMEOUT, FINISH_TIMEOUT = 30, 600
"""Seconds that a server which does not answer may hold up the beginning and the end of a run, unless WANDB_INIT_TIMEOUT
and WANDB_FINISH_TIMEOUT say otherwise (wandb's own: 90, and without end)."""


class RunLogger(WandbLogger):
    """Logs to a wandb run that is there already; after the first failure, nothing more."""

    def __init__(self, run: Any, folder: Path) -> None:
        super().__init__(experiment=run, save_dir=folder, project=run.project, id=run.id, name=run.name)
        self._lost = False
        self.attempt(lambda: _define_steps(run))

    @property
    def online(self) -> bool:
        """Whether the run has a server."""
        return not self.experiment.offline

    def attempt(self, action: Callable[[], object]) -> None:
        """Run `action`; a failure is printed in one line, and nothing more is logged."""
        if self._lost:
            return
        try:
            action()
        except Exception as error:
            self._lost = True
            _say(f"{_line(error)}; this run is logged to local files only from here on")

    def log_hyperparams(self, params: Any) -> None:
        """Log the configuration of the run."""
        self.attempt(lambda: super(RunLogger, self).log_hyperparams(params))

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers, or tables and pictures, of a step."""
        self.attempt(lambda: super(RunLogger, self).log_metrics(metrics, step))


def start_run(options: WandbOptions, folder: Path, *, name: str, **more: str) -> Any:
    """A wandb run whose files are in `folder` (or WANDB_DIR) and whose id is the same whenever it is resumed.

    Offline where the server does not answer; None where wandb cannot be started at all, or is switched off. Each is
    said in one line. `more` are arguments of `wandb.init`.
    """
    if options.mode == "disabled":
        return None
    arguments = hide({key: getattr(options, key) for key in ("project", "entity", "group")} | more)
    arguments |= hide({"name": (options.name or name)[:LONGEST], "tags": list(options.tags)})
    for mode in dict.fromkeys((options.mode, "offline")):
        try:
            arguments |= {"id": _id(folder, options.id), "dir": options.root or folder}
            return _init(mode, options.settings, arguments)
        except Exception as error:
            then = "logged to local files only" if mode == "offline" else "logged offline (wandb sync uploads it later)"
            _say(f"{_line(error)}; this run is {then}")
            _teardown()
    return None


def _init(mode: Any, chosen: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
    import wandb

    own = {"silent": True, "console": "off", "init_timeout": INIT_TIMEOUT, "finish_timeout": FINISH_TIMEOUT}
    settings = wandb.Settings(**{**own, **chosen, "finish_timeout_raises": True})
    branched = any(os.environ.get(f"WANDB_{name}") for name in ("RESUME", "RESUME_FROM", "FORK_FROM"))
    resume: dict[str, Any] = {} if branched else {"resume": "allow"}
    with _without(empty_variables()):
        return wandb.init(mode=mode, settings=settings, **resume, **arguments)


def finish_run(exit_code: int) -> None:
    """End the wandb run, if there is one, so that nothing of it is left unwritten."""
    run = getattr(sys.modules.get("wandb"), "run", None)
    if run is None:
        return
    try:
        run.finish(exit_code=exit_code)
    except Exception as error:
        _say(f"{_line(error)}; the run's end may be missing; what was logged is in {run.settings.sync_dir}")
        _teardown()


def _define_steps(run: Any) -> None:
    """The step of what Lightning logs, as its own logger defines it when it starts a run itself."""
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)


def _id(folder: Path, chosen: str | None) -> str:
    """The run's name for wandb's server, kept in the folder."""
    path = folder / "wandb" / "id"
    known = path.read_text(encoding="utf-8").strip() if path.exists() else None
    run_id = chosen or known or secrets.token_hex(4)
    if run_id != known:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{run_id}\n", encoding="utf-8", newline="\n")
    return run_id


@contextmanager
def _without(names: list[str]) -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(kept)


def _teardown() -> None:
    """Reset wandb: its service would refuse the same run a second time."""
    import wandb

    with suppress(Exception):
        wandb.teardown()


def _line(error: Exception) -> str:
    lines = str(error).strip().split("\n")
    return lines[0][:300] or type(error).__name__


def _say(text: str) -> None:
    print(f"seq2seq: wandb: {text}", file=sys.stderr, flush=True)
