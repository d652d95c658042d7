"""`seq2seq train`: Hydra composes the configuration (conf/), `seq2seq.training.run` trains; `-m` sweeps.

Hydra is known here and nowhere else. All other rooms get the configuration as a plain dict.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from seq2seq.cli.arguments import quoted
from seq2seq.cli.composing.configurations import plain
from seq2seq.cli.composing.hydra_errors import naming_hydra
from seq2seq.cli.composing.job_status import (
    JobStatus,
    error_message,
    identity,
    job_status,
    mark_stale_as_failed,
    name_after_sweep,
    overrides_of,
    record_failure,
    restart,
)
from seq2seq.cli.composing.switching import spelled_for_hydra
from seq2seq.cli.exit_codes import STOPPED
from seq2seq.errors import Stopped, UserError
from seq2seq.runtime.distributed import JOB, Rank, current_rank
from seq2seq.runtime.home import writable
from seq2seq.runtime.paths import packaged
from seq2seq.training.run_record import claim, read

FULL_ERROR = "HYDRA_FULL_ERROR"
_failures: list[Exception] = []
_sweeps: list[DictConfig] = []


def run(argv: Sequence[str]) -> int:
    """Compose and train once, or with -m once for every combination; returns the exit code.

    A sweep continues after a job that fails, ends with a leaderboard, and returns 1 if a job failed. The same command
    again runs the jobs that are missing or did not finish. Of several processes that train together (torchrun, srun),
    the first does all that, and the others train along.
    """
    rank = current_rank()
    if not rank.is_zero:
        return _assist(rank)
    try:
        if rank.world_size > 1 and {"-m", "--multirun"} & set(argv):
            raise UserError(
                f"-m with {rank.world_size} processes that train together: start each run of the sweep alone"
            )
        return _run(argv)
    finally:
        rank.broadcast(JOB)  # that there is none, if nothing was told


def _assist(rank: Rank) -> int:
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # no stack where rank 0 is gone: one line says it
    from seq2seq.training.run import assist

    try:
        assist(rank)
    except Stopped:  # rank 0 says so
        return STOPPED
    return 0


def _run(argv: Sequence[str]) -> int:
    _failures.clear()
    _sweeps.clear()
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # Hydra would show that it lists the fonts
    _register_sweeper()
    words = _ordered(spelled_for_hydra(continued(argv)))
    with naming_hydra(argv), _called("seq2seq train", words), suppress(SystemExit):  # after --help and the like
        hydra.main(version_base="1.3", config_path=str(packaged("conf")), config_name="train")(job)()
    if _sweeps:
        return _end_of_sweep(_sweeps[0])
    if _failures:
        raise _failures[0]
    return 0


def _ordered(words: Sequence[str]) -> list[str]:
    """The options, then the overrides: Hydra does not find overrides on both sides of an option. Raises `UserError` for
    an option that it does not know, with the options that it does."""
    parser = get_args_parser()
    known = ", ".join(each.option_strings[0] for each in parser._actions if each.option_strings)

    def refuse(message: str) -> NoReturn:
        raise UserError(f"train: {message}; options are {known}")

    parser.error = refuse  # type: ignore[method-assign]
    if "--version" in words:
        return ["--version"]
    options = list(words)
    overrides: list[str] = parser.parse_intermixed_args(words).overrides
    for each in reversed(overrides):
        del options[len(options) - 1 - options[::-1].index(each)]
    return [*options, *overrides]


@contextmanager
def _called(program: str, words: Sequence[str]) -> Iterator[None]:
    """Within the block, the process's command line is this, as Hydra reads it there; and Hydra raises its errors, which
    it would print otherwise."""
    before, sys.argv = sys.argv, [program, *words]
    full = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"
    try:
        yield
    finally:
        sys.argv = before
        if full is None:
            del os.environ[FULL_ERROR]
        else:
            os.environ[FULL_ERROR] = full


def _register_sweeper() -> None:
    """Register the sweeper after Hydra's plugins: it reads their modules anew, and ours extends a class of theirs."""
    plugins = Plugins.instance()
    from seq2seq.cli.composing import sweeper

    sweeper.register(plugins)


