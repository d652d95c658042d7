"""An Optuna study that any number of processes and machines run together, each by the same command, until it has N
trials.

Optuna's own loop (`Study.optimize`) counts the trials of one process, and unless the storage is a database, a trial
whose process died stays "running" forever. In this loop, a process owns a trial while it holds the lock of the trial's
folder; a running trial without an owner is put back, and the next process repeats it with the same values in the same
folder.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from seq2seq.errors import UserError
from seq2seq.training.records.run_record import LOCK, claim
from seq2seq.tuning.space import Parameter, Suggest, Value

JOURNAL = "study.journal"
PUT_BACK, FOLDER, ERROR = "put back", "folder", "error"  # attributes of a trial: why it was put back, where it runs
SAMPLERS: dict[str, type[TPESampler] | type[RandomSampler]] = {"tpe": TPESampler, "random": RandomSampler}
PRUNERS: dict[str, type[BasePruner]] = {"median": MedianPruner, "hyperband": HyperbandPruner, "none": NopPruner}


class SeededByNumber(BaseSampler):
    """Wraps a sampler so that its random numbers are a function of the seed and the trial's number.

    So processes that start together do not suggest the same values, and a study that is resumed suggests the same
    values as one that was not interrupted.
    """

    def __init__(self, kind: type[TPESampler] | type[RandomSampler], seed: int) -> None:
        self.kind, self.seed, self.sampler = kind, seed, kind(seed=seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Create a new sampler, seeded for this trial."""
        self.sampler = self.kind(seed=(self.seed * 1_000_003 + trial.number) % 2**32)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The inner sampler's search space."""
        return self.sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values that the inner sampler suggests together."""
        return self.sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value that the inner sampler suggests for one parameter."""
        return self.sampler.sample_independent(study, trial, param_name, param_distribution)


def open_study(
    folder: Path, storage: str | None, *, mode: str, sampler: str, pruner: str, seed: int, settings: Mapping[str, str]
) -> optuna.Study:
    """Create or load the study of `folder`, stored in a journal file there, or in the database of the URL `storage`.

    `mode` is "min" or "max". Raises `UserError` if the study was created with other `settings` (the space and how it is
    searched), or the database cannot be reached.
    """
    optuna.logging.set_verbosity(logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=_storage(folder, storage),
        study_name=folder.resolve().name,
        direction="maximize" if mode == "max" else "minimize",
        sampler=SeededByNumber(SAMPLERS[sampler], seed),
        pruner=PRUNERS[pruner](),
        load_if_exists=True,
    )
    known = study.user_attrs
    for name, value in settings.items():
        if known.get(name, value) != value:
            raise UserError(
                f"{folder}: its study was begun with another {name} ({known[name]}, not {value}); use the same, or "
                "begin another study with --folder"
            )
        if name not in known:
            study.set_user_attr(name, value)
    return study


def _storage(folder: Path, url: str | None) -> BaseStorage:
    return JournalStorage(JournalFileBackend(str(folder / JOURNAL))) if url is None else _database(url)


def _database(url: str, attempts: int = 5) -> BaseStorage:
    """Open a database. If several processes create its tables at the same time, all but one fail; so they try again."""
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    try:
        return optuna.storages.get_storage(url)
    except (SQLAlchemyError, ImportError, ValueError) as error:
        if isinstance(error, DBAPIError) and attempts > 1:
            time.sleep(0.5)
            return _database(url, attempts - 1)
        kind, reason = url.partition(":")[0], str(error).strip().partition("\n")[0]  # the rest may contain a password
        raise UserError(f"--storage {kind}:…: {reason}; give a database's URL, such as sqlite:///study.db") from None


def counted(study: optuna.Study) -> int:
    """The number of trials that are running or done, without those that were put back."""
    return sum(map(_counts, study.get_trials(deepcopy=False)))


def _counts(trial: FrozenTrial) -> bool:
    return trial.state != TrialState.WAITING and PUT_BACK not in trial.user_attrs


def next_trial(study: optuna.Study, folder: Path, total: int) -> Trial | None:
    """The next trial; None if the study has `total` trials already, over all processes.

    If two processes request the last trial at the same time, both get one, with different numbers: the process with the
    higher one sees that enough trials have lower numbers, and puts its own back.
    """
    put_back_stale(study, folder)
    if counted(study) >= total:
        return None
    trial = study.ask()
    if sum(_counts(other) for other in study.get_trials(deepcopy=False) if other.number < trial.number) < total:
        return trial
    trial.set_user_attr(PUT_BACK, "there were enough")
    study.tell(trial, state=TrialState.FAIL)
    return None


def suggest(trial: Trial) -> Suggest:
    """A function that suggests a parameter's value in this trial, for `Space.draw`."""

    def drawn(parameter: Parameter) -> Value:
        key, low, high, step, log, choices, _ = parameter
        if choices:
            return trial.suggest_categorical(key, choices)
        if parameter.is_integer:
            return trial.suggest_int(key, int(low), int(high), step=int(step or 1), log=log)
        return trial.suggest_float(key, low, high, step=step, log=log)

    return drawn


def place_of(trial: Trial | FrozenTrial, folder: Path) -> Path:
    """The folder of a trial's run, named by its number, or by that of the trial that it repeats."""
    return folder / str(trial.user_attrs.get(FOLDER, trial.number))


def put_back(study: optuna.Study, trial: FrozenTrial, folder: Path, reason: str) -> None:
    """Mark an unfinished trial as failed, so that it does not count, and enqueue it again, with its values and
    folder."""
    study._storage.set_trial_user_attr(trial._trial_id, PUT_BACK, reason)
    study.tell(trial.number, state=TrialState.FAIL)
    study.enqueue_trial(trial.params, {FOLDER: place_of(trial, folder).name})


def put_back_stale(study: optuna.Study, folder: Path) -> None:
    """Put back the trials whose processes died. Those whose folders are not on this machine are left alone."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        place = place_of(trial, folder)
        if not (place / LOCK).exists():
            continue
        with claim(place) as claimed:
            # Checked again, as another process may have put it back before the lock was taken.
            if claimed and study.get_trials(deepcopy=False)[trial.number].state == TrialState.RUNNING:
                put_back(study, trial, folder, "its process ended before it did")


def reported(study: optuna.Study, trial: Trial) -> None:
    """Report to a repeated trial the intermediate values of the trials that it repeats, as its run resumes theirs."""
    for earlier in study.get_trials(deepcopy=False):
        if earlier.number < trial.number and PUT_BACK in earlier.user_attrs and FOLDER in trial.user_attrs:
            same = str(earlier.user_attrs.get(FOLDER, earlier.number)) == str(trial.user_attrs[FOLDER])
            for step, value in earlier.intermediate_values.items() if same else ():
                trial.report(value, step)
