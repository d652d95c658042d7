"""A sweeper that resumes sweeps: `hydra/sweeper=resuming`, the default of conf/train.yaml.

Hydra numbers the jobs of a sweep by their order, so that one more value at the beginning would assign every job another
folder. This sweeper identifies a job by its overrides: a finished job is not launched, a known one keeps its folder,
and a new one gets the next free number. How a broken run is started again is decided in the job
(`seq2seq.cli.train.job`).

Hydra loads plugins only from the namespace `hydra_plugins` (hydra.cc, "Plugins":
https://hydra.cc/docs/1.3/advanced/plugins/overview/), so `register` adds this module to it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from seq2seq.errors import UserError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from hydra.core.plugins import Plugins

NUMBER = "${hydra:job.num}"


class ResumingSweeper(BasicSweeper):
    """Hydra's basic sweeper, without the jobs that are finished already."""

    def split_arguments(self, overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:  # type: ignore[override]
        """The jobs to launch, in batches, each with an override for its folder."""
        from pathlib import Path

        from omegaconf import OmegaConf

        from seq2seq.cli.composing.job_status import place
        from seq2seq.cli.composing.switching import spelled_for_hydra

        assert self.config is not None
        jobs = [spelled_for_hydra(job) for batch in BasicSweeper.split_arguments(overrides, None) for job in batch]
        sweep: Any = OmegaConf.to_container(self.config.hydra.sweep)
        folder = Path(self.config.hydra.sweep.dir)
        _check_inside(str(sweep["subdir"]))
        folder.mkdir(parents=True, exist_ok=True)
        placed = place(jobs, folder, numbered=sweep["subdir"] == NUMBER)
        if skipped := len(jobs) - len(placed):
            print(f"{folder}: {skipped} of {len(jobs)} jobs are finished already", flush=True)
        return [batch for batch in self.split_overrides_to_chunks(placed, max_batch_size or len(placed) or 1) if batch]

    def sweep(self, arguments: list[str]) -> Any:
        """Run all jobs; print a message instead of a traceback if the launcher fails because a job's process died."""
        try:
            return super().sweep(arguments)
        except (HydraException, OmegaConfBaseException, ImportError, UserError, FileExistsError, NotADirectoryError):
            raise
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            print(f"seq2seq: the launcher gave up: {type(error).__name__}: {reason}", file=sys.stderr)
            print("seq2seq: the same command resumes with the jobs that are missing", file=sys.stderr)
            return []


def _check_inside(subdir: str) -> None:
    if subdir.startswith("/") or ".." in subdir.split("/"):
        raise UserError(f"hydra.sweep.subdir={subdir}: leads out of hydra.sweep.dir; name a folder inside of it")


def register(plugins: Plugins) -> None:
    """Register the class with Hydra, without a folder `hydra_plugins` next to the package."""
    try:
        parent = import_module("hydra_plugins")
    except ModuleNotFoundError:  # no other plugin is installed
        parent = sys.modules["hydra_plugins"] = ModuleType("hydra_plugins")
        parent.__path__ = []
    parent.seq2seq = sys.modules["hydra_plugins.seq2seq"] = sys.modules[__name__]  # type: ignore[attr-defined]
    ResumingSweeper.__module__ = "hydra_plugins.seq2seq"
    plugins.register(ResumingSweeper)
