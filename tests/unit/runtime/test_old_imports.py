"""Imports by the names that modules had before they moved."""

import importlib
import sys

import pytest

from seq2seq.nn import cells
from seq2seq.runtime.old_imports import MODULES, OldModules, install


@pytest.mark.parametrize("old", MODULES)
def test_an_old_name_gives_the_module_of_today(old: str) -> None:
    sys.modules.pop(old, None)
    today = importlib.import_module(MODULES[old])
    spec = today.__spec__
    with pytest.warns(DeprecationWarning, match=f"{old} is {MODULES[old]} now"):
        found = importlib.import_module(old)
    assert found is today
    assert today.__spec__ is spec
    assert today.__name__ == MODULES[old]


def test_a_cell_as_it_was_written_then() -> None:
    found: dict[str, object] = {}
    exec("from seq2seq.cells import Cell\nfrom seq2seq.structures import HiddenState", found)
    assert found["Cell"] is cells.Cell


@pytest.mark.parametrize(
    "name", ["seq2seq.cellar", "seq2seq.tasks.base", "seq2seq.record", "seq2seq.cells.cell_gradients"]
)
def test_what_never_was_or_has_no_old_name_is_not_found(name: str) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(name)


def test_it_is_installed_once() -> None:
    install()
    assert sum(isinstance(finder, OldModules) for finder in sys.meta_path) == 1
