"""`seq2seq tune SPACE.yaml [OVERRIDE…]`: hyper-parameter search over Hydra overrides, with Optuna; each trial is a
training run."""

from __future__ import annotations

import math
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from seq2seq.errors import UserError

if TYPE_CHECKING:
    import optuna

    from seq2seq.tuning.space import Space

SAMPLERS, PRUNERS = ("tpe", "random"), ("median", "hyperband", "none")


class Plan(NamedTuple):
    """The plan of a study: its space, the overrides of every trial, and what follows from them: the metric and its
    direction, whether it was chosen automatically, and wandb's options if it is a logger."""

    space: Space
    overrides: list[str]
    metric: str
    mode: str
    automatic: bool
    wandb: dict[str, Any] | None
    pinned: tuple[str, ...] = ()  # overrides that keep a resumed study to its metric

    def follow(self, metric: str) -> Plan:
        """The plan with the metric of the study, which may have been begun with another one: `val_bleu max`."""
        if not self.automatic or metric == f"{self.metric} {self.mode}":
            return self
        name, mode = metric.split()
        return self._replace(metric=name, mode=mode, pinned=(f"callbacks.checkpoint.monitor={name}",))


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `seq2seq tune`."""
    add = parser.add_argument
    add(
        "space",
        type=Path,
        metavar="SPACE.yaml",
        help="the search space: optimizer.lr: {low: 1e-4, high: 1e-2, log: true}",
    )
    add("overrides", nargs="*", metavar="OVERRIDE", help="a Hydra override for every trial, as for `train`: cell=lstm")
    add("--trials", type=int, default=20, metavar="N", help="trials of all processes together (%(default)s)")
    add("--folder", type=Path, help="the study and its runs (default: tuned/SPACE); the same folder resumes it")
    add("--storage", metavar="URL", help="a database instead of a file in the folder: sqlite:///…, postgresql://…, …")
    add("--sampler", choices=SAMPLERS, default="tpe", help="Optuna's sampler (%(default)s)")
    add("--pruner", choices=PRUNERS, default="median", help="Optuna's pruner of poor trials (%(default)s)")
    add("--seed", type=int, default=0, help="of the sampler; that of the runs is the override seed=… (%(default)s)")
    add("--dry-run", action="store_true", help="check and show the space, and run nothing")


def run(arguments: Namespace) -> int:
    """Run trials until there are enough, then show the best; return 0 if any trial is complete."""
    plan = _plan(arguments.space, arguments.overrides)
    folder = arguments.folder or Path("tuned") / arguments.space.stem
    if arguments.trials < 1:
        raise UserError(f"--trials {arguments.trials} must be at least 1")
    if arguments.dry_run:
        return _show(plan)
    study, plan = _open(plan, folder, arguments)
    from seq2seq.tuning.study import next_trial

    print(f"study: {folder}, {arguments.trials} trials, {plan.metric} ({plan.mode})", flush=True)
    try:
        while (trial := next_trial(study, folder, arguments.trials)) is not None:
            _try(study, trial, plan, folder)
    except KeyboardInterrupt:
        _end(study, plan, folder)
        print("the same command resumes the study")
        raise
    return _end(study, plan, folder)


def _plan(path: Path, overrides: Sequence[str]) -> Plan:
    """Read the space, and check that its keys and values exist and can be trained, before the first trial."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    from seq2seq.tuning.space import read_space

    if not path.is_file():
        raise UserError(f"{path}: no such file; give a YAML file with a space")
    for override in overrides:
        if override.startswith("hydra") and not override.startswith("hydra.searchpath"):
            raise UserError(f"{override}: a study has its own folders; choose them with --folder")
    try:
        space = read_space(OmegaConf.to_container(OmegaConf.load(path), resolve=False))
    except (UserError, UnicodeDecodeError, OmegaConfBaseException) as error:
        raise UserError(f"{path}: {error}") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise UserError(f"{path}:{mark.line + 1 if mark else 1}: {getattr(error, 'problem', error)}") from None
    (metric, mode, automatic), logger = _check(space, list(overrides), path)
    return Plan(space, list(overrides), metric, mode, automatic, logger.get("wandb"))


