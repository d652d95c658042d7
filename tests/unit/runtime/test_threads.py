"""How many threads torch gets, and the setting of OpenMP that keeps a shared machine usable."""

from __future__ import annotations

import os
import subprocess
import sys

import joblib
import pytest
import torch

from seq2seq.runtime import threads
from seq2seq.runtime.threads import WAITING, available_cpus, limit_threads, set_wait_policy


@pytest.fixture(autouse=True)
def _restore() -> object:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_importing_the_package_first_lets_waiting_threads_sleep() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in (*WAITING, *threads.OTHERS)}
    code = "import seq2seq, os; print(os.environ['OMP_WAIT_POLICY']); import torch; print(torch.ones(2).sum().item())"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["passive", "2.0"]


@pytest.mark.parametrize("name", [*WAITING, *threads.OTHERS])
def test_what_the_user_has_set_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    environment = {name: "active"}
    assert not set_wait_policy(environment)
    assert environment == {name: "active"}


def test_nothing_is_set_where_torch_is_loaded() -> None:
    environment: dict[str, str] = {}
    assert not set_wait_policy(environment)
    assert environment == {}


@pytest.mark.parametrize(
    ("environment", "seen"),
    [
        ({}, 8),
        ({"SLURM_CPUS_PER_TASK": "4"}, 4),
        ({"SLURM_CPUS_ON_NODE": "2"}, 2),
        ({"SLURM_CPUS_PER_TASK": "3", "SLURM_CPUS_ON_NODE": "6"}, 3),
        ({"SLURM_CPUS_PER_TASK": "64"}, 8),
        ({"SLURM_CPUS_PER_TASK": ""}, 8),
    ],
)
def test_slurm_may_allow_less_than_the_machine_has(
    environment: dict[str, str], seen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    assert available_cpus(environment) == seen


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")
def test_affinity_counts() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert available_cpus({}) == 1
    finally:
        os.sched_setaffinity(0, before)


def test_threads_are_asked_for_or_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "available_cpus", lambda: 4)
    torch.set_num_threads(6)
    assert limit_threads() == torch.get_num_threads() == 4  # a container that may use 4 CPUs of a large machine
    assert limit_threads(processes=2) == 2
    assert limit_threads(processes=9) == 1
    assert limit_threads() == 1  # no more than torch had (OMP_NUM_THREADS)
    assert limit_threads(5) == torch.get_num_threads() == 5
