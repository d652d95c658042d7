"""Which library computes the matrix products: measured once on a machine, forced by a variable, or that of a record."""

import json
from types import SimpleNamespace

import pytest
import torch

from seq2seq.nn import matmul_library


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """A process that has not chosen yet, and an empty cache."""
    monkeypatch.setattr(matmul_library, "used", None)
    monkeypatch.setattr(matmul_library, "works", lambda: True)
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SEQ2SEQ_PRODUCTS", raising=False)
    return tmp_path / "cache" / "matmul"


def takes(monkeypatch, onednn):
    """Let torch's products take one second, and oneDNN's so many."""
    monkeypatch.setattr(matmul_library, "measure", lambda: {"torch": 1.0, "onednn": onednn})


def again(monkeypatch):
    """The choice of another process."""
    monkeypatch.setattr(matmul_library, "used", None)
    return matmul_library.name()


@pytest.mark.parametrize("onednn, expected", [(0.5, "onednn"), (0.95, "torch"), (2.0, "torch")])
def test_the_faster_one_is_found_once(fresh, monkeypatch, onednn, expected):
    takes(monkeypatch, onednn)
    assert matmul_library.name() == expected
    [file] = fresh.iterdir()
    kept = json.loads(file.read_text())
    assert (kept["used"], kept["machine"]) == (expected, matmul_library.machine())
    takes(monkeypatch, 1 / onednn)  # the machine is busy: the choice stays
    assert again(monkeypatch) == expected


def test_another_instruction_set_is_another_machine(fresh, monkeypatch):
    takes(monkeypatch, 0.5)
    assert matmul_library.name() == "onednn"
    takes(monkeypatch, 2)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    assert again(monkeypatch) == "torch"
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    assert again(monkeypatch) == "onednn"
    assert len(list(fresh.iterdir())) == 2


def test_of_processes_that_start_together_the_first_decides(fresh, monkeypatch):
    def slower():
        takes(monkeypatch, 0.5)
        assert matmul_library._faster() == "onednn"  # another process, which is done earlier
        return {"torch": 1.0, "onednn": 2.0}

    monkeypatch.setattr(matmul_library, "measure", slower)
    assert matmul_library.name() == "onednn"


def test_a_damaged_entry_is_measured_again(fresh, monkeypatch):
    takes(monkeypatch, 0.5)
    matmul_library.name()
    [file] = fresh.iterdir()
    for content in ("", "[]", '{"used": 1}', '{"used": "mkl"}'):
        file.write_text(content)
        assert again(monkeypatch) == "onednn"


def test_a_cache_that_cannot_be_written_is_no_matter(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path / "file"))
    takes(monkeypatch, 0.5)
    assert matmul_library.name() == "onednn"
    assert capsys.readouterr().err == ""


def test_the_measurement_leaves_the_seed_alone():
    before = torch.get_rng_state()
    if not WORKS():
        pytest.skip("no such operator of oneDNN on this machine")
    seconds = matmul_library.measure()
    assert set(seconds) == set(matmul_library.LIBRARIES)
    assert all(0 < value < 10 for value in seconds.values())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("asked", ["torch", "onednn"])
def test_the_choice_can_be_forced(monkeypatch, caplog, asked):
    takes(monkeypatch, 2.0 if asked == "onednn" else 0.5)
    monkeypatch.setenv("SEQ2SEQ_PRODUCTS", asked)
    assert matmul_library.name() == asked
    assert caplog.messages == []
    other = {"torch": "onednn", "onednn": "torch"}[asked]
    matmul_library.use(other)
    assert matmul_library.name() == asked
    assert caplog.messages == [f"SEQ2SEQ_PRODUCTS={asked}: the run was computed with {other}, so bits may differ"]


def test_a_choice_that_cannot_be_is_said(monkeypatch, caplog):
    takes(monkeypatch, 2.0)
    monkeypatch.setenv("SEQ2SEQ_PRODUCTS", "mkl")
    assert matmul_library.name() == "torch"
    assert caplog.messages == ["SEQ2SEQ_PRODUCTS=mkl: is not one of auto, torch and onednn; auto is taken"]


def test_a_run_goes_on_with_the_library_of_its_record(monkeypatch, caplog):
    takes(monkeypatch, 2.0)
    for record, expected in ((None, "torch"), ("mkl", "torch"), ("onednn", "onednn"), ("torch", "torch")):
        matmul_library.use(record)
        assert matmul_library.name() == expected
    assert caplog.messages == []
    monkeypatch.setattr(matmul_library, "works", lambda: False)
    matmul_library.use("onednn")
    assert matmul_library.name() == "torch"
    assert "does not work on this machine" in caplog.text


def missing(*_):
    raise RuntimeError("could not create a primitive descriptor")


def wrong(a, weight, bias, *_):
    return a @ weight.t() + bias + 1


@pytest.mark.parametrize("operator", [missing, wrong, None])
def test_an_operator_that_does_not_work_is_not_used(monkeypatch, caplog, operator):
    """Found by calling it, whatever the processor is called."""
    library = SimpleNamespace(_reorder_linear_weight=lambda weight, rows: weight)
    if operator:
        library._linear_pointwise = operator
    monkeypatch.setattr(torch.ops, "mkldnn", library)
    monkeypatch.setattr(matmul_library, "works", WORKS)
    takes(monkeypatch, 0.5)
    assert matmul_library.name() == "torch"
    assert caplog.messages == []
    monkeypatch.setenv("SEQ2SEQ_PRODUCTS", "onednn")
    assert again(monkeypatch) == "torch"
    assert len(caplog.messages) == 1


WORKS = matmul_library.works.__wrapped__