def _check(space: Space, overrides: list[str], path: Path) -> tuple[tuple[str, str, bool], dict[str, Any]]:
    """Compose and check a few settings that cover the space; return the result of `_monitor`, and the loggers.

    Raises `UserError` for a setting that Hydra cannot compose. Settings that make no valid model are accepted if
    another one does: they fail in their trials.
    """
    from seq2seq.cli.composing.configurations import composed, composing
    from seq2seq.training.run import check

    metrics: set[tuple[str, str, bool]] = set()
    errors: list[UserError | None] = []
    with composing():
        logger = composed(overrides)["logger"]
        for setting in space.probes():
            try:
                config = composed([*overrides, *spelled(setting)])
            except UserError as error:
                raise UserError(f"{path}: {error} (a key that only some choices have needs `when`)") from None
            try:
                check(config)
                metrics.add(_monitor(config))
            except UserError as error:
                errors.append(error)
            else:
                errors.append(None)
    if None not in errors:
        raise UserError(f"{path}: {errors[0]}")
    if len(metrics) > 1:
        raise UserError(f"{path}: callbacks.checkpoint.monitor must be the same in every trial; set it as an override")
    return metrics.pop(), logger


def _monitor(config: Mapping[str, Any]) -> tuple[str, str, bool]:
    """The metric that selects a trial's best model, its direction ("min" or "max"), and whether it was `auto` (then it
    depends on the validation data)."""
    from seq2seq.training.base import load_task
    from seq2seq.training.configuration import monitoring

    monitor = monitoring.best_by(config)
    if not monitor:
        raise UserError("callbacks.checkpoint: a study compares trials by its monitor; do not switch it off")
    automatic = monitor == monitoring.AUTO
    if automatic:
        task = load_task(config["task"])
        data = task.data(config)
        data.corpus.prepare()
        monitor = monitoring.best_by(monitoring.settle(task, config, data).config)
    return monitor, monitoring.direction(monitor), automatic


def spelled(setting: Mapping[str, str]) -> list[str]:
    """A setting as Hydra overrides."""
    return [f"{key}={value}" for key, value in setting.items()]


def _open(plan: Plan, folder: Path, arguments: Namespace) -> tuple[optuna.Study, Plan]:
    """Create or load the study; return it, and the plan with the metric that it was begun with."""
    try:
        from seq2seq.tuning import plots  # noqa: F401  (a missing package raises now, not after the last trial)
        from seq2seq.tuning.study import open_study
    except ImportError as error:
        raise UserError(f"tune needs {error.name}: pip install 'seq2seq-recurrent[tune]'") from None
    settings = {
        "space": plan.space.plain(),
        "overrides": shlex.join(plan.overrides),
    }
    metric = f"{plan.metric} {plan.mode}"
    if not plan.automatic:
        settings["metric"] = metric
    options = {name: getattr(arguments, name) for name in ("sampler", "pruner", "seed")}
    study = open_study(folder, arguments.storage, mode=plan.mode, settings=settings, **options)
    if "metric" not in study.user_attrs:
        study.set_user_attr("metric", metric)
    return study, plan.follow(str(study.user_attrs["metric"]))


