"""An accelerator that is not there is refused in one line, before Lightning or the data are looked at."""

import pytest
import torch

from seq2seq.bundle.format import load_bundle
from seq2seq.errors import UserError
from seq2seq.training.configuration.accelerators import check_accelerator, chosen, set_float32_precision
from tests.bundles import save


@pytest.fixture
def machine(monkeypatch):
    """A machine with these GPUs."""

    def make(*there: str) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in there)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in there)

    return make


@pytest.mark.parametrize("asked", ["gpu", "cuda", "mps", "tpu"])
def test_what_is_not_there(machine, asked):
    machine()
    with pytest.raises(
        UserError, match=rf"^trainer\.accelerator={asked}: this machine has no .*; set it to auto or cpu"
    ):
        check_accelerator({"accelerator": asked, "precision": "32-true"})


@pytest.mark.parametrize("there", ["cuda", "mps"])
def test_what_is_there(machine, there):
    machine(there)
    for asked in ("auto", "cpu", "gpu", there):
        check_accelerator({"accelerator": asked, "precision": "32-true"})
    other = {"cuda": "mps", "mps": "cuda"}[there]
    with pytest.raises(UserError, match=rf"accelerator={other}: .*\(gpu, {there} is there\)"):
        check_accelerator({"accelerator": other})
    assert (chosen("auto"), chosen("gpu"), chosen("cpu")) == (there, there, "cpu")


@pytest.mark.parametrize("precision", ["64-true", 64, "64"])
def test_mps_has_no_float64(machine, precision):
    machine("mps")
    for asked in ("auto", "gpu", "mps"):
        with pytest.raises(UserError, match=rf"trainer\.precision={precision}: MPS has no float64"):
            check_accelerator({"accelerator": asked, "precision": precision})
    check_accelerator({"accelerator": "cpu", "precision": precision})
    machine("cuda")
    check_accelerator({"accelerator": "auto", "precision": precision})


@pytest.mark.parametrize("device", ["mps", "xla", "hpu", "meta", "tpu", ""])
def test_a_device_that_is_not_there(tmp_path, device):
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("it is")
    save(tmp_path / "b")
    with pytest.raises(UserError, match=rf"device '{device}' cannot be used \(.{{,100}}\); use cpu, or cuda or mps"):
        load_bundle(tmp_path / "b", device=device)


@pytest.mark.parametrize(
    ("asked", "then"), [(None, ("medium", None)), ("highest", ("highest", False)), ("high", ("high", True))]
)
def test_how_exactly_float32_is_multiplied(asked, then):
    """Nothing is touched unless it is asked for."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision("medium")
        set_float32_precision(asked)
        wanted = then[0], before[1] if then[1] is None else then[1]
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == wanted
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
