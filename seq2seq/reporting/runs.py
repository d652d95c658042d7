"""The runs of a report, read from the files in their folders, with distinct names. Missing or damaged files become
notes, not errors."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.errors import UserError
from seq2seq.reporting.leaderboard import compare
from seq2seq.reporting.sweep_folders import RUN_FILE, is_run, runs_in
from seq2seq.reporting.tables import Row, label
from seq2seq.reporting.wording import one_line, shorten
from seq2seq.runtime.old_names import current, current_override

NOT_COMPARED = ("name", "seed")
"""Settings in which the repetitions of one experiment differ."""
ENDED = {"finished": "", "interrupted": "its training was ended early"}
"""The statuses of runs that have a model and scores, with a note on each."""
LONGEST = 60  # characters of a run's name


class Run(NamedTuple):
    """One run. `config` is its configuration, `provenance` has versions, data and command; each is empty if it is
    missing."""

    folder: Path
    name: str
    row: Row  # its row of the leaderboard
    task: str
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]  # the rows of metrics.csv

    @property
    def settings(self) -> dict[str, Any]:
        """Its configuration, flattened to keys such as `encoder.hidden_size`."""
        return dict(flatten(self.config))

    @property
    def bundle(self) -> Path:
        """The folder of its trained model, which may not exist."""
        return self.folder / "bundle"


class Group(NamedTuple):
    """Runs that differ in their seed only, or a single run."""

    name: str
    runs: Sequence[Run]


class Notes(list[str]):
    """Notes on missing or damaged content, without duplicates."""

    def add(self, path: Path, what: object) -> None:
        """Add a note of one line on `path`."""
        note = one_line(str(what))
        note = readable(note if str(path) in note else f"{path}: {note}")
        if note not in self:
            self.append(note)


def find_runs(paths: Sequence[Path]) -> tuple[list[Run], Notes]:
    """The runs in `paths`, each the folder of a run or of a sweep, grouped by task, the best of a task first.

    Raises:
        UserError: none of them has a readable run.
    """
    notes = Notes()
    called: dict[Path, str] = {}
    for path in paths:
        folders = _runs_in(path, notes)
        swept = folders != [path]
        for row in compare(folders, path if swept else None) if folders else []:
            numbered = (
                swept and row["run"].rpartition("/")[2].isdigit()
            )  # Hydra's number of a job, which is not informative
            name = label(row) if numbered and row["varied"] else row["run"] or path.resolve().name
            called.setdefault(row["folder"].resolve(), shorten(one_line(readable(name)), LONGEST))
    read = {folder: _read(folder, name, notes) for folder, name in _distinct(called).items()}
    known = Counter(run.task for run in read.values() if run.task)
    if not any(run.metrics or run.row["status"] != "unreadable" for run in read.values()):
        raise UserError(f"there is no run to report; {'; '.join(notes) or 'give the folders of runs, or of a sweep'}")
    usual = known.most_common(1)[0][0] if known else ""
    tasks: dict[str, list[Path]] = {}
    for folder, run in read.items():
        tasks.setdefault(run.task or usual, []).append(folder)
    ranked = ((task, row) for task, folders in tasks.items() for row in compare(folders))
    return [read[row["folder"]]._replace(row=row, task=task) for task, row in ranked], notes


def groups(runs: Sequence[Run]) -> list[Group]:
    """Group runs that differ in name and seed only, in the order of the best of each. A run that has not ended is a
    group of its own, as a mean would be limited to its few steps."""
    members: dict[str, list[Run]] = {}
    for run in runs:
        settings = {key: value for key, value in run.settings.items() if key not in NOT_COMPARED}
        key = (
            json.dumps(settings, sort_keys=True, default=str)
            if settings and run.row["status"] in ENDED
            else str(run.folder)
        )
        members.setdefault(key, []).append(run)
    grouped = []
    for together in members.values():
        seeds = [run.config.get("seed") for run in together]
        alike = len(set(map(str, seeds))) == len(seeds)  # not for repeated seeds
        grouped += [Group(_group_name(together), together)] if alike else [Group(run.name, [run]) for run in together]
    return grouped


def differing(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """The settings in which the runs differ, and each run's value; None if it has no such setting."""
    each = [run.settings for run in runs]
    keys = dict.fromkeys(key for settings in each for key in settings)
    rows = {key: [settings.get(key) for settings in each] for key in keys if key != "name"}
    return {key: values for key, values in rows.items() if any(value != values[0] for value in values)}


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The settings of a nested configuration as pairs of a key, such as `encoder.cell.reset`, and its value."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def readable(text: str) -> str:
    """Replace surrogates, which file names and JSON can contain, so that the text can be written as UTF-8."""
    return text.encode(errors="replace").decode()


