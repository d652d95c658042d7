"""Numbers and labels for float sequences: trained, bundled, predicted again by the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from seq2seq.cli.main import main
from seq2seq.inference.feature_predictor import FeaturePredictor

COMMON = ["encoder.hidden_size=8", "data.batch_size=16", "optimizer.lr=0.01", "scheduler=constant", "trainer.threads=1"]


def write(folder: Path, targets: str) -> list[str]:
    """Sequences whose first column says the target: a number, or which of two labels."""
    for split, count in (("train", 160), ("val", 30), ("test", 30)):
        random = np.random.default_rng(count)
        level = random.integers(0, 2, count)
        values = random.normal(size=(count, 4, 2)) * 5 + 100
        values[:, :, 0] += 40 * level[:, None]
        made = np.array(["low", "high"])[level] if targets == "labels" else values[:, -1, 0]
        np.savez(folder / f"{split}.npz", features=values.astype(np.float32), targets=made)
    return [f"data.corpus.{split}={folder / split}.npz" for split in ("train", "val")] + [
        f"data.corpus.tests={{test: {folder / 'test'}.npz}}"
    ]


@pytest.mark.parametrize(
    ("task", "data"),
    [("regression", ["data=numbers"]), ("classification", ["data=features", "data.corpus.target_language=level"])],
)
def test_trained_and_predicted_again(task: str, data: list[str], tmp_path: Path) -> None:
    files = write(tmp_path, "numbers" if task == "regression" else "labels")
    run = tmp_path / "run"
    command = ["train", f"task={task}", *data, *files, *COMMON, "trainer.max_epochs=6", f"hydra.run.dir={run}"]
    assert main(command) == 0
    tests = json.loads((run / "bundle" / "metrics.json").read_text())["tests"]["test"]
    output = run / ("test.numbers.txt" if task == "regression" else "test.labels.txt")
    if task == "regression":
        assert tests["R2"]["value"] > 60
        assert tests["R2"]["low"] < tests["R2"]["value"] < tests["R2"]["high"]
        rows = [line.split("\t") for line in (run / "baselines.tsv").read_text().splitlines()]
        assert [row[1] for row in rows] == ["prediction", "model", "mean"]
        assert float(rows[2][2]) > float(rows[1][2])
    else:
        assert tests["accuracy"]["value"] > 90
    assert main(["predict-file", str(run / "bundle"), str(tmp_path / "test.npz"), str(tmp_path / "again.txt")]) == 0
    assert (tmp_path / "again.txt").read_text() == output.read_text()
    frames = np.load(tmp_path / "test.npz")["features"][:2]
    assert list(FeaturePredictor.load(run / "bundle").predict(frames)) == output.read_text().splitlines()[:2]
