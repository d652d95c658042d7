"""The arrows of the design, held by reading every import statement of the package: who may know whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from seq2seq.runtime.paths import PACKAGE

ROOT = PACKAGE.parent
FOLDERS = {"conf", "seq2seq", "data", "experiments", "tests"}

ROOMS = {
    "reference": "",
    "runtime": "",
    "nn": "runtime",
    "text": "runtime",
    "search": "nn",
    "corpora": "runtime nn text",
    "scoring": "text",
    "models": "runtime nn text search",
    "bundle": "runtime nn text search models",
    "inference": "runtime nn text search corpora models bundle",
    "reporting": "runtime nn text corpora scoring models bundle inference",
    "training": "runtime nn text search corpora scoring models bundle inference reporting",
    "tuning": "runtime models reporting training",
    "serving": "runtime text search bundle inference",
    "cli": "runtime nn text search corpora scoring models bundle inference reporting training tuning serving",
}
"""The rooms from the ground up, and what each may import of those below it; `errors` and itself it always may."""

ONLY_IN = {
    "pytorch_lightning": {"training", "corpora", "cli"},
    "lightning": {"training", "corpora", "cli"},
    "hydra": {"cli"},
    "omegaconf": {"cli"},
    "optuna": {"tuning", "cli"},
}
"""The libraries that must stay at the edge, so that a model is used, and a file translated, without them."""


def name_of(path: Path) -> str:
    """The dotted name of a module."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = sorted(path for path in PACKAGE.rglob("*.py"))
MODULES = {name_of(path): path for path in FILES}


def room_of(module: str) -> str:
    """The room of a module; `seq2seq` itself and what stands next to the rooms are rooms of their own."""
    return module.split(".")[1] if "." in module else module


def imported(source: str, module: str, package: bool = False) -> Iterator[str]:
    """The full names that `module` imports anywhere: at the top, inside functions, for type checkers only."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            above = parts[: len(parts) - node.level + package] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            # `from seq2seq.nn import heads` names a module where `from seq2seq.nn.heads import Head` names a class.
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def violations(module: str, source: str, package: bool = False) -> list[str]:
    """The imports of one file that its room may not make."""
    room, wrong = room_of(module), []
    allowed = {room, "errors", "__version__", *ROOMS.get(room, "").split()}
    if room == "seq2seq":
        allowed |= {"inference", "runtime"}
    if room == "__main__":
        allowed |= {"cli"}
    for name in imported(source, module, package):
        library, _, rest = name.partition(".")
        astray = library == "seq2seq" and rest.partition(".")[0] not in allowed
        if astray or room not in ONLY_IN.get(library, {room}):
            wrong.append(f"{module} imports {name}")
    return wrong


def module_of(name: str) -> str | None:
    """The module that an imported name is, or is in; None outside of the package."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


def test_every_module_is_in_a_room() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.name not in ("__pycache__", "py.typed", "conf", "data")}
    assert rooms <= {*ROOMS, "errors.py", "__init__.py", "__main__.py"}
    assert len({*ROOMS, "errors"}) <= 16


def test_a_room_imports_from_rooms_below_it_only() -> None:
    order = list(ROOMS)
    for room, allowed in ROOMS.items():
        assert set(allowed.split()) <= set(order[: order.index(room)]), room


def test_imports_follow_the_arrows() -> None:
    found = (violations(name, path.read_text("utf-8"), path.stem == "__init__") for name, path in MODULES.items())
    assert [wrong for each in found for wrong in each] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Within a room neither, and no import inside a function hides one."""
    graph: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        found = {module_of(each) for each in imported(path.read_text("utf-8"), name, path.stem == "__init__")}
        graph[name] = {each for each in found if each not in (None, "seq2seq", name)}
    list(TopologicalSorter(graph).static_order())  # raises CycleError


def test_the_folders_of_training_have_an_order() -> None:
    """Each folder, and each file next to them, is used by those above it only."""

    def part(module: str) -> str:
        return module.split(".")[2] if module.count(".") > 1 else ""

    graph: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        if room_of(name) == "training":
            uses = {module_of(each) or "" for each in imported(path.read_text("utf-8"), name, path.stem == "__init__")}
            own = {part(each) for each in uses if room_of(each) == "training"}
            graph[part(name)] = graph.get(part(name), set()) | own - {part(name)}
    list(TopologicalSorter(graph).static_order())  # raises CycleError


def test_search_knows_no_network() -> None:
    search = {name: path for name, path in MODULES.items() if room_of(name) == "search"}
    known = {name for module, path in search.items() for name in imported(path.read_text("utf-8"), module)}
    assert {module_of(name) for name in known if name.startswith("seq2seq.nn")} == {"seq2seq.nn.types"}


def test_nothing_imports_the_reference() -> None:
    assert "reference" not in " ".join(ROOMS.values()).split()


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("nn.cells.gru", "from seq2seq.nn.types import Inputs", False),
        ("nn.cells.gru", "from .base import Cell", False),
        ("nn.cells.gru", "from seq2seq.models import Tagger", True),
        ("nn.cells.gru", "from ...models import Tagger", True),
        ("nn.cells.gru", "from ... import models", True),
        ("nn.cells.gru", "from seq2seq import models", True),
        ("nn.cells.gru", "import seq2seq.models.factory as f", True),
        ("nn.cells.gru", "def f():\n    from seq2seq.models import Tagger", True),
        ("search.beam", "import torch\nfrom seq2seq.errors import UserError", False),
        ("search.beam", "from seq2seq.models import Tagger", True),
        ("training.run", "import pytorch_lightning as pl", False),
        ("models.tagger", "from pytorch_lightning.callbacks import Callback", True),
        ("training.run", "import hydra", True),
        ("models.factory", "from omegaconf import DictConfig", True),
        ("models.tagger", "from seq2seq.reference import gru", True),
        ("bundle.format", "from seq2seq import __version__", False),
    ],
)
def test_the_reader_of_imports_sees_every_form(module: str, source: str, wrong: bool) -> None:
    assert bool(violations(f"seq2seq.{module}", source)) is wrong


@pytest.mark.slow
def test_using_a_model_needs_neither_lightning_nor_hydra() -> None:
    modules = "seq2seq.inference.translator, seq2seq.inference.predictor, seq2seq.bundle"
    code = f"import sys, {modules}; print(*(set(sys.modules) & {set(ONLY_IN)}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []


def test_top_level_folders() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split("\n")
    folders = {name.partition("/")[0] for name in files if "/" in name and not name.startswith(".")}
    assert folders == FOLDERS
