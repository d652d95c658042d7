"""The strings of the study of copying are what its page says, and its overrides make models."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from seq2seq.cli.composing.configurations import composed, composing
from seq2seq.runtime.paths import PACKAGE
from seq2seq.training import run as training

STUDY = PACKAGE.parent / "experiments" / "copying"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [str(STUDY), str(STUDY.parent), *sys.path])
    for name in ("machine", "readme", "study", "tasks"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    spec = importlib.util.spec_from_file_location("copying_run", STUDY / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_strings(study: ModuleType, tmp_path: Path) -> None:
    for task, options in study.TASKS.items():
        study.write(tmp_path / task, train=300, test=100, **options)
        files = {name: (tmp_path / task / f"{name}.tsv").read_text().splitlines() for name in ("train", "val", "test")}
        train, val, test = ([tuple(line.split("\t")) for line in lines] for lines in files.values())
        assert not set(test) & set(train)
        assert max(len(one.split()) for one, _ in (*train, *val)) == 10
        lengths = {len(one.split()) for one, _ in test}
        assert max(lengths) == 20
        assert min(lengths) == (1 if task == "reverse" else 11)
        assert all(other.split() == one.split()[:: -1 if task == "reverse" else 1] for one, other in (*train, *test))
        symbols = [{symbol for one, _ in pairs for symbol in one.split()} for pairs in (train, test)]
        assert (symbols[1] - symbols[0] == set("ABCDEFGHIJ")) is (task == "new")


@pytest.mark.slow
def test_every_model_can_be_trained(study: ModuleType, tmp_path: Path) -> None:
    for task, options in study.TASKS.items():
        study.write(tmp_path / task, train=20, test=2, **options)
    for name in study.JOBS:
        with composing():
            training.check(composed(study.overrides(name, tmp_path)))


def test_accuracy_by_length(study: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "test.references.txt").write_text("a b\nc\nd e\n")
    (tmp_path / "test.translations.txt").write_text("a b\nx\nd d\n")
    assert study.accuracy_by_length(tmp_path) == {1: (0, 1), 2: (1, 2)}
    assert "50.0" in study.accuracy_table({"x": {2: (1, 2), 11: (1, 1)}})
