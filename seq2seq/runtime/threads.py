"""CPU threads of torch: how many a command uses, and what they do while they wait for each other.

torch computes with OpenMP's threads. By default these spin at the end of each parallel region, for up to milliseconds.
Where another process wants the core, a spinning thread keeps it from the thread that all are waiting for, and training
becomes ten to twenty times slower. Threads that sleep after some microseconds lose almost nothing alone and share a
machine fairly (measured: experiments/throughput, "A shared machine"). OpenMP reads its settings once, when torch is
loaded, so they are set when the package is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping

from seq2seq.errors import UserError

WAITING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "2000"}
"""OpenMP's own setting, and GNU's: how many tests of the flag (about 10 ns each) come before a thread sleeps."""

OTHERS = ("KMP_BLOCKTIME",)
"""What decides the same in Intel's and LLVM's OpenMP, which know `OMP_WAIT_POLICY` too."""


def set_wait_policy(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Let threads that wait sleep; whether it was done.

    Nothing is done where the user has set any of these variables, or where torch is loaded already.
    """
    if "torch" in sys.modules or any(name in environment for name in (*WAITING, *OTHERS)):
        return False
    environment.update(WAITING)
    return True


def available_cpus(environment: Mapping[str, str] = os.environ) -> int:
    """The CPUs that this process may use, at least 1: by its affinity, its cgroup's quota, and SLURM's allocation."""
    from joblib import cpu_count

    return max(1, min(int(cpu_count()), _slurm_cpus(environment) or sys.maxsize))


def _slurm_cpus(environment: Mapping[str, str]) -> int:
    """The CPUs of a SLURM task, 0 where there is none: clusters without task plugins do not bind tasks to them."""
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        if environment.get(name, "").isdecimal():
            return int(environment[name])
    return 0


def limit_threads(asked: int | None = None, processes: int = 1) -> int:
    """Set torch's number of threads and return it: what is asked for, or torch's own choice (a thread a physical core,
    or OMP_NUM_THREADS), at most an equal share of the available CPUs for each of so many `processes` here."""
    import torch

    threads = asked or min(torch.get_num_threads(), max(1, available_cpus() // processes))
    if threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    return threads


def set_threads(threads: int | None) -> None:
    """Set torch's number of threads, for the whole process; None leaves it. Raises `UserError` for less than 1."""
    import torch

    if threads is None:
        return
    if threads < 1:
        raise UserError(f"threads={threads}: must be at least 1")
    torch.set_num_threads(threads)
