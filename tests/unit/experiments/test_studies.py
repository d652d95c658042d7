"""The studies of gradients and of memory measure what they say, and their pages hold the numbers of their results."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from experiments.machine import write_results
from seq2seq.nn.cells import LSTM, Cell, Vanilla
from seq2seq.nn.recurrence import unroll
from seq2seq.nn.types import Inputs
from seq2seq.runtime.paths import PACKAGE

EXPERIMENTS = PACKAGE.parent / "experiments"
OWN = ("machine", "readme", "study", "pictures", "picture", "tasks")  # module names that both studies may use


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def study(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A study's run.py, imported as its command does; what it imports next to it is forgotten afterwards."""
    folder = EXPERIMENTS / request.param
    monkeypatch.setattr(sys, "path", [str(folder), str(EXPERIMENTS), *sys.path])
    for name in OWN:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield load(folder / "run.py")
    for name in OWN:
        sys.modules.pop(name, None)


gradients = pytest.mark.parametrize("study", ["gradients"], indirect=True)
memory = pytest.mark.parametrize("study", ["memory"], indirect=True)


@pytest.fixture
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@gradients
@pytest.mark.parametrize("kind", [Vanilla, LSTM])
@pytest.mark.usefixtures("_double")
def test_gradient_norms_are_those_of_starting_anew_from_the_state(study: ModuleType, kind: type[Cell[Any]]) -> None:
    """The sequence cut at t, from a state that is given. An LSTM's c_t also makes h_t = o tanh(c_t)."""
    cell, x, v = kind(3, 4), torch.randn(2, 6, 3), torch.randn(2, 4)
    norms = study.gradient_norms(cell, x, lambda h: (h * v).sum())
    last = v.norm(dim=1)
    for lag in range(6):
        state = unroll(cell, Inputs(x[:, : 6 - lag]), path="step")[1]
        state = type(state)(*(part.detach().requires_grad_() for part in state))
        end = unroll(cell, Inputs(x[:, 6 - lag :]), None, state, path="step")[1] if lag else state
        d = torch.autograd.grad((end.h * v).sum(), list(state), allow_unused=True, materialize_grads=True)
        torch.testing.assert_close(norms["h"][lag], d[0].norm(dim=1) / last)
        if kind is LSTM:
            h, c = state
            total = d[1] + d[0] * (h / torch.tanh(c)) * (1 - torch.tanh(c) ** 2)
            torch.testing.assert_close(norms["c"][lag], total.norm(dim=1) / last)


@gradients
@pytest.mark.usefixtures("_double")
def test_no_gradient_exceeds_its_bound(study: ModuleType) -> None:
    """‖∂L_T/∂h_t‖ ≤ ∏ ‖J_j‖₂ ≤ ‖W‖₂^lag, each sequence for itself; of one unit both are equal."""
    for scale in (0.5, 1.5):
        cell = Vanilla(3, 8, init="orthogonal", init_scale=scale)
        x = torch.randn(5, 12, 3)
        seen = study.gradient_norms(cell, x, lambda h: h.sum())["h"]
        with torch.no_grad():
            bound = study.jacobian_norms(cell, x)
        assert (seen <= bound * (1 + 1e-12)).all()
        assert (bound <= scale ** torch.arange(12.0)[:, None] * (1 + 1e-6)).all()
    cell = Vanilla(3, 1)
    torch.testing.assert_close(
        study.gradient_norms(cell, x, lambda h: h.sum())["h"], study.jacobian_norms(cell, x).detach()
    )


@gradients
def test_what_is_shown_first_is_the_answer(study: ModuleType) -> None:
    x, y = study.draw("class", 9, torch.Generator().manual_seed(0))
    assert x[:, 0].argmax(1).tolist() == y.tolist()
    assert not x[:, 1:, : study.CLASSES].any()
    x, y = study.draw("number", 9, torch.Generator().manual_seed(0))
    assert torch.equal(x[:, 0, 0], y)


@memory
@pytest.mark.parametrize("lag", [5, 8, 30])
def test_tasks_ask_for_what_stood_a_lag_before(study: ModuleType, lag: int) -> None:
    tasks, generator = sys.modules["tasks"], torch.Generator().manual_seed(0)
    x, y = tasks.copy(lag, 20, generator)
    ids = x.argmax(-1)
    assert torch.equal(ids[:, : tasks.PAYLOAD], y)
    assert x.size(1) - tasks.PAYLOAD == lag  # the answer to symbol i is read lag steps after it
    assert (ids[:, lag] == tasks.SYMBOLS + 1).all()

    x, y = tasks.add(lag, 20, generator)
    for row, total in zip(x, y, strict=True):
        first, second = row[:, 1].nonzero().flatten().tolist()
        assert second - first == lag
        assert (row[first, 0] + row[second, 0]).item() == pytest.approx(total.item())


