"""The wheel, for a user without a checkout; and what `seq2seq --help` costs."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from seq2seq import __version__
from seq2seq.runtime.paths import PACKAGE

ROOT = PACKAGE.parent

pytestmark = pytest.mark.slow


def call(*command: str | Path, cwd: Path = ROOT, path: Path | None = None) -> str:
    """Run a command and return what it printed; on `path` Python looks for packages before it looks elsewhere."""
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel installed into a folder of its own, which Python finds before the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    call(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, wheel)
    return folder


def test_wheel_carries_code_configuration_corpus_and_nothing_else(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    code = {file.relative_to(ROOT).as_posix() for file in PACKAGE.rglob("*.py")}
    code |= {
        "seq2seq/py.typed",
        *(f"seq2seq/reference/{page}.md" for page in ("ERRATA", "ERRATA.zh", "README", "README.zh")),
    }
    code |= {f"seq2seq/reporting/page/report.{kind}" for kind in ("html", "css", "js")}
    code |= {file.relative_to(ROOT).as_posix() for file in (PACKAGE / "serving" / "page").iterdir() if file.is_file()}
    carried = {
        f"seq2seq/{file.relative_to(ROOT).as_posix()}"
        for folder in ("conf", "data", "experiments/lessons")
        for file in (ROOT / folder).rglob("*")
        if file.is_file()
    }
    assert any(name.endswith(".yaml") for name in carried)
    assert inside == code | carried


def test_wheel_installs_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    ask = "from seq2seq.runtime.paths import PACKAGE, packaged as p; print(PACKAGE, p('conf').parent, p('data').parent)"
    found = call(sys.executable, "-c", ask, cwd=tmp_path, path=installed).split()
    assert [Path(name) for name in found] == [installed / "seq2seq"] * 3
    command = installed / "bin" / "seq2seq"
    assert call(command, "--version", cwd=tmp_path, path=installed) == f"seq2seq {__version__}\n"
    assert "translate-file" in call(command, "--help", cwd=tmp_path, path=installed)
    call(command, "lessons", "mine", "--language", "zh", "--no-open", cwd=tmp_path, path=installed)
    assert len([*(tmp_path / "mine").glob("*.ipynb")]) == 8


CELL = """
import torch
from torch.nn import functional as F

from seq2seq.nn.cells import Cell
from seq2seq.nn.types import HiddenState


class Leaky(Cell[HiddenState]):
    blocks = 1

    def __init__(self, input_size: int, hidden_size: int, *, bias: bool = True, leak: float = 0.5) -> None:
        super().__init__(input_size, hidden_size, bias=bias)
        self.leak = leak

    def step(self, gates, state):
        new = torch.tanh(gates + F.linear(state.h, self.weight_hh, self.bias_hh))
        return HiddenState(self.leak * state.h + (1 - self.leak) * new)
"""


def test_a_users_own_cell_trains_and_translates_with_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    """One file and one YAML outside the checkout; without --trust the bundle is refused."""
    (tmp_path / "my_cells.py").write_text(CELL)
    (tmp_path / "my_conf" / "cell").mkdir(parents=True)
    (tmp_path / "my_conf" / "cell" / "leaky.yaml").write_text("_target_: my_cells.Leaky\nleak: 0.25\n")
    for split in ("train", "val"):
        (tmp_path / f"{split}.tsv").write_text("ein\tone\nzwei drei\ttwo three\n" * 20)
    command = installed / "bin" / "seq2seq"
    data = ["data=tsv", "data.corpus.source_language=de", "data.corpus.target_language=en", "tokenizer=whitespace"]
    data += ["data.corpus.train=train.tsv", "data.corpus.val=val.tsv", "hydra.run.dir=run"]
    small = ["encoder.hidden_size=8", "decoder.hidden_size=8", "trainer.max_epochs=1", "trainer.threads=1"]
    train = [command, "train", "--config-dir", "my_conf", "cell=leaky", *data, *small]
    call(*train, "trust=[my_cells]", cwd=tmp_path, path=installed)
    config = json.loads((tmp_path / "run" / "bundle" / "config.json").read_text())
    assert config["model"]["encoder"]["cell"] == {"_target_": "my_cells.Leaky", "leak": 0.25}
    (tmp_path / "in").write_text("zwei\n")
    translate = [command, "translate-file", "run/bundle", "in", "out"]
    call(*translate, "--trust", "my_cells", cwd=tmp_path, path=installed)
    assert (tmp_path / "out").read_text().count("\n") == 1
    refused = subprocess.run(
        translate, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(installed)}, capture_output=True
    )
    assert refused.returncode == 2
    assert b"trust" in refused.stderr


def test_version_and_licence_are_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = dict(re.findall(r"^(version|license): (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"), flags=re.M))
    assert project["version"] == citation["version"] == __version__
    assert project["license"] == citation["license"] == "Apache-2.0"


def test_every_direct_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + [name for extra in project["optional-dependencies"].values() for name in extra]
    locked = {
        normal(line.split("==")[0])
        for line in (ROOT / "constraints.txt").read_text("utf-8").split("\n")
        if "==" in line
    }
    assert {normal(re.split(r"[<>=!~\[; ]", name)[0]) for name in wanted} <= locked


def normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_help_costs_less_than_a_quarter_of_importing_torch() -> None:
    def seconds(*command: str) -> float:
        """Of the processor, so that it matters little what else the machine does."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        call(sys.executable, *command)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # In alternation, for the machine is faster at times; the median forgets the first, cold start.
    pairs = [(seconds("-m", "seq2seq", "--help"), seconds("-c", "import torch")) for _ in range(3)]
    ours, torchs = (statistics.median(column) for column in zip(*pairs, strict=True))
    assert ours < torchs / 4, f"--help: {ours:.3f} s, import torch: {torchs:.3f} s"


@pytest.fixture
def would_run(tmp_path: Path) -> Callable[[str], list[str]]:
    """What `make TARGET` would run with an environment in the folder `venv`, which does not exist yet."""
    if not shutil.which("make"):
        pytest.skip("there is no make")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "MFLAGS"}

    def ask(target: str) -> list[str]:
        command = ["make", "-n", "--no-print-directory", target, f"VENV={tmp_path / 'venv'}"]
        done = subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, text=True, check=True)
        return done.stdout.replace("\\\n", " ").split("\n")

    return ask


def installs(lines: list[str]) -> list[str]:
    """What is installed: the last word of each call of pip."""
    return [line.split()[-1].strip("'") for line in lines if "-m pip" in line]


def test_demo_installs_what_running_needs_and_test_the_rest(
    would_run: Callable[[str], list[str]], tmp_path: Path
) -> None:
    running, testing = [*would_run("demo")], [*would_run("test")]
    assert any(line.endswith("seq2seq demo ") for line in running)
    assert installs(running)[0].startswith("torch==")
    assert installs(running)[1:] == ["setuptools-scm", "."]
    assert installs(testing) == [*installs(running), ".[dev,sweep,tune,export,serve]"]
    assert all("-c constraints.txt" in line for line in testing if "-m pip" in line and "torch==" not in line)
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    for name in ("bin/python", ".installed"):
        (tmp_path / "venv" / name).touch()
    assert installs(would_run("demo")) == []
    assert installs(would_run("test")) == installs(would_run("test-quick")) == [".[dev,sweep,tune,export,serve]"]
    (tmp_path / "venv" / ".installed-dev").touch()
    assert installs(would_run("lint")) == []
