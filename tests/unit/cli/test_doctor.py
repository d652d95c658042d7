"""`seq2seq doctor`: facts of this machine, what is wrong with it, and no secrets."""

import json
from importlib import metadata

import pytest
import torch

from seq2seq.cli.describing import environment as process_environment
from seq2seq.cli.describing import installation, machine, torch_build
from seq2seq.cli.main import main
from seq2seq.nn import matmul

NAMES = "seq2seq python system processor cores memory packages extras torch threads gflops gpu wandb cache variables"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(torch_build, "SECONDS", 0.01)
    monkeypatch.setattr(torch_build, "SIZE", 256)
    monkeypatch.setattr(torch_build, "threads", torch.get_num_threads)
    monkeypatch.setattr(machine, "load", lambda: 0.0)


def doctor(capsys, *options):
    code = main(["doctor", *options])
    return code, capsys.readouterr().out


def test_what_a_bug_report_needs(capsys, monkeypatch):
    monkeypatch.setenv("SEQ2SEQ_KEEP_MEMORY", "0")
    code, out = doctor(capsys)
    assert code == 0
    rows = {line.split(" ", 1)[0]: line for line in out.splitlines()}
    assert set(NAMES.split()) <= set(rows)
    assert torch.__version__ in rows["torch"]
    assert torch.backends.cpu.get_cpu_capability() in rows["torch"]
    assert "SEQ2SEQ_KEEP_MEMORY 0" in rows["variables"]
    assert "nothing that is needed is broken" in out


def test_as_json(capsys):
    code, out = doctor(capsys, "--format", "json")
    found = json.loads(out)
    assert code == 0
    assert found["problems"] == []
    assert found["facts"]["cores"]["available"] >= 1
    assert found["facts"]["packages"]["torch"] == metadata.version("torch")
    assert found["facts"]["gflops"]["used"] == ("onednn" if matmul.onednn() else "torch")
    assert found["facts"]["gflops"]["torch"] > 0


def test_no_secret_is_shown(capsys, monkeypatch):
    secret = "hunter2hunter2"
    for name in ("WANDB_API_KEY", "WANDB_PROJECT", "WANDB_MODE", "SEQ2SEQ_TOKEN"):  # no key, and no mode: refused
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv("SEQ2SEQ_DATA", f"/tmp/{secret}")
    for options in ((), ("--format", "json")):
        out = doctor(capsys, *options)[1]
        assert secret not in out
        assert "wandb: " in out
        assert "WANDB_" in out


@pytest.mark.parametrize(
    ("installed", "told"), [(None, "missing (needs"), ("0.0.1", "0.0.1, needs >=")], ids=["missing", "old"]
)
def test_a_dependency_that_is_missing_or_old(capsys, monkeypatch, installed, told):
    version = metadata.version

    def answer(name):
        if name != "sacrebleu":
            return version(name)
        if installed is None:
            raise metadata.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(metadata, "version", answer)
    code, out = doctor(capsys)
    assert code == 1
    (problem,) = [line for line in out.splitlines() if line.startswith("problem")]
    assert told in problem
    assert "pip install 'sacrebleu>=" in problem


def test_torch_that_cannot_be_imported(capsys, monkeypatch):
    def fail():
        raise ImportError("libgomp.so.1: cannot open shared object file\nmore")

    monkeypatch.setattr(torch_build, "build", fail)
    code, out = doctor(capsys)
    assert code == 1
    assert "problem: torch: ImportError: libgomp.so.1: cannot open shared object file\n" in out


def test_a_fact_that_cannot_be_had_ends_nothing(capsys, monkeypatch):
    def fail():
        raise RuntimeError("strange")

    monkeypatch.setattr(machine, "processor", fail)
    code, out = doctor(capsys)
    assert code == 0
    assert "note: processor: RuntimeError: strange" in out


def test_a_cache_that_cannot_be_written(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path / "file" / "cache"))
    code, out = doctor(capsys)
    assert code == 1
    assert "cannot be written; set SEQ2SEQ_CACHE to a folder that can" in out


def test_other_processes_are_noticed(capsys, monkeypatch):
    monkeypatch.setattr(machine, "load", lambda: 100.0)
    code, out = doctor(capsys)
    assert code == 0
    assert "note: load: 100.0 processes wanted" in out


def test_a_gpu_that_torch_cannot_use(capsys, monkeypatch):
    monkeypatch.setattr(machine, "gpu_driver", lambda: ["NVIDIA H100, 550.1, 81559 MiB"])
    monkeypatch.setattr(torch_build, "gpus", list)
    out = doctor(capsys)[1]
    assert "NVIDIA H100" in out
    assert "note: gpu: there is one, but this torch cannot use it" in out


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        ({}, "offline"),
        ({"WANDB_MODE": "disabled"}, "disabled"),
        ({"WANDB_MODE": "offline", "WANDB_API_KEY": "f" * 40}, "offline"),
        ({"WANDB_API_KEY": "f" * 40}, "online"),
    ],
)
def test_the_state_of_wandb(tmp_path, monkeypatch, capsys, environment, mode):
    for name in process_environment.names("WANDB_"):
        monkeypatch.delenv(name)
    for name, value in ({"HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc")} | environment).items():
        monkeypatch.setenv(name, value)
    found = json.loads(doctor(capsys, "--format", "json")[1])["facts"]["wandb"]
    assert found["mode"] == mode
    assert found["account"].startswith("logged in" if "WANDB_API_KEY" in environment else "not logged in")
    assert found["set"] == (sorted(environment) or "no WANDB_ variable")


def test_a_quota_of_a_cgroup():
    assert machine._quota("150000 100000\n") == 1.5
    assert machine._quota("max 100000\n") is None
    assert machine._quota("") is None


def test_where_the_package_is_not_installed(capsys, monkeypatch):
    monkeypatch.setattr(installation, "NAME", "there-is-no-such-package")
    out = doctor(capsys)[1]
    assert "not installed; imported from" in out
    assert "unknown: the package is not installed" in out


def test_a_folder_that_does_not_exist_yet_is_writable_where_its_parent_is(tmp_path):
    (tmp_path / "file").touch()
    assert process_environment.writable(tmp_path / "a" / "b")
    assert not process_environment.writable(tmp_path / "file" / "b")