def _try(study: optuna.Study, trial: optuna.Trial, plan: Plan, folder: Path) -> None:
    """Run one trial, and report its result to the study; if the process is stopped, the trial is put back first."""
    from optuna.trial import TrialState

    from seq2seq.cli.composing.job_status import error_message, record_failure
    from seq2seq.training.records.run_record import claim
    from seq2seq.tuning.study import ERROR, place_of, put_back, reported, suggest

    place = place_of(trial, folder)
    with claim(place) as claimed:
        if not claimed:  # another process took this one for dead, and repeats its trial
            return
        setting = spelled(plan.space.draw(suggest(trial)))
        overrides = [*plan.overrides, *plan.pinned, *setting]
        reported(study, trial)
        print(f"\ntrial {trial.number}: {shlex.join(setting)}", flush=True)
        try:
            record = _train(trial, overrides, place)
            if record["status"] == "interrupted":
                raise KeyboardInterrupt
            value = record.get(plan.metric)
            if record["status"] == "pruned":
                study.tell(trial, state=TrialState.PRUNED)
            elif value is None or not math.isfinite(value):
                raise UserError(f"{plan.metric} is {value}: there is nothing to compare")
            else:
                study.tell(trial, value)
            print(f"trial {trial.number}: {record['status']}, {plan.metric} = {value}")
        except Exception as error:
            record_failure(place, overrides, error, name=place.name, seed=0)
            trial.set_user_attr(ERROR, error_message(error))
            study.tell(trial, state=TrialState.FAIL)
            print(f"trial {trial.number}: failed: {error_message(error)}", file=sys.stderr)
        except BaseException:
            put_back(study, study.get_trials(deepcopy=False)[trial.number], folder, "interrupted")
            raise


def _train(trial: optuna.Trial, overrides: list[str], place: Path) -> dict[str, Any]:
    from seq2seq.cli.composing.configurations import composed, composing
    from seq2seq.cli.composing.job_status import JobStatus, job_status, name_after_sweep, restart
    from seq2seq.training.records.run_record import read
    from seq2seq.training.run import train

    def watch(validation: int, value: float) -> bool:
        trial.report(value, validation)
        return bool(trial.should_prune())  # it may be a numpy.bool

    with composing():
        config = composed(overrides)
    name_after_sweep(config, place, place.parent)
    status = job_status(place)
    if status is JobStatus.FINISHED:  # the process died between the end of the run and its report to the study
        return read(place)
    if status is JobStatus.BROKEN:
        restart(config, place)
    return train(config, place, overrides, watch=watch)


def _end(study: optuna.Study, plan: Plan, folder: Path) -> int:
    """Write the leaderboard and the figures, and print the best trial as a command; return the exit code."""
    from optuna.trial import TrialState

    from seq2seq.cli.composing.job_status import mark_stale_as_failed
    from seq2seq.reporting.leaderboard import leaderboard
    from seq2seq.training.records.loggers import log_leaderboard
    from seq2seq.tuning.plots import save_plots
    from seq2seq.tuning.study import PUT_BACK

    print()
    if any(folder.glob("*/run.json")):
        mark_stale_as_failed(folder)
        leaderboard(folder)
        if plan.wandb is not None:
            log_leaderboard(folder, plan.wandb)
    save_plots(study, plan.metric, folder / "study.html")
    states = [trial.state for trial in study.get_trials(deepcopy=False) if PUT_BACK not in trial.user_attrs]
    shown = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    shown |= {"running": TrialState.RUNNING, "to be repeated": TrialState.WAITING}
    print("\ntrials: " + ", ".join(f"{states.count(state)} {name}" for name, state in shown.items() if state in states))
    if TrialState.COMPLETE not in states:
        print("no trial is complete; their errors are in the table", file=sys.stderr)
        return 1
    print(f"figures: {folder}/study.html")
    best = study.best_trial
    setting = plan.space.draw(lambda parameter: best.params[parameter.key])
    print(f"best: trial {best.number}, {plan.metric} = {best.value:.4f}\n")
    print(shlex.join(["seq2seq", "train", *plan.overrides, *spelled(setting)]))
    return 0


def _show(plan: Plan) -> int:
    """Print the space as a table, and the command of a trial."""
    from tabulate import tabulate

    rows = [
        (p.key, str(p), " and ".join(f"{key}={'|'.join(values)}" for key, values in p.when.items()))
        for p in plan.space.parameters
    ]
    print(f"{plan.metric} ({plan.mode})\n")
    print(tabulate(rows, ("parameter", "values", "when"), "simple", disable_numparse=True))
    setting = next(iter(plan.space.probes()))
    print(f"\na trial: {shlex.join(['seq2seq', 'train', *plan.overrides, *spelled(setting)])}")
    return 0
