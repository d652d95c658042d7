"""What many tests share: configurations read from the YAML files themselves, an environment without switches, and runs
that are quick."""

import gc
import os
from collections.abc import Generator, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.checks import check_anew  # before seq2seq, whose annotations it checks
from tests.forks import server
from tests.quick_runs import make_quick

SWITCHES = ("WANDB_", "HYDRA_", "SLURM_", "SACREBLEU_", "LIGHTNING_", "PL_", "JAXTYPING_", "TORCHELASTIC_", "SEQ2SEQ_")
KEPT = ("SEQ2SEQ_DATA", "SEQ2SEQ_PRODUCTS")  # where real data are; which products `.ci/run` tests
LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "PYTHONOPTIMIZE")
for _name in list(os.environ):  # what a user has set for runs of their own decides nothing here
    if (_name.startswith(SWITCHES) and _name not in KEPT) or _name in LAUNCHED:
        del os.environ[_name]

if os.environ.get("SEQ2SEQ_PRODUCTS") == "onednn":
    from seq2seq.nn import matmul

    matmul.SMALLEST = 1  # the models of tests are small, and would not come to the library that is asked for

CONF = Path(__file__).parents[1] / "conf"
UNIT = Path(__file__).parent / "unit"


def options(group: str) -> list[str]:
    """The names of a group's YAML files."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def node(group: str, name: str, **changes: Any) -> dict[str, Any]:
    """One YAML file as a plain mapping, changed; what its defaults list would add is left out."""
    return deepcopy(_parsed(group, name)) | changes


@cache
def _parsed(group: str, name: str) -> dict[str, Any]:
    found = yaml.safe_load((CONF / group / f"{name}.yaml").read_text(encoding="utf-8"))
    return {key: value for key, value in found.items() if key != "defaults"}


MARGINAL_WIRING = {"query": "current", "context_to": "readout"}


def wired(context: str, decoder: dict[str, Any]) -> dict[str, Any]:
    """The decoder's options, changed where the context would refuse them."""
    return decoder | (MARGINAL_WIRING if context == "monotonic" else {})


def model_config(
    cell: str = "gru",
    context: str = "fixed",
    head: str = "linear",
    bridge: str = "linear",
    *,
    encoder: dict[str, Any] | None = None,
    decoder: dict[str, Any] | None = None,
    embedding: dict[str, Any] | None = None,
    decoder_cell: str | None = None,
    encoder_name: str = "recurrent",
    extra_encoders: dict[str, Any] | None = None,
    head_options: dict[str, Any] | None = None,
    decoder_name: str = "recurrent",
) -> dict[str, Any]:
    """A small model's configuration, from the YAML files; a context that sums over alignments gets the only wiring that
    it has, where another is not asked for, and a head that copies gets attention."""
    context = "additive" if head == "pointer" and context in ("fixed", "aligned") else context
    size = {"maxout": {"size": 6}}.get(head, {})
    decoder = {**(MARGINAL_WIRING if context == "monotonic" else {}), **(decoder or {})}
    reader = {"hidden_size": 4} | ({} if encoder_name in ("vector", "unordered") else {"cell": node("cell", cell)})
    return {
        "embedding": {"size": 6, "dropout": 0.1, "share": False, **(embedding or {})},
        "encoder": node("encoder", encoder_name, **{**reader, **(encoder or {})}),
        "bridge": node("bridge", bridge),
        "context": node("context", context),
        "decoder": node(
            "decoder", decoder_name, **{"hidden_size": 8, "cell": node("cell", decoder_cell or cell), **decoder}
        ),
        "head": node("head", head, **size, **(head_options or {})),
        **({"extra_encoders": extra_encoders} if extra_encoders else {}),
    }


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="unit tests that are not slow, of many cases two")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays: the garbage collector does not look through it, neither now nor later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`make test-quick` runs the unit tests that are not slow, and of a test with many cases the first and the last;
    otherwise unit tests' files without a slow test come last, so that the processes of pytest-xdist end together."""
    if not config.getoption("quick"):
        long = {item.path for item in items if not item.path.is_relative_to(UNIT) or item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in long)
        return
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.path.is_relative_to(UNIT) and item.get_closest_marker("slow") is None:
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    chosen = {id(item) for each in cases.values() for item in (each[0], each[-1])}
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in chosen])
    items[:] = [item for item in items if id(item) in chosen]


@pytest.fixture(autouse=True, scope="session")
def _shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's own cache is left alone; the processes of pytest-xdist share one."""
    base = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEQ2SEQ_CACHE", str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"))
        yield


@pytest.fixture(autouse=True, scope="session")
def _plugins_found_once() -> Iterator[None]:
    """Lightning looks through every installed package for plugins whenever a `Trainer` is made: a third of the time of
    a check of a configuration."""
    from lightning_fabric.utilities import registry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "entry_points", cache(registry.entry_points))
        yield


@pytest.fixture(autouse=True, scope="session")
def _configurations_composed_quickly() -> Iterator[None]:
    from tests.composing_quickly import composing_quickly

    with pytest.MonkeyPatch.context() as patch:
        composing_quickly(patch)
        yield


@pytest.fixture
def trainers_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks of many configurations ask Lightning once what it says to each `trainer` among them."""
    from seq2seq.training import run

    make, made = run.make_trainer, dict[str, Any]()

    def make_once(options: Any, *rest: Any, **more: Any) -> Any:
        key = repr((options, rest, more))
        if key not in made:
            made[key] = make(options, *rest, **more)
        return made[key]

    monkeypatch.setattr(run, "make_trainer", make_once)


@pytest.fixture(autouse=True, scope="session")
def _no_wait_for_the_disk() -> Iterator[None]:
    """What fsync promises shows only when the power is cut; test_atomic_files.py has when it is called."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
    check_anew()


@pytest.fixture
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers of a pool are forks of a process that has imported torch; test_worker_pool.py has real ones, and so
    has test_large_files.py of the command."""
    context = server()
    monkeypatch.setattr("multiprocessing.get_context", lambda _: context)


@pytest.fixture
def quick_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without what takes half of a short one and has tests of its own (quick_runs.py)."""
    make_quick(monkeypatch)
