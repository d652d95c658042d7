"""The processes that train one model together: the rank of this one, and what rank 0 broadcasts.

`torchrun` and SLURM's `srun` start the same command several times and set the ranks in the environment. All that has to
be decided once (the folder, the configuration, where to begin) is decided by rank 0; the others receive it through a
key-value store (`torch.distributed.rendezvous`), and write nothing. Sums and lists over all processes are collective
calls: every process makes each of them, in the same order; without other processes they return their argument.
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

JOB, DATA = "job", "data"  # keys that rank 0 broadcasts: what to train, and that its data are prepared
STOPPED = "stopped"  # a key that any process broadcasts: a signal has ended it, not a mistake
LOST = "another process has ended; its last message says why"
BROKEN = ("DistBackendError", "DistNetworkError", "DistStoreError")  # torch's errors of connections,
GLOO = "gloo/transport"  # and a part of gloo's messages, whose errors have no class: closed, reset, refused, timed out
PAUSE = timedelta(seconds=1)  # of one wait: signals act between two calls of torch, not within one
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")  # torchrun's
PORTS = 15_000, 10_000  # the first and the number of ports that SLURM jobs share


class PeerLost(UserError):  # noqa: N818  (no error of this process)
    """Another process of the training has ended, for a reason that this one does not know."""


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
        """Send a plain value to the other processes, once for each key `what`; later values are dropped."""
        if self.world_size > 1:
            _store().compare_set(what, "", json.dumps(value))

    def receive(self, what: str) -> Any:
        """Wait for what rank 0 broadcasts, however long: preparing a large corpus may take days. Raises `PeerLost` if
        that process has ended."""
        try:
            while not _waited(what):
                pass
            return json.loads(_store().get(what))
        except RuntimeError as error:
            raise PeerLost(LOST) from error

    def broadcast_stopped(self) -> None:
        """Broadcast that a signal ends this process."""
        with suppress(RuntimeError):  # where rank 0 has ended, nobody can receive it
            self.broadcast(STOPPED)

    def stopped(self) -> bool | None:
        """Whether a signal has ended some process; None where rank 0 has ended, and nobody knows."""
        try:
            return bool(_store().check([STOPPED]))
        except RuntimeError:
            return None

    @contextmanager
    def zero_first(self, what: str) -> Iterator[None]:
        """Run the block in rank 0, then in all others: they find in the cache what it has made."""
        if not self.is_zero:
            self.receive(what)
        yield
        if self.is_zero:
            self.broadcast(what)


def current_rank(environment: Mapping[str, str] = os.environ) -> Rank:
    """Read the rank that torchrun or srun gave this process; 0 of 1 if neither has. Raises `UserError` for an
    environment that makes no sense, and for tasks that are spread unevenly over machines."""
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
    """Raise `UserError` where several processes were started that would train together."""
    if (size := current_rank().world_size) > 1:
        raise UserError(
            f"{command}: {size} processes were started to train together, which is for `seq2seq train`; start it once, "
            "or in jobs of their own"
        )


def as_torchrun(environment: Mapping[str, str]) -> dict[str, str]:
    """Translate the variables of a process that srun started into torchrun's (srun's manual page, "OUTPUT ENVIRONMENT
    VARIABLES").

    The job's number decides about the port, so that all its processes agree, and jobs on one machine do not.
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
    """Whether the key is there within the pause. Raises `RuntimeError` if rank 0 has ended."""
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
        return PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)  # torchrun's may be the old one
    except (RuntimeError, ValueError) as error:
        place = ":".join(str(os.environ.get(name)) for name in ("MASTER_ADDR", "MASTER_PORT"))
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"the {current_rank().world_size} processes could not meet at {place} ({reason}); set "
            "MASTER_ADDR to the first machine's name, and MASTER_PORT to a port that is free there"
        ) from None


def total(*values: Tensor) -> list[Tensor]:
    """Sum each value (scalars of one device) over all processes, in one message."""
    import torch
    from torch import distributed

    if not _together():
        return list(values)
    sums = torch.stack([value.detach().double() for value in values])
    distributed.all_reduce(sums)
    return [each.to(value.dtype) for each, value in zip(sums, values, strict=True)]


@contextmanager
def naming_lost() -> Iterator[None]:
    """Turn torch's errors of a process that does not answer any more into `PeerLost`."""
    try:
        yield
    except RuntimeError as error:
        if GLOO not in str(error) and type(error).__name__ not in BROKEN:
            raise
        raise PeerLost(LOST) from error


def gathered(thing: Thing) -> list[Thing]:
    """Gather an object of each process, in the order of ranks; it travels by pickle."""
    from torch import distributed

    if not _together():
        return [thing]
    gathered_objects: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(gathered_objects, thing)
    return gathered_objects


def merged(entries: Mapping[int, Thing]) -> dict[int, Thing]:
    """Merge the mappings of all processes."""
    return {key: value for each in gathered(entries) for key, value in each.items()}


def _together() -> bool:
    from torch import distributed

    return distributed.is_available() and distributed.is_initialized()


def part(count: int, rank: int, size: int) -> slice:
    """The slice of `count` items that belongs to a rank; the slices of all ranks, in order, are all items."""
    return slice(count * rank // size, count * (rank + 1) // size)
