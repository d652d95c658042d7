"""`seq2seq train`: Hydra composes the configuration (conf/), `seq2seq.training.run` trains; `-m` sweeps.

Only the package `seq2seq.cli` uses Hydra. All others get the configuration as a plain dict.
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
from seq2seq.cli.composing.languages import with_languages
from seq2seq.cli.composing.switching import spelled_for_hydra
from seq2seq.cli.exit_codes import STOPPED
from seq2seq.errors import Stopped, UserError
from seq2seq.runtime.distributed import JOB, Rank, current_rank
from seq2seq.runtime.home import writable
from seq2seq.runtime.paths import packaged
from seq2seq.training.records.run_record import claim, read

FULL_ERROR = "HYDRA_FULL_ERROR"
_failures: list[Exception] = []
_sweeps: list[DictConfig] = []


def run(argv: Sequence[str]) -> int:
    """Compose and train once, or with -m once for every combination; return the exit code.

    A sweep continues after a failed job, ends with a leaderboard, and returns 1 if a job failed. The same command again
    runs the jobs that are missing or did not finish. In distributed training (torchrun, srun), rank 0 does all that,
    and the other ranks only train.
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
        rank.broadcast(JOB)  # without a job before it, the others learn that there is none


def _assist(rank: Rank) -> int:
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # no stack trace if rank 0 is gone: one line is enough
    from seq2seq.training.run import assist

    try:
        assist(rank)
    except Stopped:  # rank 0 prints the message
        return STOPPED
    return 0


def _run(argv: Sequence[str]) -> int:
    _failures.clear()
    _sweeps.clear()
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # with Hydra's logging, it would log its list of fonts
    _register_sweeper()
    words = _ordered(spelled_for_hydra(with_languages(continued(argv))))
    with naming_hydra(argv), _command_line("seq2seq train", words), suppress(SystemExit):  # Hydra exits after --help
        hydra.main(version_base="1.3", config_path=str(packaged("conf")), config_name="train")(job)()
    if _sweeps:
        return _end_of_sweep(_sweeps[0])
    if _failures:
        raise _failures[0]
    return 0


def _ordered(words: Sequence[str]) -> list[str]:
    """Options first, then overrides, because Hydra does not accept overrides on both sides of an option. Raises
    `UserError`, with all options, for an unknown option."""
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
def _command_line(program: str, words: Sequence[str]) -> Iterator[None]:
    """A context in which sys.argv, which Hydra reads, is this command line, and Hydra raises errors instead of
    printing them."""
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
    """Register the sweeper after Hydra's plugins, whose modules Hydra imports again: ours extends one of their
    classes."""
    plugins = Plugins.instance()
    from seq2seq.cli.composing import sweeper

    sweeper.register(plugins)


def job(config: DictConfig) -> float | None:
    """Run one training in Hydra's folder; return the first test score, for Hydra's sweepers."""
    settings = HydraConfig.get()
    folder, sweeping = Path(settings.runtime.output_dir), settings.mode == RunMode.MULTIRUN
    sweep = Path(settings.runtime.cwd, settings.sweep.dir).absolute() if sweeping else folder
    typed: Any = OmegaConf.to_container(settings.overrides.task, resolve=False)  # unresolved: ${…} stays ${…}
    overrides = [override for override in typed if not override.startswith("resume=")]
    settled: dict[str, Any] = {}
    with claim(folder) as claimed:
        try:
            if not claimed:
                raise UserError(f"{folder}: another process is training here; let it end, or choose another folder")
            settled = plain(config, overrides)
            from seq2seq.training.configuration.schema import check

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
    """The first test score of a run; None if it has none."""
    return next((float(score["value"]) for score in record["test"].values()), None)


class EndOfSweep(Callback):
    """A Hydra callback (hydra.callbacks in conf/train.yaml) that passes the sweep's configuration to `run`, and checks
    folders before Hydra creates them, which would end in a traceback."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Check that the run's folder can be written."""
        _check_folder("hydra.run.dir", config)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Check that the sweep's folder can be written; its name may depend on Hydra's runtime choices."""
        _check_folder("hydra.sweep.dir", config)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Store the sweep's configuration for `run`."""
        _sweeps.append(config)


def _check_folder(key: str, config: DictConfig) -> None:
    """End Hydra, and let `run` raise a `UserError`: Hydra only warns about exceptions of a callback."""
    HydraConfig.instance().set_config(config)  # for interpolations of ${hydra:…}
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
    """The command line; if `resume` names a run's folder or one of its checkpoints, the run's own overrides come first.

    So `seq2seq train resume=runs/first` is enough, and further overrides take precedence. Raises `UserError` if there
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
    """The options that affect the overrides: `--config-dir`, the folder of the user's YAML files."""
    sources = settings.runtime.config_sources
    return [f"--config-dir={source.path}" for source in sources if source.provider == "command-line"]


def _begin(config: dict[str, Any], folder: Path, sweep: Path, overrides: Sequence[str]) -> bool:
    """Name a job of a sweep after its folder, and prepare the folder; False if the job is finished already."""
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
    """Print and write the leaderboard, and log it to wandb if the jobs did; return the exit code."""
    from seq2seq.reporting.leaderboard import leaderboard

    folder = Path(config.hydra.sweep.dir)
    mark_stale_as_failed(folder)
    rows = leaderboard(folder, other_sweeps=False)
    print(f"leaderboard: {folder}/leaderboard.md, .csv and .png")
    if "wandb" in config.logger:
        from seq2seq.training.records.loggers import log_leaderboard

        log_leaderboard(folder, config.logger.wandb)
    if not _failures and all(row["status"] == "finished" for row in rows):
        return 0
    print(f"the same command with hydra.sweep.dir={folder} runs those that did not finish")
    return 1