def job(config: DictConfig) -> float | None:
    """One training run in Hydra's folder. Returns the first test score, for Hydra's sweepers."""
    settings = HydraConfig.get()
    folder, sweeping = Path(settings.runtime.output_dir), settings.mode == RunMode.MULTIRUN
    sweep = Path(settings.runtime.cwd, settings.sweep.dir).absolute() if sweeping else folder
    typed: Any = OmegaConf.to_container(settings.overrides.task, resolve=False)  # as typed: ${…} stays ${…}
    overrides = [override for override in typed if not override.startswith("resume=")]
    settled: dict[str, Any] = {}
    with claim(folder) as claimed:
        try:
            if not claimed:
                raise UserError(f"{folder}: another process is training here; let it end, or choose another folder")
            settled = plain(config, overrides)
            from seq2seq.training.schema import check

            trial = check(settled)
            if sweeping and not _begin(settled, folder, sweep, overrides):
                return score(read(folder))
            from seq2seq.training.run import train

            record = train(settled, folder, overrides, options=_options(settings), trial=trial)
        except Exception as error:
            if claimed:
                name, seed = settled.get("name", folder.name), settled.get("seed")
                record_failure(folder, overrides, error, name=str(name), seed=seed if isinstance(seed, int) else 0)
            _failures.append(error)
            if sweeping:
                print(f"seq2seq: {folder}: {error_message(error)}", file=sys.stderr)
            return None
    if record["status"] == "interrupted":
        raise KeyboardInterrupt
    return score(record)


def score(record: Mapping[str, Any]) -> float | None:
    """The first test score of a run."""
    return next((float(score["value"]) for score in record["test"].values()), None)


class EndOfSweep(Callback):
    """Tells `run` what the sweep was, and refuses a folder that cannot be written before Hydra makes it, which ends in
    a traceback; named in conf/train.yaml under hydra.callbacks."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Check the run's folder."""
        _check_folder("hydra.run.dir", config)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Check the sweep's folder, whose name may depend on what was chosen: `${hydra:runtime.choices.model}`."""
        _check_folder("hydra.sweep.dir", config)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Remember the sweep's configuration."""
        _sweeps.append(config)


def _check_folder(key: str, config: DictConfig) -> None:
    """End Hydra with a `UserError` for `run` to raise: it takes an exception of a callback for a warning."""
    HydraConfig.instance().set_config(config)  # for what the name is interpolated from
    try:
        folder = str(OmegaConf.select(config, key))
    except OmegaConfBaseException as error:
        problem = f"{key}: {' '.join(str(error).partition(chr(10))[0].split())}"
    else:
        if writable(Path(folder).absolute()):
            return
        problem = f"{folder}: no files can be made in this folder; choose another with {key}=FOLDER"
    _failures.append(UserError(problem))
    raise SystemExit(2)


def continued(argv: Sequence[str]) -> list[str]:
    """The command line, where `resume` names a run's folder, or one of its checkpoints, with that run's own before it.

    So `seq2seq train resume=runs/first` is enough, and what else is given comes last. Raises `UserError` where there
    is no run to resume.
    """
    named = [override for override in argv if override.startswith("resume=")]
    value = named[-1].partition("=")[2].strip("'\"") if named else ""
    if value in ("", "auto", "null"):
        return list(argv)
    path = Path(value).resolve()
    folder = path.parent.parent if path.suffix == ".ckpt" else path
    known = read(folder)
    if not known:
        raise UserError(f"{named[-1]}: {folder} is not the folder of a run; resume=auto resumes hydra.run.dir=…")
    given = [override for override in argv if override not in named]
    where = [f"hydra.run.dir={quoted(folder)}", f"resume={quoted(path) if path.suffix == '.ckpt' else 'auto'}"]
    return [*known.get("options", []), *known["overrides"], *given, *where]


def _options(settings: Any) -> list[str]:
    """The options before the overrides that decide about them: the folder of the user's own YAML files."""
    sources = settings.runtime.config_sources
    return [f"--config-dir={source.path}" for source in sources if source.provider == "command-line"]


def _begin(config: dict[str, Any], folder: Path, sweep: Path, overrides: Sequence[str]) -> bool:
    """Name a job of a sweep after its folder, and prepare the folder; False where it is finished already."""
    known = overrides_of(folder)
    if known is not None and identity(known) != identity(overrides):
        raise UserError(
            f"{folder}: holds a run with other overrides; choose another hydra.sweep.dir, or a "
            "hydra.sweep.subdir for each job"
        )
    status = job_status(folder)
    if status is JobStatus.BROKEN:
        restart(config, folder)
    name_after_sweep(config, folder, sweep)
    return status is not JobStatus.FINISHED


def _end_of_sweep(config: DictConfig) -> int:
    """The leaderboard: printed, drawn, and logged where the jobs were."""
    from seq2seq.reporting.leaderboard import leaderboard

    folder = Path(config.hydra.sweep.dir)
    mark_stale_as_failed(folder)
    rows = leaderboard(folder, other_sweeps=False)
    print(f"leaderboard: {folder}/leaderboard.md, .csv and .png")
    if "wandb" in config.logger:
        from seq2seq.training.loggers import log_leaderboard

        log_leaderboard(folder, config.logger.wandb)
    if not _failures and all(row["status"] == "finished" for row in rows):
        return 0
    print(f"the same command with hydra.sweep.dir={folder} runs those that did not finish")
    return 1
