"""The end of a run: the best weights are scored on the test splits, drawn, and bundled with their model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seq2seq.bundle.format import save_bundle
from seq2seq.bundle.model_card import model_card
from seq2seq.bundle.weights import read_checkpoint
from seq2seq.errors import UserError
from seq2seq.reporting.curves import learning_curves
from seq2seq.scoring import Score
from seq2seq.training.base import Outcome, Scored, Task


def finish(task: Task, outcome: Outcome, checkpoint: Path, folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Score, draw and bundle; returns what the run's record also holds: validation metrics and test scores.

    `checkpoint` is the best one. Leaves in `folder`: bundle/, curves.png, and what the task's `score` writes.
    """
    validation = restore(task, outcome, checkpoint)
    tests = task.score(outcome, folder)
    draw_curves(folder)
    save(task, outcome, folder / "bundle", tests, {**record, **validation})
    _show(tests, folder)
    return {**validation, "test": next(iter(tests.values()), {}), "tests": tests}


def restore(task: Task, outcome: Outcome, checkpoint: Path) -> dict[str, float | None]:
    """Load a checkpoint's weights into the model; returns the validation metrics that it had, None before the first."""
    outcome.module.eval()
    metrics: dict[str, float | None] = dict.fromkeys(task.logged(outcome.config))
    state = read_checkpoint(checkpoint)
    outcome.module.load_state_dict(state["state_dict"])
    metrics.update(state["seq2seq_metrics"])
    return metrics


def save(task: Task, outcome: Outcome, folder: Path, tests: Mapping[str, Scored], record: Mapping[str, Any]) -> None:
    """Write the bundle and its card."""
    corpus, provenance = outcome.data.corpus, outcome.provenance
    statistics = outcome.data.statistics
    described = task.card(outcome)
    sizes = {f"{side} vocabulary": size for side, size in statistics.get("vocabulary", {}).items()}
    card = model_card(
        name=str(outcome.config["name"]),
        summary=described.summary,
        task=described.hub_task,
        use=described.use,
        languages=(*corpus.source_language.split("+"), corpus.target_language),
        dataset=corpus.name,
        data=f"{corpus.name}: "
        + ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in statistics.items() if key != "vocabulary"),
        sizes={"parameters": record["parameters"], **sizes},
        scores=tests,
        command=provenance["command"],
        provenance={key: value for key, value in provenance.items() if key not in ("command", "data_statistics")},
    )
    save_bundle(
        folder,
        task=task.name,
        model=outcome.module.model,
        config=task.descriptor.model_nodes(outcome.config),
        sizes=task.sizes(outcome.data),
        tokenizers=outcome.data.tokenizers,
        metrics={"tests": tests, **{key: record[key] for key in task.logged(outcome.config)}},
        search=task.search(outcome.config),
        card=card,
        provenance=provenance,
    )


def draw_curves(folder: Path) -> None:
    """curves.png from metrics.csv; nothing where nothing was logged yet (Ctrl-C in the first steps)."""
    if (folder / "metrics.csv").exists():
        try:
            learning_curves(folder / "metrics.csv", folder / "curves.png")
        except UserError as error:
            print(f"no curves: {error}")


def _show(tests: Mapping[str, Scored], folder: Path) -> None:
    for split, scores in tests.items():
        for name, score in scores.items():
            print(f"{split}: {Score.of(name, score)}")
    print(f"pictures: {folder}/*.png")
    print(f"bundle: {folder / 'bundle'}")
