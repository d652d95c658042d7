"""The arrows of the design, held by reading every import statement of the package: who may know whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from seq2seq.paths import PACKAGE

ROOT = PACKAGE.parent
FOLDERS = {"conf", "seq2seq", "data", "experiments", "tests"}

FREE = {"errors", "home", "locks", "paths", "products", "plain_json", "processes", "threads", "whole", "world"}
PARTS = "encoders contexts bridges heads"
NETWORK = f"structures cells recurrence embedding losses {PARTS} feedback words attention_loop decoder models"
TEXT = "text corpora"
EVERYTHING = (
    f"{NETWORK} {TEXT} search int8 allocation decoding scoring build card bundle translator sampler reporting record "
    "requests minimum_risk label_scores predictor captioner ensemble alignment notebook forced averaging exporting "
    "secrets sweep_folders equations describing"
)
ARROWS = {
    unit: set(allowed.split()) | (FREE if unit not in FREE else set())
    for unit, allowed in {
        "errors": "",
        "locks": "",
        "home": "",
        "paths": "errors home",
        "plain_json": "errors",
        "products": "",
        "secrets": "",
        "sweep_folders": "",
        "weights": "",
        "processes": "errors",
        "threads": "",
        "whole": "",
        "world": "errors",
        "structures": "",
        "cells": "structures",
        "recurrence": "structures cells",
        "embedding": "structures",
        "losses": "structures cells",
        "feedback": "",
        "words": "structures cells recurrence embedding encoders",
        **dict.fromkeys(PARTS.split(), "structures cells recurrence embedding"),
        "attention_loop": "structures cells contexts",
        "decoder": f"structures cells recurrence embedding feedback attention_loop {PARTS}",
        "models": NETWORK.removesuffix(" models"),
        "search": "structures",
        "int8": "",
        "allocation": "",
        "decoding": f"{NETWORK} search int8",
        "text": "",
        "corpora": "structures text",
        "scoring": "",
        "label_scores": "scoring text",
        "build": f"{NETWORK} {TEXT} search",
        "card": "",
        "record": "secrets",
        "bundle": f"{NETWORK} {TEXT} search build card weights secrets",
        "predictor": f"{NETWORK} {TEXT} search build bundle translator",
        "alignment": "text",
        "notebook": "",
        "requests": "text search",
        "minimum_risk": "",
        "ensemble": f"{NETWORK} {TEXT} search decoding bundle",
        "translator": f"{NETWORK} {TEXT} search int8 decoding build bundle ensemble alignment notebook requests",
        "equations": "build",
        "averaging": f"{NETWORK} {TEXT} search build bundle card equations",
        "exporting": f"{NETWORK} {TEXT} search build bundle",
        "forced": f"{NETWORK} {TEXT} search decoding translator",
        "captioner": f"{NETWORK} {TEXT} search decoding build bundle requests translator",
        "sampler": f"{NETWORK} {TEXT} search build bundle",
        "reporting": "structures scoring label_scores text corpora build bundle translator predictor sweep_folders",
        "describing": "record secrets",
        "tuning": "record reporting build",
        "tasks": EVERYTHING,
        "cli": f"{EVERYTHING} tasks tuning",
        "reference": "",
        "__init__": "predictor translator",
        "__main__": "cli",
    }.items()
}
"""What each part of the package may import of the others; itself it always may. A new part needs its line here."""

ONLY_IN = {
    "pytorch_lightning": {"tasks", "corpora", "cli"},
    "lightning": {"tasks", "corpora", "cli"},
    "hydra": {"cli"},
    "omegaconf": {"cli"},
    "optuna": {"tuning", "cli"},
}
"""The libraries that must stay at the edge, so that a model is used, and a file translated, without them."""


def unit_of(path: Path) -> str:
    """The part that a file belongs to: its first name under the package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(source: str, module: str) -> Iterator[str]:
    """The full names that `module` imports anywhere: at the top, inside functions, for type checkers only."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            # `from seq2seq import models` names a module where `from seq2seq.models import Tagger` names a class.
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def violations(path: Path, source: str) -> list[str]:
    """The imports of one file that its part may not make."""
    unit = unit_of(path)
    module = "seq2seq." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    wrong = []
    for name in imported(source, module):
        library, _, rest = name.partition(".")
        astray = library == "seq2seq" and rest.partition(".")[0] not in {unit, "__version__"} | ARROWS[unit]
        if astray or unit not in ONLY_IN.get(library, {unit}):
            wrong.append(f"{module} imports {name}")
    return wrong


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_part_has_its_place() -> None:
    assert {unit_of(path) for path in FILES} <= set(ARROWS)


def test_arrows_point_one_way() -> None:
    list(TopologicalSorter(ARROWS).static_order())  # raises CycleError


def test_imports_follow_the_arrows() -> None:
    assert [wrong for path in FILES for wrong in violations(path, path.read_text(encoding="utf-8"))] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Within a part neither, and no import inside a function hides one."""
    names = {"seq2seq." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in FILES}
    modules = {name.removesuffix(".__init__"): path for name, path in names.items()}
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        found = set(imported(path.read_text(encoding="utf-8"), module))
        known = {each if each in modules else each.rpartition(".")[0] for each in found}
        graph[module] = {each for each in known if each in modules and each != module}
    list(TopologicalSorter(graph).static_order())  # raises CycleError


@pytest.mark.parametrize(
    ("file", "source", "wrong"),
    [
        ("cells/gru.py", "from seq2seq.structures import Inputs", False),
        ("cells/gru.py", "from .base import Cell", False),
        ("cells/gru.py", "from seq2seq.cells.base import Cell", False),
        ("cells/gru.py", "from seq2seq.recurrence import unroll", True),
        ("cells/gru.py", "from ..recurrence import unroll", True),
        ("cells/gru.py", "from .. import recurrence", True),
        ("cells/gru.py", "from seq2seq import recurrence", True),
        ("cells/gru.py", "import seq2seq.recurrence as r", True),
        ("cells/gru.py", "def f():\n    from seq2seq.models import Tagger", True),
        ("search/beam.py", "import torch\nfrom seq2seq.errors import UserError", False),
        ("search/beam.py", "from seq2seq.decoder import Decoder", True),
        ("tasks/translation.py", "import pytorch_lightning as pl", False),
        ("models/tagger.py", "from pytorch_lightning.callbacks import Callback", True),
        ("tasks/translation.py", "import hydra", True),
        ("build.py", "from omegaconf import DictConfig", True),
        ("models/tagger.py", "from seq2seq.reference import gru", True),
        ("bundle.py", "from seq2seq import __version__", False),
    ],
)
def test_the_reader_of_imports_sees_every_form(file: str, source: str, wrong: bool) -> None:
    assert bool(violations(PACKAGE / file, source)) is wrong


def test_using_a_model_needs_neither_lightning_nor_hydra() -> None:
    modules = "seq2seq.translator, seq2seq.predictor, seq2seq.bundle"
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
