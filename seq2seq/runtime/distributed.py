"""The processes that train one model together: which of them this is, and what the first tells the others.

`torchrun` and SLURM's `srun` start the same command several times and say in the environment which is which. All that
has to be decided once (the folder, the configuration, where to begin) the first process decides; the others ask it by a
key-value store (`torch.distributed.rendezvous`), and write nothing. Sums and lists over all processes are collective
calls: every process makes each of them, in the same order; without other processes they give back what they got.
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

JOB, DATA = "job", "data"  # what the first tells: what to train, and that its data are prepared
STOPPED = "stopped"  # what any process tells: that a signal has ended it, and no mistake
LOST = "another process has ended; what it said last says why"
BROKEN = ("DistBackendError", "DistNetworkError", "DistStoreError")  # torch's errors of connections,
GLOO = "gloo/transport"  # and what stands in those of gloo, which have no name: closed, reset, refused, timed out
PAUSE = timedelta(seconds=1)  # how long is waited at once: signals act in between, as they do not in a call of torch
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")  # torchrun's
PORTS = 15_000, 10_000  # from where on, and how many: those that a SLURM job takes its own of


class Lost(UserError):  # noqa: N818  (no error of this process)
    """A process of those that train together has ended, for a reason that this one does not know."""


class World(NamedTuple):
    """`size` processes on some machines, `local_size` on each; this one is number `rank`, here `local_rank`, from 0."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that decides and writes."""
        return self.rank == 0

    def tell(self, what: str, value: Any = None) -> None:
        """Let the other processes know: plain values, once for each `what`; what comes later is not told."""
        if self.size > 1:
            _store().compare_set(what, "", json.dumps(value))

    def told(self, what: str) -> Any:
        """What the first process tells, as soon as it does: preparing a large corpus may take days. Raises `Lost` if
        that process is gone."""
        try:
            while not _waited(what):
                pass
            return json.loads(_store().get(what))
        except RuntimeError as error:
            raise Lost(LOST) from error

    def tell_stopped(self) -> None:
        """Let those know that will miss this process."""
        with suppress(RuntimeError):  # where the first process is gone, nobody can be told
            self.tell(STOPPED)

    def stopped(self) -> bool | None:
        """Whether a signal has ended some process; None where the first one is gone, and nobody knows."""
        try:
            return bool(_store().check([STOPPED]))
        except RuntimeError:
            return None

    @contextmanager
    def first_alone(self, what: str) -> Iterator[None]:
        """The first process runs the block, then all others: they find in the cache what it has made."""
        if not self.first:
            self.told(what)
        yield
        if self.first:
            self.tell(what)


def here(environment: Mapping[str, str] = os.environ) -> World:
    """The world that torchrun or srun has started this process in; alone, if neither has. Raises `UserError` for an
    environment that makes no sense, and for tasks that are spread unevenly over machines."""
    if "WORLD_SIZE" not in environment and "SLURM_STEP_NUM_TASKS" not in environment:
        return World()
    found = environment if "WORLD_SIZE" in environment else as_torchrun(environment)
    try:
        rank, size, local_rank, local_size = (int(found[name]) for name in VARIABLES)
    except (KeyError, ValueError) as error:
        raise UserError(
            f"processes that train together were started, but the environment does not say which this is: {error}"
        ) from None
    if not (0 <= rank < size and 0 <= local_rank < local_size and size % local_size == 0):
        numbers = ", ".join(f"{name}={found[name]}" for name in VARIABLES)
        raise UserError(f"{numbers}: start the same number of processes on each machine, numbered from 0")
    return World(rank, size, local_rank, local_size)


def check_alone(command: str) -> None:
    """Raise `UserError` where several processes were started that would train together."""
    if (size := here().size) > 1:
        raise UserError(
            f"{command}: {size} processes were started to train together, which is for `seq2seq train`; start it once, "
            "or in jobs of their own"
        )


def as_torchrun(environment: Mapping[str, str]) -> dict[str, str]:
    """torchrun's variables of a process that srun started (srun's manual page, "OUTPUT ENVIRONMENT VARIABLES").

    The job's number decides about the port, so that all its processes agree, and jobs on one machine do not.
    """
    names = {"RANK": "PROCID", "WORLD_SIZE": "STEP_NUM_TASKS", "LOCAL_RANK": "LOCALID", "GROUP_RANK": "NODEID"}
    found = {ours: environment[f"SLURM_{theirs}"] for ours, theirs in names.items() if f"SLURM_{theirs}" in environment}
    on_each = environment.get("SLURM_STEP_TASKS_PER_NODE", found["WORLD_SIZE"])  # such as 4(x2), or 4(x2),3
    if "," in on_each:
        raise UserError(f"SLURM starts {on_each} tasks on the machines; ask for as many on each: --ntasks-per-node")
    first, count = PORTS
    return {
        "MASTER_ADDR": _first_host(environment.get("SLURM_STEP_NODELIST", "127.0.0.1")),
        "MASTER_PORT": str(first + int(environment.get("SLURM_JOB_ID", "0")) % count),
        **found,
        "LOCAL_WORLD_SIZE": on_each.partition("(")[0],
    }


def _first_host(names: str) -> str:
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    return SLURMEnvironment.resolve_root_node_address(names)


def _waited(what: str) -> bool:
    """Whether it is told within the pause. Raises `RuntimeError` if the first process is gone."""
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
            f"the {here().size} processes could not meet at {place} ({reason}); set "
            "MASTER_ADDR to the first machine's name, and MASTER_PORT to a port that is free there"
        ) from None


def total(*values: Tensor) -> list[Tensor]:
    """The sum of each value (scalars of one device) over all processes, in one message."""
    import torch
    from torch import distributed

    if not _together():
        return list(values)
    found = torch.stack([value.detach().double() for value in values])
    distributed.all_reduce(found)
    return [each.to(value.dtype) for each, value in zip(found, values, strict=True)]


@contextmanager
def naming_lost() -> Iterator[None]:
    """Turn what torch says of a process that does not answer any more into `Lost`."""
    try:
        yield
    except RuntimeError as error:
        if GLOO not in str(error) and type(error).__name__ not in BROKEN:
            raise
        raise Lost(LOST) from error


def gathered(thing: Thing) -> list[Thing]:
    """The thing of each process, in their order; it travels by pickle."""
    from torch import distributed

    if not _together():
        return [thing]
    found: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(found, thing)
    return found


def merged(mine: Mapping[int, Thing]) -> dict[int, Thing]:
    """The entries of all processes."""
    return {key: value for each in gathered(mine) for key, value in each.items()}


def _together() -> bool:
    from torch import distributed

    return distributed.is_available() and distributed.is_initialized()


def part(count: int, rank: int, size: int) -> slice:
    """The block of `count` things that is a process's own; the blocks of all, in their order, are all things."""
    return slice(count * rank // size, count * (rank + 1) // size)
