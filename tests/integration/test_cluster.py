"""The scripts of experiments/cluster, with stand-ins for SLURM's programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seq2seq.cli.main import main
from tests import bundles
from tests.forks import PATIENCE
from tests.integration import test_parallel as parallel

job, alone = parallel.job, parallel.alone  # fixtures
ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "experiments" / "cluster"
SRUN = """\
#!{python}
# As srun does: so many tasks, each knows its number; the first that fails ends the others; the worst code is the code.
# The tasks are forks of a process that has imported what they need.
import os, runpy, signal, sys, time
sys.path.insert(0, {root})
import tests.prepared

options = [each for each in sys.argv[1:] if each.startswith("--")]
assert {{"--kill-on-bad-exit=1", "--wait=0", "--cpus-per-task=1"}} <= set(options), options
command, size = sys.argv[1 + len(options):], os.environ["SLURM_NTASKS"]
step = {{"SLURM_STEP_NUM_TASKS": size, "SLURM_STEP_TASKS_PER_NODE": size, "SLURM_NODEID": "0"}}
step["SLURM_STEP_NODELIST"] = "127.0.0.1"
script, number = {stop}, ["25"]
if not os.environ["STOP"] or "SLURM_RESTART_COUNT" in os.environ:
    script, number = None, []
tasks, codes = [], {{}}
for rank in map(str, range(int(size))):
    if not (pid := os.fork()):
        os.environ |= {{**step, "SLURM_PROCID": rank, "SLURM_LOCALID": rank}}
        assert command[0] == "seq2seq"
        sys.argv = [*command[:1], *number, *command[1:]]
        runpy.run_path(script, run_name="__main__") if script else runpy.run_module("seq2seq", run_name="__main__")
    tasks.append(pid)
while len(codes) < len(tasks):
    pid, status = os.waitpid(-1, 0)
    codes[pid] = os.waitstatus_to_exitcode(status)
    for task in tasks:
        if codes[pid] and task not in codes:
            os.kill(task, signal.SIGTERM)
sys.exit(max(code if code >= 0 else 128 - code for code in codes.values()))
"""
SCONTROL = """\
#!/bin/sh
echo "$@" >> "$QUEUE"
"""
SEQ2SEQ = """\
#!/bin/sh
exec {python} -m seq2seq "$@"
"""


@pytest.fixture
def sbatch(tmp_path: Path) -> Callable[..., int]:
    """Runs a script as SLURM would, as often as it asks for; `queue` has what was asked."""
    programs, queue = tmp_path / "bin", tmp_path / "queue"
    programs.mkdir()
    (tmp_path / "stop.py").write_text(parallel.STOPPED_AT.replace("SIGTERM", "SIGUSR1"))
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("seq2seq", SEQ2SEQ)):
        places = {"stop": repr(str(tmp_path / "stop.py")), "root": repr(str(ROOT))}
        (programs / name).write_text(text.format(python=sys.executable, **places))
        (programs / name).chmod(0o755)

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

    return run


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
