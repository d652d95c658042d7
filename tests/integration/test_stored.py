"""Bundles, runs, a sweep and a study from before files moved into rooms load as if they had been made today.

They were made by tests/stored/make.py at the commit that it names; class names of then are in all of them.
"""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from seq2seq import Predictor, Translator
from seq2seq.bundle.format import load_bundle
from seq2seq.cli.main import main
from seq2seq.inference.captioner import Captioner
from seq2seq.inference.text_sampler import Sampler, SamplingOptions
from seq2seq.models.factory import resolve
from seq2seq.training.start.resuming import differences
from tests import fake_training
from tests.conftest import CONF

ARCHIVE = Path(__file__).parents[1] / "stored" / "before_the_rooms.tar.xz"
TEXTS = ["ein zwei", "drei vier funf funf", "zwei"]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # 3.11.4 on
    return folder


@pytest.fixture(autouse=True)
def _there(unpacked: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their paths are relative: every test is in their folder."""
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.chdir(unpacked)


@pytest.fixture
def expected() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("expected.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def _no_training(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Training that makes up its scores; nothing is drawn."""
    monkeypatch.setattr("seq2seq.training.run.train", fake_training.train)
    monkeypatch.setattr("seq2seq.reporting.style.save", lambda figure, path: path)
    monkeypatch.setattr("seq2seq.tuning.plots.save_plots", lambda study, metric, path: None)


def record(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(folder) / "run.json").read_text(encoding="utf-8"))
    return found


def target(group: str, name: str) -> str:
    """The name of a component's class today."""
    return str(yaml.safe_load((CONF / group / f"{name}.yaml").read_text(encoding="utf-8"))["_target_"])


def test_every_old_name_is_the_class_that_it_was(expected: dict[str, Any]) -> None:
    assert {name: resolve(name, "x", base=object).__name__ for name in expected["names"]} == expected["names"]
    assert len(expected["names"]) > 80


@pytest.mark.parametrize("name", ["translation", "own"])
def test_translations_stay(name: str, expected: dict[str, Any]) -> None:
    """`own` has a cell of the user's, a file that imports from modules of then."""
    translator = Translator.load(Path("runs") / name / "bundle", trusted=["my_cells"])
    found = [best for (best, *_) in translator.translate_full(TEXTS, translator.options(n_best=1))]
    assert [best.text for best in found] == [text for text, _ in expected["outputs"][name]]
    assert [best.hypothesis.log_prob for best in found] == pytest.approx(
        [log_prob for _, log_prob in expected["outputs"][name]], abs=1e-4
    )


@pytest.mark.parametrize("name", ["tagging", "classification"])
def test_labels_stay(name: str, expected: dict[str, Any]) -> None:
    found = list(Predictor.load(Path("runs") / name / "bundle").predict_stream(TEXTS))
    assert [[list(labels) for labels in each.labels] for each in found] == [
        labels for labels, _ in expected["outputs"][name]
    ]
    for each, (_, probabilities) in zip(found, expected["outputs"][name], strict=True):
        assert each.probabilities.amax(1).tolist() == pytest.approx(probabilities, abs=1e-5)


def test_captions_and_samples_stay(expected: dict[str, Any]) -> None:
    strip = np.eye(12, dtype=np.float32)[[0, 1, 3]]
    assert list(Captioner.load(Path("runs/captioning/bundle")).caption([strip])) == expected["outputs"]["captioning"]
    sampler = Sampler.load(Path("runs/language_modeling/bundle"))
    assert sampler("one", SamplingOptions(length=12, top_k=1)) == expected["outputs"]["language_modeling"]


def test_a_bundle_read_has_the_names_of_today() -> None:
    """So old and new bundles compare equal where they are averaged, and one that is written again has no old name."""
    config = load_bundle("runs/translation/bundle").config
    assert config["encoder"]["_target_"] == target("encoder", "recurrent")
    assert config["decoder"]["cell"]["_target_"] == target("cell", "lstm")
    assert config["decoder"]["feedback"]["_target_"] == target("feedback", "teacher")


def test_an_interrupted_run_is_resumed_to_its_end(expected: dict[str, Any]) -> None:
    assert record("runs/interrupted")["status"] == "interrupted"
    assert main(["train", "resume=runs/interrupted"]) == 0
    assert record("runs/interrupted")["status"] == "finished"
    assert record("runs/interrupted")["val_loss"] == pytest.approx(expected["val_loss"], rel=1e-5)


def test_an_option_that_is_newer_than_a_checkpoint_does_not_hold_it_back() -> None:
    """Unless it is set to something else than the packaged files set it to."""
    before = {"encoder": {"hidden_size": 8}, "optimizer": {"name": "adam"}}
    assert list(differences(before | {"task": {"label_smoothing": 0.1}}, before)) == []
    assert list(differences(before | {"task": {"label_smoothing": 0.3}}, before)) == [
        ("task.label_smoothing", 0.3, None)
    ]
    assert list(differences({"encoder": {"hidden_size": 9}}, before)) == [
        ("encoder.hidden_size", 9, 8),
        ("optimizer.name", None, "adam"),
    ]


@pytest.mark.usefixtures("_no_training")
@pytest.mark.parametrize("renamed", [False, True])
def test_the_finished_jobs_of_a_sweep_are_not_run_again(renamed: bool, expected: dict[str, Any]) -> None:
    """Whether the command that is typed again has the old class name or the current one."""
    before = [record(f"sweeps/bridges/{job}") for job in (0, 1)]
    command, key = expected["commands"]["sweep"], "context._target_="
    assert any(override.startswith(key) for override in command)
    if renamed:
        now = key + target("context", "fixed")
        command = [now if override.startswith(key) else override for override in command]
    assert main(["train", *command]) == 0
    assert [record(f"sweeps/bridges/{job}") for job in (0, 1)] == before
    assert not Path("sweeps/bridges/2").exists()


@pytest.mark.usefixtures("_no_training")
def test_a_study_is_resumed(expected: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna")
    assert main(["tune", *expected["commands"]["tune"], "--trials=3"]) == 0
    assert "trials: 3 complete" in capsys.readouterr().out
    assert any(override.startswith("bridge._target_=") for override in record("tuned/space/2")["overrides"])


def test_the_command_of_a_bundle_still_composes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "runs/translation/bundle"]) == 0
    shown = capsys.readouterr().out
    assert "decoder.cell._target_=" in shown
    assert "data differ" not in shown
    assert "cannot be compared" not in shown