def _runs_in(path: Path, notes: Notes) -> list[Path]:
    if not path.is_dir():
        notes.add(path, "is a file, not the folder of a run" if path.exists() else "no such folder")
        return []
    if (path / RUN_FILE).exists():
        return [path]
    jobs = runs_in(path)
    if jobs or is_run(path):
        return jobs or [path]
    notes.add(path, "there is no run in it; give the folder of a run, or of a sweep")
    return []


def _distinct(called: Mapping[Path, str]) -> dict[Path, str]:
    """Make names unique: a longer path of the folder replaces a name that several runs have."""
    for further in (lambda folder: f"{folder.parent.name}/{folder.name}", str):
        often = Counter(called.values())
        called = {folder: name if often[name] == 1 else further(folder) for folder, name in called.items()}
    return dict(called)


def _read(folder: Path, name: str, notes: Notes) -> Run:
    (row,) = compare([folder])
    if row["error"]:
        notes.add(folder, f"{row['status']}: {row['error']}")
    elif remark := ENDED.get(row["status"], "it has not ended"):
        notes.add(folder, f"{row['status']}: {remark}")
    config = current(_yaml(folder / "hparams.yaml", notes)) or _overrides(folder)
    described = _bundle(folder / "bundle", notes) if row["status"] in ENDED or (folder / "bundle").is_dir() else {}
    metrics = _csv(folder / "metrics.csv", notes)
    task = (
        dict(flatten(config)).get("task.name")
        or described.get("task")
        or ("translation" if config or described else "")
    )
    provenance = described.get("provenance")
    return Run(folder, name, row, str(task), config, provenance if isinstance(provenance, dict) else {}, metrics)


def _overrides(folder: Path) -> dict[str, Any]:
    """The overrides of a run's command, for a run that ended before it wrote its configuration."""
    import yaml

    try:
        overrides = json.loads((folder / RUN_FILE).read_text(encoding="utf-8")).get("overrides") or []
        pairs = (current_override(str(override)).lstrip("+").partition("=")[::2] for override in overrides)
        return {key: yaml.safe_load(value) for key, value in pairs}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError, yaml.YAMLError):
        return {}


def _yaml(path: Path, notes: Notes) -> dict[str, Any]:
    import yaml

    content: object
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        content = error
    if not isinstance(content, dict):
        notes.add(path, f"is damaged, the run's settings are not known ({shorten(one_line(str(content)), 120)})")
    return content if isinstance(content, dict) else {}


def _bundle(folder: Path, notes: Notes) -> dict[str, Any]:
    if not folder.is_dir():
        notes.add(folder, "there is no bundle, so no model to run")
        return {}
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
        notes.add(path, "is damaged")
    except (OSError, ValueError, RecursionError) as error:
        notes.add(path, f"cannot be read ({error})")
    return {}


def _csv(path: Path, notes: Notes) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(_until_broken(csv.DictReader(file)))
    except FileNotFoundError:
        notes.add(path, "there is no such file, so no curves")
    except (OSError, ValueError, csv.Error) as error:
        notes.add(path, f"is damaged, no curves ({error})")
    return []


def _until_broken(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows up to the first with missing cells, which is the last of a file that is still being written."""
    for row in rows:
        if None in row or None in row.values():
            return
        yield row


def _group_name(runs: Sequence[Run]) -> str:
    if len(runs) == 1:
        return runs[0].name
    names = {" ".join(word for word in run.name.split(" ") if not word.startswith("seed=")) for run in runs}
    shared = names.pop() if len(names) == 1 else ""
    return f"{shared or shorten(', '.join(run.name for run in runs), LONGEST)} ({len(runs)} seeds)"
