"""Which process this is, by what torchrun and srun say; and shares that make up the whole."""

from __future__ import annotations

import signal
import socket

import numpy as np
import pytest

from seq2seq.cli.main import main
from seq2seq.errors import Stopped, UserError
from seq2seq.runtime.distributed import Rank, as_torchrun, current_rank, gathered, merged, part
from seq2seq.training import run
from seq2seq.training.callbacks.signals import Stopping
from seq2seq.training.configuration import schema

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
SRUN = {
    "SLURM_PROCID": "5",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_JOB_ID": "1234567",
}


@pytest.mark.parametrize("environment", [TORCHRUN, SRUN])
def test_torchrun_and_srun_say_which_process_this_is(environment: dict[str, str]) -> None:
    assert current_rank(environment) == Rank(5, 8, 1, 4)


def test_the_first_machine_is_where_the_processes_meet() -> None:
    found = as_torchrun(SRUN)
    assert (found["MASTER_ADDR"], found["MASTER_PORT"], found["GROUP_RANK"]) == ("gpu07", "19567", "1")


@pytest.mark.parametrize("environment", [{}, {"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, {"RANK": "3"}])
def test_a_process_without_other_ranks_is_rank_0_of_1(environment: dict[str, str]) -> None:
    """Also in a SLURM job of several tasks, before srun."""
    assert current_rank(environment) == Rank()
    assert current_rank(environment).is_zero


@pytest.mark.parametrize(
    "environment",
    [
        {"WORLD_SIZE": "2"},
        TORCHRUN | {"RANK": "x"},
        TORCHRUN | {"RANK": "8"},
        TORCHRUN | {"LOCAL_RANK": "4"},
        TORCHRUN | {"LOCAL_WORLD_SIZE": "3"},
        SRUN | {"SLURM_STEP_TASKS_PER_NODE": "4(x1),3"},
    ],
)
def test_an_environment_that_makes_no_sense_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(UserError):
        current_rank(environment)


@pytest.mark.parametrize(("count", "size"), [(7, 3), (2, 5), (8, 4), (0, 2)])
def test_the_parts_are_all_items(count: int, size: int) -> None:
    parts = [np.arange(count)[part(count, rank, size)] for rank in range(size)]
    assert np.concatenate(parts).tolist() == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_alone_everything_is_ones_own() -> None:
    assert gathered("a") == ["a"]
    assert merged({1: "a"}) == {1: "a"}
    Rank().broadcast("nothing is sent anywhere")


@pytest.mark.parametrize(
    ("trainer", "rank", "words"),
    [
        ({"devices": 2}, Rank(), "torchrun --nproc-per-node 2 -m seq2seq train"),
        ({"devices": [0, 1]}, Rank(), "torchrun --nproc-per-node 2"),
        ({"devices": 4}, Rank(0, 2, 0, 2), "2 processes were started here"),
        ({"split_out_of_memory": True}, Rank(0, 2, 0, 2), "is for one process"),
    ],
)
def test_processes_and_devices_have_to_fit(trainer: dict[str, object], rank: Rank, words: str) -> None:
    with pytest.raises(UserError, match=words):
        schema._check_processes(trainer, rank)


@pytest.mark.parametrize("command", ["tune", "reproduce", "demo"])
def test_what_trains_in_one_process_is_not_started_in_several(command, monkeypatch, capsys) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert main([command, "anything"]) == 2
    assert capsys.readouterr().err.startswith(f"seq2seq: error: {command}: 8 processes were started")


def test_a_place_to_meet_that_is_taken_is_named(monkeypatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for name, value in {**TORCHRUN, "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(UserError, match=f"could not meet at 127.0.0.1:{port} .* set MASTER_ADDR"):
            Rank(0, 8).broadcast("where")


@pytest.mark.parametrize(
    ("told", "received", "stops"),
    [
        (True, None, True),  # this process has not heard the signal yet
        (True, signal.SIGTERM, True),
        (False, signal.SIGTERM, False),  # the launcher's, because another process has made a mistake
        (False, None, False),
        (None, signal.SIGTERM, True),
        (None, None, False),
    ],
)
def test_a_process_that_lost_another_stops_only_for_a_signal(monkeypatch, told, received, stops) -> None:
    stopping = Stopping()
    stopping.received = received
    monkeypatch.setattr(Rank, "stopped", lambda _: told)
    if not stops:
        run._stop_with_others(stopping)
        return
    with pytest.raises(Stopped, match="resumes it"):
        run._stop_with_others(stopping)


def test_a_process_of_several_that_ends_is_not_interrupted() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(UserError), Stopping(together=True):
            raise UserError("a mistake")
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
    with Stopping(together=True):
        pass
    assert signal.getsignal(signal.SIGTERM) == before
