"""The scripts of experiments/cluster, with stand-ins for SLURM's programs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Client, Listener
from pathlib import Path
from typing import Any

import pytest

from seq2seq.cli.main import main
from tests import bundles
from tests.forks import PATIENCE, Fork
from tests.integration import test_parallel as parallel

job, alone = parallel.job, parallel.alone  # fixtures
CLUSTER = Path(__file__).parents[2] / "experiments" / "cluster"
SRUN = """\
#!{python}
# Let the test start the tasks (`tasks`), and end with their code.
import os, sys
from multiprocessing.connection import Client

with Client({test}) as test:
    test.send((sys.argv[1:], dict(os.environ)))
    sys.exit(test.recv())
"""
SCONTROL = """\
#!/bin/sh
echo "$@" >> "$QUEUE"
"""
SEQ2SEQ = """\
#!/bin/sh
exec {python} -m seq2seq "$@"
"""


def tasks(words: list[str], environment: dict[str, str], stop: Path) -> int:
    """What srun does: so many tasks, each knows its number; the first that fails ends the others; the worst code is the
    code."""
    options = [each for each in words if each.startswith("--")]
    given = {"--kill-on-bad-exit=1", "--wait=0", "--cpus-per-task=1"} <= set(options)
    if not given or words[len(options)] != "seq2seq":
        return 99
    stopped = environment["STOP"] and "SLURM_RESTART_COUNT" not in environment
    command = [*([stop, "25"] if stopped else ["-m", "seq2seq"]), *words[len(options) + 1 :]]
    size = environment["SLURM_NTASKS"]
    step = {"SLURM_STEP_NUM_TASKS": size, "SLURM_STEP_TASKS_PER_NODE": size, "SLURM_NODEID": "0"}
    step["SLURM_STEP_NODELIST"] = "127.0.0.1"
    ranks = [{"SLURM_PROCID": rank, "SLURM_LOCALID": rank} for rank in map(str, range(int(size)))]
    running = {Fork(command, env={**environment, **step, **rank}) for rank in ranks}
    codes: list[int] = []
    while running:
        time.sleep(0.05)
        for ended in [each for each in running if each.poll() is not None]:
            running.remove(ended)
            print(*ended.communicate())
            codes.append(ended.wait())
            for task in running if codes[-1] else ():
                task.send_signal(signal.SIGTERM)
    return max(code if code >= 0 else 128 - code for code in codes)


def serve(listener: Listener, stop: Path) -> None:
    """Start the tasks of each srun, until one comes that asks for nothing."""
    with suppress(EOFError):
        while True:
            with listener.accept() as srun:
                srun.send(tasks(*srun.recv(), stop))


@pytest.fixture
def sbatch(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Runs a script as SLURM would, as often as it asks for; `queue` has what was asked."""
    programs, queue = tmp_path / "bin", tmp_path / "queue"
    programs.mkdir()
    listener = Listener(family="AF_UNIX")
    (tmp_path / "stop.py").write_text(parallel.STOPPED_AT.replace("SIGTERM", "SIGUSR1"))
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("seq2seq", SEQ2SEQ)):
        (programs / name).write_text(text.format(python=sys.executable, test=repr(listener.address)))
        (programs / name).chmod(0o755)
    server = threading.Thread(target=serve, args=(listener, tmp_path / "stop.py"), daemon=True)
    server.start()

    def run(script: str, *arguments: str, **variables: str) -> int:
        number = str(parallel.port() % 10_000 + 10_000)
        given = {"PATH": f"{programs}:{os.environ['PATH']}", "QUEUE": str(queue), "OMP_NUM_THREADS": "1"}
        given |= {"SLURM_JOB_ID": number, "SLURM_CPUS_PER_TASK": "1", "STOP": "", **variables}
        codes: list[int] = []
        while not codes or (queue.exists() and queue.read_text() == f"requeue {number}\n" * len(codes)):
            restarted = {"SLURM_RESTART_COUNT": str(len(codes))} if codes else {}
            command = ["bash", str(CLUSTER / script), *arguments]
            codes.append(subprocess.run(command, env={**os.environ, **given, **restarted}, timeout=PATIENCE).returncode)
        assert codes[:-1] == [75] * (len(codes) - 1)
        return codes[-1]

    yield run
    Client(listener.address).close()
    server.join(PATIENCE)
    listener.close()


@pytest.mark.slow
def test_a_job_stopped_by_slurm_is_resumed_to_its_end(job: Any, alone: Any, sbatch: Any, tmp_path: Path) -> None:
    _, *overrides, folder = job("translation", tmp_path / "run")
    assert sbatch("train.sbatch", folder.partition("=")[2], *overrides, SLURM_NTASKS="2", STOP="yes") == 0
    assert (tmp_path / "queue").read_text().count("requeue") == 1
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "finished"
    parallel.assert_same(alone("translation"), tmp_path / "run")


@pytest.mark.slow
def test_a_mistake_is_not_put_into_the_queue_again(job: Any, sbatch: Any, tmp_path: Path) -> None:
    """Also where the launcher's SIGTERM tells the other processes to stop, which is code 75."""
    _, *overrides, folder = job("translation", tmp_path / "run", "data.corpus.train=nowhere.tsv")
    assert sbatch("train.sbatch", folder.partition("=")[2], *overrides, SLURM_NTASKS="2") != 0
    assert not (tmp_path / "queue").exists()


def test_an_array_translates_what_one_process_translates(sbatch: Any, tmp_path: Path) -> None:
    bundles.save(tmp_path / "bundle")
    text, whole, shared = (tmp_path / name for name in ("in.txt", "whole.txt", "shared.txt"))
    text.write_text("a man sees the house\n" * 5 + "the dog runs\n" * 4)
    given = [str(tmp_path / "bundle"), str(text)]
    assert main(["translate-file", *given, str(whole)]) == 0
    for number in ("1", "2"):
        array = {"SLURM_ARRAY_TASK_ID": number, "SLURM_ARRAY_TASK_COUNT": "2"}
        assert sbatch("translate.sbatch", *given, str(shared), **array) == 0
    assert main(["merge", str(shared)]) == 0
    assert shared.read_bytes() == whole.read_bytes()
