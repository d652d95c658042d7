"""Distributed training: the rank of this process, broadcasts from rank 0, and sums over all ranks.

`torchrun` and SLURM's `srun` start the same command several times and set the ranks in the environment. Rank 0 decides
what must be decided once (the folder, the configuration, where to resume); the others receive it through a key-value
store (`torch.distributed.rendezvous`), and write no files. `total`, `gathered` and `merged` are collective calls: every
rank makes each of them, in the same order; without other ranks they return their argument.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from seq2seq.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

Thing = TypeVar("Thing")

JOB, DATA = "job", "data"  # keys that rank 0 broadcasts: what to train, and that the data are prepared
STOPPED = "stopped"  # a key that any rank broadcasts if a signal ends it
LOST = "another process has ended; its last message says why"
BROKEN = ("DistBackendError", "DistNetworkError", "DistStoreError")  # torch's exceptions for lost connections
GLOO = "gloo/transport"  # a part of gloo's messages about lost connections, which are plain RuntimeErrors
PAUSE = timedelta(seconds=1)  # timeout of one wait: signal handlers only run between calls of torch
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")  # torchrun's
PORTS = 15_000, 10_000  # the first port for SLURM jobs, and the number of ports


class PeerLost(UserError):  # noqa: N818  (not an error of this process)
    """Another rank has ended, for a reason that is unknown to this one."""


class Rank(NamedTuple):
    """The rank of this process among `world_size`, and on its machine among `local_world_size`, both from 0."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1

    @property
    def is_zero(self) -> bool:
        """Whether this process has rank 0, which decides and writes."""
        return self.rank == 0

    def broadcast(self, what: str, value: Any = None) -> None:
        """Send a JSON value to the other ranks under the key `what`; only the first value of a key is sent."""
        if self.world_size > 1:
            _store().compare_set(what, "", json.dumps(value))

    def receive(self, what: str) -> Any:
        """Wait for a value from rank 0, without timeout, as preparing a large corpus may take days. Raises `PeerLost`
        if rank 0 has ended."""
        try:
            while not _waited(what):
                pass
            return json.loads(_store().get(what))
        except RuntimeError as error:
            raise PeerLost(LOST) from error

    def broadcast_stopped(self) -> None:
        """Broadcast that a signal ends this process."""
        with suppress(RuntimeError):  # if rank 0 has ended, the store is gone
            self.broadcast(STOPPED)

    def stopped(self) -> bool | None:
        """Whether a signal has ended any rank; None if rank 0, which has the store, has ended."""
        try:
            return bool(_store().check([STOPPED]))
        except RuntimeError:
            return None

    @contextmanager
    def zero_first(self, what: str) -> Iterator[None]:
        """Run the block on rank 0 first, then on all others, which find the results in the cache."""
        if not self.is_zero:
            self.receive(what)
        yield
        if self.is_zero:
            self.broadcast(what)


def current_rank(environment: Mapping[str, str] = os.environ) -> Rank:
    """The rank of this process, from the environment of torchrun or srun; 0 of 1 without them. Raises `UserError` for
    an inconsistent environment, and for an uneven number of tasks on the machines."""
    if "WORLD_SIZE" not in environment and "SLURM_STEP_NUM_TASKS" not in environment:
        return Rank()
    variables = environment if "WORLD_SIZE" in environment else as_torchrun(environment)
    try:
        rank, size, local_rank, local_size = (int(variables[name]) for name in VARIABLES)
    except (KeyError, ValueError) as error:
        raise UserError(
            f"processes that train together were started, but the environment does not say which this is: {error}"
        ) from None
    if not (0 <= rank < size and 0 <= local_rank < local_size and size % local_size == 0):
        numbers = ", ".join(f"{name}={variables[name]}" for name in VARIABLES)
        raise UserError(f"{numbers}: start the same number of processes on each machine, numbered from 0")
    return Rank(rank, size, local_rank, local_size)


