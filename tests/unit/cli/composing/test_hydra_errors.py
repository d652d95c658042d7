"""What Hydra refuses is one line of ours with code 2, the nearest right name in it; nothing is trained here."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

from seq2seq.cli.composing.asserting import recompile
from seq2seq.cli.main import main
from tests.fake_training import train

MISTAKES = [
    (["cell=gruu"], "did you mean cell=gru?"),
    (["experiment=nonsense"], "experiment has couplets, demo,"),
    (["traner.max_epochs=3"], "did you mean trainer.max_epochs?"),
    (["trainer.fast_dev_run=true"], "+trainer.fast_dev_run=true"),
    (["encoder.hidden_size=[1,2"], "Hydra cannot read this override"),
    (["encoder.hidden_size=a=b=c"], "Hydra cannot read this override"),
    (["data.corpus.tests={test:x"], "Hydra cannot read this override"),
    (["name=ü"], "'ü' is not allowed there"),
    (["foo"], "write KEY=VALUE"),
    (["=3"], "Hydra cannot read this override"),
    (["~nothing"], "there is nothing to remove"),
    (["name=${x}"], "Interpolation key 'x' not found"),
    (["encoder.hidden_size=${x}"], "encoder.hidden_size: Interpolation key 'x' not found"),
    (["trainer.max_epochs=${oc.env:NO_SUCH_VARIABLE}"], "NO_SUCH_VARIABLE"),
    (["trainer.max_epochs=${trainer.max_epochs}"], "trainer.max_epochs"),
    (["seed=1,2"], "add --multirun"),
    (["seed=choice(1,2)"], "requires --multirun"),
    (["seed=abc"], "seed='abc': must be a whole number"),
    (["seed=null"], "seed=None: must be a whole number"),
    (["--config-name", "x"], "--config-name x: there is no such file"),
    (["--config-dir", "nowhere"], "nowhere' not found"),
    (["--bogus"], "unrecognized arguments: --bogus; options are"),
    (["--cfg"], "expected one argument"),
    (["--cfg", "job", "--info"], "Only one of"),
    (["--resolve"], "--resolve"),
    (["hydra/launcher=nonsense"], "hydra/launcher=nonsense: there is no such option"),
    (["~hydra.sweeper"], "does not support deletion"),
    (["~cell"], "${cell}"),
    (["hydra.run.dir=a_file"], "a_file: no files can be made in this folder; choose another with hydra.run.dir="),
    (["-m", "hydra.sweep.dir=a_file"], "choose another with hydra.sweep.dir="),
    (["-m", "hydra.sweep.subdir=../x"], "leads out of hydra.sweep.dir"),
    (["-sc", "install=ksh"], "shells: bash, zsh, fish"),
]


@pytest.mark.parametrize(("words", "told"), MISTAKES, ids=lambda value: " ".join(value) * isinstance(value, list))
def test_one_line(words: list[str], told: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_file").touch()
    assert main(["train", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("seq2seq: error: "), error
    assert error.count("\n") == 1
    assert told in error


@pytest.mark.slow
def test_options_and_overrides_in_any_order(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("seq2seq.training.run.train", train)
    monkeypatch.setattr("seq2seq.reporting.style.save", lambda figure, path: path)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "seed=1", "-m", "scheduler=cosine,null"]) == 0  # into hydra's own default folder
    (first, second) = sorted((tmp_path / "sweeps" / "default-embedded").glob("*/*/run.json"))
    assert [json.loads(path.read_text())["overrides"][1] for path in (first, second)] == [
        "scheduler=cosine",
        "~scheduler",
    ]


def test_a_mistake_of_ours_keeps_its_traceback(tmp_path, monkeypatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("seq2seq.training.run.train", broken)
    with pytest.raises(ZeroDivisionError, match="ours"):
        main(["train", f"hydra.run.dir={tmp_path}"])


SOURCE = "class A:\n    def f(self, items):\n        assert next(items) == 1\n        return next(items)\n"


def test_asserts_come_back(tmp_path) -> None:
    path = tmp_path / "module.py"
    path.write_text(SOURCE)
    module = types.ModuleType("module")
    module.__file__ = str(path)
    exec(compile(SOURCE, str(path), "exec", optimize=1), vars(module))
    made = module.A()
    assert made.f(iter([1, 2])) == 1  # the assert, and what it read, are gone
    sys.modules["module"] = module
    try:
        recompile(module)
    finally:
        del sys.modules["module"]
    assert made.f(iter([1, 2])) == 2


def test_python_without_asserts_reads_every_form_of_override() -> None:
    code = (
        "from seq2seq.cli.composing.asserting import keep_asserts; keep_asserts()\n"
        "from hydra.core.override_parser.overrides_parser import OverridesParser\n"
        "read = OverridesParser.create().parse_override\n"
        "for text in ('{b:1,c:[2,{d:e}]}', 'choice(1,2)', 'range(1,3)'): print(read('a=' + text).value())"
    )
    done = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("{'b': 1, 'c': [2, {'d': 'e'}]}\n"), done.stderr
    assert done.returncode == 0