@memory
def test_one_word_decides_and_stands_where_it_says(study: ModuleType) -> None:
    """A reader with a dictionary is always right, and finds one deciding word in each sentence."""
    tasks = sys.modules["tasks"]
    x, y = tasks.disambiguate(7, 200, torch.Generator().manual_seed(0))
    others = 0
    for row, sense in zip(x.argmax(-1).tolist(), y[:, 0].tolist(), strict=True):
        words = [tasks.WORDS[i] for i in row]
        senses = tasks.SENSES[words[-1]]
        found = [(place, which) for place, word in enumerate(words) for which in (0, 1) if word in senses[which]]
        assert found == [(len(words) - 1 - 7, sense % 2)]
        assert list(tasks.SENSES).index(words[-1]) == sense // 2
        others += sum(word not in tasks.FILLERS for word in words) - 2
    assert 0.15 < others / (200 * 8) < 0.25  # words for other senses, as many as OTHER_CUES says


@memory
def test_scores_by_their_definition(study: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = sys.modules["tasks"].Batch
    answerer = study.Answerer(Vanilla(2, study.HIDDEN), 3)
    answers = torch.tensor([[[0.0, 1.0, 0.0]], [[2.0, 1.0, 0.0]]])
    monkeypatch.setattr(answerer, "forward", lambda _: answers)
    assert answerer.score(batch(torch.zeros(2, 1, 2), torch.tensor([[1], [2]]))) == 0.5
    numbers = torch.tensor([[0.0], [2.0]])
    assert answerer.score(batch(torch.zeros(2, 1, 2), numbers)) == 1.0
    assert answerer.score(batch(torch.zeros(2, 1, 2), numbers.flip(0))) == 0.0


@memory
def test_training_lowers_the_loss(study: ModuleType) -> None:
    tasks = sys.modules["tasks"]
    task = tasks.TASKS["add"]
    answerer = study.Answerer(study.CELLS["GRU"][0](task.inputs), task.outputs)
    test = task.draw(5, 64, torch.Generator().manual_seed(1))
    before = answerer.loss(test).item()
    study.train(answerer, task, 0.01, seed=0, updates=10)
    assert answerer.loss(test).item() < 0.7 * before


@pytest.mark.parametrize(("study", "drawn"), [("gradients", "pictures"), ("memory", "picture")], indirect=["study"])
def test_the_page_holds_the_numbers_of_the_results(study: ModuleType, drawn: str) -> None:
    """Each table of README.md is made of results.json, and each picture it shows is there."""
    page = (study.HERE / "README.md").read_text(encoding="utf-8")
    tables = load(study.HERE / f"{drawn}.py").tables(json.loads((study.HERE / "results.json").read_bytes()))
    assert all(f"<!-- {name} -->\n{table}<!-- end -->" in page for name, table in tables.items())
    shown = [part.partition(")")[0] for part in page.split("](")[1:] if ".png)" in part]
    assert shown
    assert all((study.HERE / name).is_file() for name in shown)


def test_a_table_is_put_into_its_place(tmp_path: Path) -> None:
    readme = load(EXPERIMENTS / "readme.py")
    page = tmp_path / "README.md"
    page.write_text("a\n<!-- t -->\nold\n<!-- end -->\nb\n<!-- u -->\n<!-- end -->\n", encoding="utf-8")
    for table in ("| x |\n", "| y |\n"):
        readme.fill(page, {"u": table})
    assert page.read_text(encoding="utf-8") == "a\n<!-- t -->\nold\n<!-- end -->\nb\n<!-- u -->\n| y |\n<!-- end -->\n"
    with pytest.raises(ValueError, match="stands there 0 times"):
        readme.fill(page, {"v": ""})


def test_results_name_the_machine(tmp_path: Path) -> None:
    write_results(tmp_path / "results.json", {"a": 1.5}, indent=2)
    assert json.loads((tmp_path / "results.json").read_text()) == {"a": 1.5}
    found = json.loads((tmp_path / "machine.json").read_text())
    assert found["cpu"]
    assert found["instructions"] == torch.backends.cpu.get_cpu_capability()
    assert found["torch"] == torch.__version__