def check_alone(command: str) -> None:
    """Raise `UserError` if the world size is above 1, for a command that is not distributed."""
    if (size := current_rank().world_size) > 1:
        raise UserError(
            f"{command}: {size} processes were started to train together, which is for `seq2seq train`; start it once, "
            "or in jobs of their own"
        )


def as_torchrun(environment: Mapping[str, str]) -> dict[str, str]:
    """Translate the variables of a process that srun started into torchrun's (srun's manual page, "OUTPUT ENVIRONMENT
    VARIABLES").

    The port depends on the job's number, so that it is the same for all ranks of a job, but not for two jobs.
    """
    names = {"RANK": "PROCID", "WORLD_SIZE": "STEP_NUM_TASKS", "LOCAL_RANK": "LOCALID", "GROUP_RANK": "NODEID"}
    set_by_srun = {name: environment[key] for name, each in names.items() if (key := f"SLURM_{each}") in environment}
    on_each = environment.get("SLURM_STEP_TASKS_PER_NODE", set_by_srun["WORLD_SIZE"])  # such as 4(x2), or 4(x2),3
    if "," in on_each:
        raise UserError(f"SLURM starts {on_each} tasks on the machines; ask for as many on each: --ntasks-per-node")
    first, count = PORTS
    return {
        "MASTER_ADDR": _first_host(environment.get("SLURM_STEP_NODELIST", "127.0.0.1")),
        "MASTER_PORT": str(first + int(environment.get("SLURM_JOB_ID", "0")) % count),
        **set_by_srun,
        "LOCAL_WORLD_SIZE": on_each.partition("(")[0],
    }


def _first_host(names: str) -> str:
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    return SLURMEnvironment.resolve_root_node_address(names)


def _waited(what: str) -> bool:
    """Whether the key is set within PAUSE. Raises `RuntimeError` if rank 0 has ended."""
    from torch.distributed import DistStoreError

    try:
        _store().wait([what], PAUSE)
        return True
    except DistStoreError:
        return False


@cache
def _store() -> Any:
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    if "WORLD_SIZE" not in os.environ:
        for name, value in as_torchrun(os.environ).items():
            os.environ.setdefault(name, value)
    try:
        store = next(rendezvous("env://"))[0]
        return PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)  # torchrun's store may be old
    except (RuntimeError, ValueError) as error:
        place = ":".join(str(os.environ.get(name)) for name in ("MASTER_ADDR", "MASTER_PORT"))
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"the {current_rank().world_size} processes could not meet at {place} ({reason}); set "
            "MASTER_ADDR to the first machine's name, and MASTER_PORT to a port that is free there"
        ) from None


def total(*values: Tensor) -> list[Tensor]:
    """Sum scalars of one device over all ranks, in one all-reduce."""
    import torch
    from torch import distributed

    if not _together():
        return list(values)
    sums = torch.stack([value.detach().double() for value in values])
    distributed.all_reduce(sums)
    return [each.to(value.dtype) for each, value in zip(sums, values, strict=True)]


@contextmanager
def naming_lost() -> Iterator[None]:
    """Convert torch's exceptions for lost connections to `PeerLost`."""
    try:
        yield
    except RuntimeError as error:
        if GLOO not in str(error) and type(error).__name__ not in BROKEN:
            raise
        raise PeerLost(LOST) from error


def gathered(thing: Thing) -> list[Thing]:
    """Gather an object from each rank, in the order of ranks; it is pickled."""
    from torch import distributed

    if not _together():
        return [thing]
    gathered_objects: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(gathered_objects, thing)
    return gathered_objects


def merged(entries: Mapping[int, Thing]) -> dict[int, Thing]:
    """Merge the mappings of all ranks."""
    return {key: value for each in gathered(entries) for key, value in each.items()}


def _together() -> bool:
    from torch import distributed

    return distributed.is_available() and distributed.is_initialized()


def part(count: int, rank: int, size: int) -> slice:
    """The slice of `count` items for a rank; the slices of all ranks partition the items."""
    return slice(count * rank // size, count * (rank + 1) // size)
