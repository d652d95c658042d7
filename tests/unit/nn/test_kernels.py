"""A machine without a fused kernel: what runs instead gives the same numbers, and says so where it was forced."""

import importlib
from contextlib import nullcontext

import pytest
import torch

from seq2seq.nn import recurrence
from seq2seq.nn.cells import GRU, LSTM, Cell, Regularization
from seq2seq.nn.recurrence import unroll
from seq2seq.nn.types import Inputs, mask_from_lengths
from tests.conftest import node, options

pytestmark = pytest.mark.numerical
E, H, B, T = 9, 32, 3, 5  # of few units, layer normalisation makes rounding large
FORMS = {name: {} for name in options("cell")}
FORMS |= {name: {"activation": "linear"} for name in ("min_gru", "min_lstm")}  # the other's slope jumps at 0
FORMS |= {"relu": {"activation": "relu"}, "before": {"reset": "before"}}
FORMS |= {"peepholes": {"peepholes": True}, "coupled": {"coupled": True}, "no bias": {"bias": False}}
NAMES = {"relu": "vanilla", "before": "gru", "peepholes": "lstm", "coupled": "lstm", "no bias": "lstm"}
PRECISIONS = {
    "32-true": (torch.float32, None, 1e-5),
    "64-true": (torch.float64, None, 1e-10),
    "bf16-true": (torch.bfloat16, None, 0.06),
    "16-true": (torch.float16, None, 0.01),
    "bf16-mixed": (torch.float32, torch.bfloat16, 0.03),
    "16-mixed": (torch.float32, torch.float16, 0.01),
}


@pytest.fixture(autouse=True)
def _say_again():
    recurrence._say.cache_clear()


def make(form: str) -> Cell:
    config = node("cell", NAMES.get(form, form), **FORMS[form])
    module, _, name = config.pop("_target_").rpartition(".")
    config.pop("_partial_", None)
    shares = {key: config.pop(key) for key in vars(Regularization()) if key in config}
    assert not any(shares.values())
    return getattr(importlib.import_module(module), name)(E, H, **config)


def run(cell, path, *, masked=True, reverse=True, learning=True):
    """Outputs, the last h, and the gradient of the inputs, in float32."""
    x = torch.linspace(-1, 1, B * T * E).sin().view(B, T, E).to(cell.weight_ih.dtype).requires_grad_()
    mask = mask_from_lengths(torch.tensor([T, 1, 4]), T) if masked else None
    with nullcontext() if learning else torch.inference_mode():
        outputs, final = unroll(cell, Inputs(x), mask, reverse=reverse, path=path)
    if not learning:
        return [outputs.float(), final.h.float()]
    loss = outputs.float().square().sum() + final.h.float().sum()
    with torch.autocast("cpu", enabled=False):
        return [outputs.float(), final.h.float(), torch.autograd.grad(loss, x)[0].float()]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("form", FORMS)
def test_every_path_in_every_precision_on_this_machine(form, precision):
    dtype, lower, tolerance = PRECISIONS[precision]
    torch.manual_seed(0)
    cell = make(form).to(dtype)
    exact = make(form).double()
    exact.load_state_dict(cell.state_dict())
    for masked, reverse, learning in ((True, True, True), (False, False, True), (True, False, False)):
        options = {"masked": masked, "reverse": reverse, "learning": learning}
        expected = run(exact, "step", **options)
        for path in ("auto", "step", *cell.paths):
            with torch.autocast("cpu", dtype=lower) if lower else nullcontext():
                found = run(cell, path, **options)
            for one, other in zip(found, expected, strict=True):
                assert (one - other).norm() < tolerance * other.norm()


def without(monkeypatch, kind, lacks):
    """Let the kernel be missing wherever `lacks()`; the precisions that it was called in."""
    real, calls = kind.fused, []

    def fused(self, *arguments):
        calls.append(recurrence.lower_precision("cpu"))
        if lacks():
            raise RuntimeError("could not create a primitive descriptor for the forward propagation primitive")
        return real(self, *arguments)

    monkeypatch.setattr(kind, "fused", fused)
    return calls


@pytest.mark.parametrize("path", ["auto", "fused"])
def test_a_kernel_that_only_float32_has_runs_in_float32(monkeypatch, caplog, path):
    cell = LSTM(E, H)
    expected = run(cell, "step")
    calls = without(monkeypatch, LSTM, lambda: recurrence.lower_precision("cpu") is not None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for _ in range(3):
            for one, other in zip(run(cell, path), expected, strict=True):
                torch.testing.assert_close(one, other)
    assert calls == [torch.bfloat16, *[None] * 4]  # asked once in either precision, then used
    said = ["path=fused: this machine has no such kernel of LSTM in bfloat16 (cpu); it runs in float32"]
    assert caplog.messages == (said if path == "fused" else [])


@pytest.mark.parametrize("path", ["auto", "fused"])
@pytest.mark.parametrize("kind", [LSTM, GRU])
@pytest.mark.parametrize("mixed", [False, True])
def test_no_kernel_at_all(monkeypatch, caplog, kind, path, mixed):
    cell = kind(E, H)
    expected = run(cell, "step")
    without(monkeypatch, kind, lambda: True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
        found = run(cell, path)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **({"rtol": 0.03, "atol": 0.03} if mixed else {}))
    kept = "bfloat16" if mixed else "float32"
    said = [f"path=fused: this machine has no such kernel of {kind.__name__} in {kept} (cpu); path=manual runs instead"]
    assert caplog.messages == (said if path == "fused" else [])


def test_a_kernel_without_a_way_back_serves_inference_only(monkeypatch):
    cell = LSTM(E, H)
    without(monkeypatch, LSTM, torch.is_grad_enabled)
    assert not recurrence.fused_runs(cell)
    with torch.no_grad():
        assert recurrence.fused_runs(cell)


def test_memory_that_is_full_is_no_missing_kernel(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("out of memory")

    cell = LSTM(E, H)
    monkeypatch.setattr(LSTM, "fused", full)
    with pytest.raises(torch.OutOfMemoryError):
        recurrence.fused_runs(cell)
