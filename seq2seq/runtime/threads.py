"""CPU threads of torch: their number, and whether they spin or sleep while they wait for each other.

torch uses OpenMP's threads, which by default spin at the end of each parallel region for up to milliseconds. If other
processes need the cores, spinning threads block the thread that all are waiting for, and training becomes ten to twenty
times slower. Threads that sleep after some microseconds are almost as fast alone, and share a machine fairly (measured:
experiments/throughput, "A shared machine"). OpenMP reads its settings once, when torch is loaded, so they are set when
this package is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping

from seq2seq.errors import UserError

WAITING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "2000"}
"""OpenMP's setting, and GNU OpenMP's: the number of checks (about 10 ns each) before a thread sleeps."""

OTHERS = ("KMP_BLOCKTIME",)
"""The setting of Intel's and LLVM's OpenMP, which also support `OMP_WAIT_POLICY`."""


def set_wait_policy(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Let waiting threads sleep. Returns whether the variables were set.

    Does nothing if any of these variables is set, or torch is loaded already.
    """
    if "torch" in sys.modules or any(name in environment for name in (*WAITING, *OTHERS)):
        return False
    environment.update(WAITING)
    return True


def available_cpus(environment: Mapping[str, str] = os.environ) -> int:
    """The number of CPUs for this process, at least 1: by affinity, cgroup quota, and SLURM's allocation."""
    from joblib import cpu_count

    return max(1, min(int(cpu_count()), _slurm_cpus(environment) or sys.maxsize))


def _slurm_cpus(environment: Mapping[str, str]) -> int:
    """The CPUs of a SLURM task, or 0; clusters without task plugins do not set the affinity of tasks."""
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        if environment.get(name, "").isdecimal():
            return int(environment[name])
    return 0


def limit_threads(requested: int | None = None, processes: int = 1) -> int:
    """Set torch's number of threads and return it: `requested`, or torch's default (one for each physical core, or
    OMP_NUM_THREADS), limited to an equal share of the available CPUs for each of the `processes` on this machine."""
    import torch

    threads = requested or min(torch.get_num_threads(), max(1, available_cpus() // processes))
    if threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    return threads


def set_threads(threads: int | None) -> None:
    """Set torch's number of threads for this process; None does not change it. Raises `UserError` for less than 1."""
    import torch

    if threads is None:
        return
    if threads < 1:
        raise UserError(f"threads={threads}: must be at least 1")
    torch.set_num_threads(threads)
