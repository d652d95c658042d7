"""Processes that train together learn what one process learns, write what it writes, and end when one of them ends.

They are started as torchrun or srun would start them, by their variables, so that each one's code and words are seen;
most of them as forks of a process that has imported torch.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from safetensors.torch import load_file

from experiments.reliability import kill
from seq2seq.cli.main import main
from seq2seq.runtime.distributed import LOST
from tests.forks import PATIENCE, Fork

STILL = (  # nothing random, and numbers that can be compared
    *(f"{part}.dropout=0" for part in ("encoder", "embedding")),
    "trainer.precision=64-true",
    "trainer.max_epochs=2",
    "logger=[csv]",
)
PAIRS = (*kill.PAIRS, "decoder.dropout=0", "head.dropout=0", "++callbacks.samples=3")
JOBS = {
    "translation": PAIRS,
    "accumulated": (
        *PAIRS,
        "context=additive",
        "data.batch_tokens=14",  # fewer pairs than processes, now and then
        "optimizer=sgd",
        "optimizer.lr=0.5",
        "scheduler=plateau",
        "trainer.accumulate_grad_batches=3",
        "trainer.val_check_interval=30",
    ),
    "language": (
        "task=language_modeling",
        "task.window=8",
        "task.reset=0",
        "data.batch_size=5",
        "head=linear",
        "head.dropout=0",
    ),
}
STOPPED_AT = """\
import os, signal, sys
from seq2seq.cli.main import main
from seq2seq.training.task_module import TaskModule

original, batches, at = TaskModule.training_step, iter(range(1_000_000)), int(sys.argv[1])

def step(self, batch, index):
    if next(batches) == at:
        os.kill(os.getpid(), signal.SIGTERM)
    return original(self, batch, index)

TaskModule.training_step = step
sys.exit(main(sys.argv[2:]))
"""


class Ended(NamedTuple):
    """How a process ended, and what it said."""

    code: int
    out: str
    err: str


def port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def torchrun(rank: int, size: int, at: int) -> dict[str, str]:
    names = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": at}
    return {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in names.items()}}


def slurm(rank: int, size: int, at: int) -> dict[str, str]:
    names = {"PROCID": rank, "STEP_NUM_TASKS": size, "LOCALID": rank, "NTASKS": size, "JOB_ID": at % 10_000 + 10_000}
    names |= {"NTASKS_PER_NODE": size, "STEP_TASKS_PER_NODE": size, "NODEID": 0, "NNODES": 1}
    more = {"SLURM_STEP_NODELIST": "127.0.0.1", "SLURM_JOB_NAME": "job"}
    return more | {f"SLURM_{name}": str(value) for name, value in names.items()}


def together(
    size: int, arguments: Sequence[str], launcher: Callable[..., dict[str, str]] = torchrun, start: Any = Fork
) -> list[Ended]:
    at, processes = port(), []
    for rank in range(size):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **launcher(rank, size, at)}
        processes.append(start(arguments, env=environment))
    said = [process.communicate(timeout=PATIENCE) for process in processes]
    return [Ended(process.returncode, *words) for process, words in zip(processes, said, strict=True)]


def command(arguments: Sequence[str], env: dict[str, str]) -> subprocess.Popen[str]:
    """A process of its own from the beginning."""
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *arguments], env=env, stdout=pipe, stderr=pipe, text=True)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[str]]:
    files = tmp_path_factory.mktemp("numbers")

    def arguments(name: str, folder: Path, *more: str) -> list[str]:
        given = [*JOBS[name], *kill.SMALL, *STILL, *kill.corpus(files, name)]
        short = [f"data.corpus.train={files}/val.txt"] if name == "language" else []
        return ["train", *given, *short, *more, f"hydra.run.dir={folder}"]

    return arguments


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, job: Any) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp("alone") / "run"
            assert main(job(name, made[name])) == 0
        return made[name]

    return get


def assert_same(one: Path, other: Path) -> None:
    weights, others = (load_file(folder / "bundle" / "model.safetensors") for folder in (one, other))
    assert weights.keys() == others.keys()
    assert max(float((weights[name] - others[name]).abs().max()) for name in weights) < 1e-9
    rows, more = (kill.rows(folder / "metrics.csv") for folder in (one, other))
    assert len(rows) == len(more)
    for row, another in zip(rows, more, strict=True):
        assert row.keys() == another.keys()
        assert {k: float(v) for k, v in row.items()} == pytest.approx({k: float(v) for k, v in another.items()})
    for name in ("samples.tsv", "test.translations.txt"):
        assert (one / name).exists() == (other / name).exists()
        assert not (one / name).exists() or (one / name).read_bytes() == (other / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "size", "launcher"), [("translation", 2, slurm), ("accumulated", 3, torchrun), ("language", 2, torchrun)]
)
def test_several_processes_learn_what_one_learns(
    job: Any, alone: Any, tmp_path: Path, name: str, size: int, launcher: Any
) -> None:
    start = command if name == "language" else Fork  # one of them without a fork
    ends = together(size, ["-m", "seq2seq", *job(name, tmp_path / "a")], launcher, start)
    assert [end.code for end in ends] == [0] * size, ends
    assert_same(alone(name), tmp_path / "a")
    for end in ends[1:]:
        assert (end.out, end.err) == ("", ""), "one process speaks"
    assert "Warning" not in ends[0].err
    assert f"parameters, trained by {size} processes" in ends[0].out
    record = json.loads((tmp_path / "a" / "run.json").read_text())
    assert (record["status"], record["error"]) == ("finished", None)
    provenance = json.loads((tmp_path / "a" / "bundle" / "config.json").read_text())["provenance"]
    assert provenance["processes"] == size


@pytest.mark.parametrize(("name", "before", "after"), [("translation", 2, 1), ("language", 1, 2)])
def test_a_run_is_resumed_with_another_world_size(
    job: Any, alone: Any, tmp_path: Path, name: str, before: int, after: int
) -> None:
    (tmp_path / "stop.py").write_text(STOPPED_AT)
    arguments = job(name, tmp_path / "a", "resume=auto")
    ends = together(before, [str(tmp_path / "stop.py"), "25", *arguments])
    assert [end.code for end in ends] == [75] * before, ends
    ends = together(after, ["-m", "seq2seq", *arguments])
    assert [end.code for end in ends] == [0] * after, ends
    assert "resumes from step" in ends[0].out
    assert_same(alone(name), tmp_path / "a")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("encoder.hidden_size=0", "encoder.hidden_size"),
        ("data.corpus.train=nowhere.tsv", "nowhere.tsv"),
        ("trainer.devices=3", "2 processes were started here"),
        ("-m", "start each run of the sweep alone"),
    ],
)
def test_mistakes_are_said_once_and_end_all(job: Any, tmp_path: Path, wrong: str, words: str) -> None:
    first, other = together(2, ["-m", "seq2seq", *job("translation", tmp_path / "a", wrong)])
    assert first.code == 2
    assert words in first.err
    assert other.err == "" or other.err.endswith(f"seq2seq: error: {LOST}\n")  # torch may have warned before
    assert "Traceback" not in first.err + other.err


def test_too_few_rows_for_so_many_processes(job: Any, tmp_path: Path) -> None:
    ends = together(2, ["-m", "seq2seq", *job("language", tmp_path / "a", "data.batch_size=1")])
    assert any("data.batch_size=1: fewer rows than processes" in end.err for end in ends), ends
    assert all(end.code for end in ends)
