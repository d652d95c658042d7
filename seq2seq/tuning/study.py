"""An Optuna study that any number of processes and machines work on, each by the same command, until it has N trials.

Optuna's own loop (`Study.optimize`) counts the trials of one process, and leaves a trial whose process died "running"
for ever unless the storage is a database. Here a trial belongs to who holds the lock of its folder; a trial without an
owner is put back, and the next process repeats it with the same values in the same folder.
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
from seq2seq.training.run_record import LOCK, claim
from seq2seq.tuning.space import Parameter, Suggest, Value

JOURNAL = "study.journal"
PUT_BACK, FOLDER, ERROR = "put back", "folder", "error"  # attributes of a trial: why it does not count, where it runs
SAMPLERS: dict[str, type[TPESampler] | type[RandomSampler]] = {"tpe": TPESampler, "random": RandomSampler}
PRUNERS: dict[str, type[BasePruner]] = {"median": MedianPruner, "hyperband": HyperbandPruner, "none": NopPruner}


class SeededByNumber(BaseSampler):
    """Another sampler, whose random numbers are a function of the seed and the trial's number.

    So processes that begin together do not draw the same values, and a study that is resumed draws what it would
    have drawn.
    """

    def __init__(self, kind: type[TPESampler] | type[RandomSampler], seed: int) -> None:
        self.kind, self.seed, self.sampler = kind, seed, kind(seed=seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Begin anew."""
        self.sampler = self.kind(seed=(self.seed * 1_000_003 + trial.number) % 2**32)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """See Optuna."""
        return self.sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See Optuna."""
        return self.sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """See Optuna."""
        return self.sampler.sample_independent(study, trial, param_name, param_distribution)


def open_study(
    folder: Path, storage: str | None, *, mode: str, sampler: str, pruner: str, seed: int, settings: Mapping[str, str]
) -> optuna.Study:
    """The study of `folder`, begun or joined, in its own journal file or in the database of the URL `storage`.

    `mode` is "min" or "max". `settings` say what is varied and how; raises `UserError` where the study was begun with
    others, or the database cannot be reached.
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
    """Of processes that begin together one makes the tables; the others fail to, and find them when they try again."""
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    try:
        return optuna.storages.get_storage(url)
    except (SQLAlchemyError, ImportError, ValueError) as error:
        if isinstance(error, DBAPIError) and attempts > 1:
            time.sleep(0.5)
            return _database(url, attempts - 1)
        kind, reason = url.partition(":")[0], str(error).strip().partition("\n")[0]  # the rest may hold a password
        raise UserError(f"--storage {kind}:…: {reason}; give a database's URL, such as sqlite:///study.db") from None


def counted(study: optuna.Study) -> int:
    """The trials that are running or done; not those that were put back."""
    return sum(map(_counts, study.get_trials(deepcopy=False)))


def _counts(trial: FrozenTrial) -> bool:
    return trial.state != TrialState.WAITING and PUT_BACK not in trial.user_attrs


def next_trial(study: optuna.Study, folder: Path, total: int) -> Trial | None:
    """The next trial of a study of `total`; None when there are as many already, in all processes together.

    Two processes may ask at the same moment for the last one. The numbers of trials are unique in every storage: who
    has got the higher one sees that there are enough below it.
    """
    mark_stale_as_failed(study, folder)
    if counted(study) >= total:
        return None
    trial = study.ask()
    if sum(_counts(other) for other in study.get_trials(deepcopy=False) if other.number < trial.number) < total:
        return trial
    trial.set_user_attr(PUT_BACK, "there were enough")
    study.tell(trial, state=TrialState.FAIL)
    return None


def suggest(trial: Trial) -> Suggest:
    """How a space draws a parameter's value in this trial."""

    def drawn(parameter: Parameter) -> Value:
        key, low, high, step, log, choices, _ = parameter
        if choices:
            return trial.suggest_categorical(key, choices)
        if parameter.whole:
            return trial.suggest_int(key, int(low), int(high), step=int(step or 1), log=log)
        return trial.suggest_float(key, low, high, step=step, log=log)

    return drawn


def place_of(trial: Trial | FrozenTrial, folder: Path) -> Path:
    """The folder of a trial's run: of its number, or that of the trial it repeats."""
    return folder / str(trial.user_attrs.get(FOLDER, trial.number))


def put_back(study: optuna.Study, trial: FrozenTrial, folder: Path, reason: str) -> None:
    """Let a trial that did not come to its end be repeated, with its values, in its folder; it does not count."""
    study._storage.set_trial_user_attr(trial._trial_id, PUT_BACK, reason)
    study.tell(trial.number, state=TrialState.FAIL)
    study.enqueue_trial(trial.params, {FOLDER: place_of(trial, folder).name})


def mark_stale_as_failed(study: optuna.Study, folder: Path) -> None:
    """Put back the trials whose processes died. Those whose folders are not on this machine are left alone."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        place = place_of(trial, folder)
        if not (place / LOCK).exists():
            continue
        with claim(place) as claimed:
            # Asked again, now that nobody else can put it back.
            if claimed and study.get_trials(deepcopy=False)[trial.number].state == TrialState.RUNNING:
                put_back(study, trial, folder, "its process ended before it did")


def reported(study: optuna.Study, trial: Trial) -> None:
    """Give a trial that repeats others the values that they had reported: its run may resume where theirs stopped."""
    for earlier in study.get_trials(deepcopy=False):
        if earlier.number < trial.number and PUT_BACK in earlier.user_attrs and FOLDER in trial.user_attrs:
            same = str(earlier.user_attrs.get(FOLDER, earlier.number)) == str(trial.user_attrs[FOLDER])
            for step, value in earlier.intermediate_values.items() if same else ():
                trial.report(value, step)
