"""`seq2seq info`: bundles, runs and sweeps described from their files; hostile files are only data."""

import csv
import json
import os
import shutil
import struct
import sys
from pathlib import Path

import pytest

from seq2seq.cli.describing.bundles import describe_bundle
from seq2seq.cli.describing.runs import describe_run
from seq2seq.cli.describing.text import lines, printable
from seq2seq.cli.main import main
from seq2seq.training.records.run_record import claim
from tests.bundles import edit, save
from tests.labels import save_labelling

PROVENANCE = {
    "command": "seq2seq train cell=gru",
    "seq2seq": "0.1.0",
    "data_fingerprint": "f00d",
    "source_language": "en",
    "target_language": "de",
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "bundle"
    model = save(folder, provenance=PROVENANCE)
    return folder, sum(parameter.numel() for parameter in model.parameters())


@pytest.fixture
def bundle(saved, tmp_path):
    return Path(shutil.copytree(saved[0], tmp_path / "bundle"))


def info(folder, capsys, *options):
    code = main(["info", str(folder), *options])
    return code, capsys.readouterr()


def test_a_bundle(bundle, saved, capsys):
    code, told = info(bundle, capsys)
    assert code == 0
    for expected in (
        "task                translation",
        "languages           en, de",
        "RecurrentEncoder hidden_size=4",
        f"all               {saved[1]:,}",
        "joint             whitespace",
        "beam_size         3",
        "test BLEU         12.50  nrefs:1",
        "command           seq2seq train cell=gru",
        "data_fingerprint  f00d",
        "format version      2",
        "right for",
    ):
        assert expected in told.out, expected
    assert "problem" not in told.out


def test_a_bundle_as_json(bundle, saved, capsys):
    code, told = info(bundle, capsys, "--format", "json")
    facts = json.loads(told.out)
    assert code == 0
    parts = {key: value for key, value in facts["parameters"].items() if key not in ("all", "type")}
    assert sum(parts.values()) == facts["parameters"]["all"] == saved[1]
    assert {"encoder", "decoder", "decoder.head", "bridge"} < set(parts)
    assert facts["files"]["bytes"] == sum(path.stat().st_size for path in bundle.iterdir())


@pytest.mark.parametrize("task", ["tagging", "classification"])
def test_other_tasks(tmp_path, task, capsys):
    save_labelling(tmp_path / "bundle", task)
    code, told = info(tmp_path / "bundle", capsys)
    assert code == 0
    assert f"  {task}\n" in told.out
    assert "labels" in told.out


def test_what_is_damaged_is_named(bundle, capsys):
    (bundle / "metrics.json").write_text("{}")
    code, told = info(bundle, capsys)
    assert code == 1
    assert "problem: checksums.json: 'metrics.json' is not as it was saved; copy the bundle again" in told.out
    (bundle / "checksums.json").unlink()
    assert "none that can be read" in info(bundle, capsys)[1].out


def test_a_format_of_the_future(bundle, capsys):
    config = json.loads((bundle / "config.json").read_text()) | {"format_version": 3}
    edit(bundle, "config.json", json.dumps(config).encode())
    code, told = info(bundle, capsys)
    assert code == 1
    assert "format 3; this seq2seq reads 2 and older" in told.out


def test_nothing_that_a_terminal_obeys_is_printed(bundle, capsys):
    evil = "\x1b]0;owned\x07\x9b31m\u202e\r\n\x7f"
    config = json.loads((bundle / "config.json").read_text())
    config["task"] = config["provenance"]["command"] = evil
    config["model"]["encoder"][evil] = config["provenance"][evil] = evil
    edit(bundle, "config.json", json.dumps(config).encode())
    for options in ((), ("--format", "json")):
        out = info(bundle, capsys, *options)[1].out
        assert all(line.isprintable() for line in out.split("\n"))
        assert "owned" in out


def header(described, size=0):
    text = json.dumps(described).encode()
    return struct.pack("<Q", len(text)) + text + bytes(size)


TENSOR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    "weights",
    [
        b"",
        b"PK\x03\x04pickle",
        struct.pack("<Q", 1 << 60) + b"{}",
        header({"a": TENSOR}, 3),
        header({"a": TENSOR | {"shape": [10**17] * 8, "data_offsets": [0, 4]}}, 4),
        header({"a": TENSOR | {"shape": [1] * 10_000}}, 4),
        header({"a": TENSOR | {"shape": ["x"]}}, 4),
        header({"a": TENSOR | {"dtype": "I64"}}, 4),
        header({"a": 1}),
        header([]),
    ],
)
def test_weights_that_are_none(bundle, weights, capsys):
    edit(bundle, "model.safetensors", weights)
    code, told = info(bundle, capsys)
    assert code == 1
    assert "model.safetensors: does not fit the format" in told.out
    assert "translation" in told.out


def test_a_file_that_only_seems_long_is_not_read(bundle):
    with (bundle / "model.safetensors").open("ab") as file:
        os.truncate(file.fileno(), 1 << 42)
    with (bundle / "metrics.json").open("ab") as file:
        os.truncate(file.fileno(), 1 << 42)
    facts = describe_bundle(bundle)
    assert any("metrics.json: has more than" in problem for problem in facts["problems"])
    assert any("was not checked" in problem or "not as it was" in problem for problem in facts["problems"])


def test_a_link_out_of_the_bundle_is_not_followed(bundle, tmp_path, capsys):
    (tmp_path / "secret.json").write_text('{"tests": {"test": {"BLEU": {"value": "secret"}}}}')
    (bundle / "metrics.json").unlink()
    (bundle / "metrics.json").symlink_to(tmp_path / "secret.json")
    code, told = info(bundle, capsys)
    assert code == 1
    assert "secret" not in told.out.replace("secret.json", "")
    assert "is a link out of the bundle" in told.out


def test_bad_paths(bundle, tmp_path, capsys):
    for path, message in (
        (tmp_path / "none", "there is no such folder"),
        (bundle / "config.json", "is a file; give the folder that it is in"),
        (tmp_path, "is neither a bundle (no config.json) nor a run (no run.json)"),
    ):
        if path == tmp_path:
            shutil.rmtree(bundle)
        code, told = info(path, capsys)
        assert code == 2
        assert message in told.err
        assert told.err.count("\n") == 1


def test_it_is_known_without_torch(bundle, capsys, monkeypatch):
    for name in ("torch", "pytorch_lightning", "hydra", "safetensors"):
        monkeypatch.setitem(sys.modules, name, None)
    assert info(bundle, capsys)[0] == 0


SETTINGS = """\
task: {name: translation}
trainer: {max_epochs: 5, max_steps: -1}
callbacks: {checkpoint: {monitor: val_bleu, mode: max}}
"""


def make_run(folder: Path, status: str, **values: object) -> Path:
    folder.mkdir(parents=True)
    record = {
        "status": status,
        "error": None,
        "name": "toy",
        "seed": 1,
        "overrides": ["cell=lstm", "seed=3"],
        "test": {},
        "parameters": 1234,
    }
    (folder / "run.json").write_text(json.dumps(record | values))
    (folder / "hparams.yaml").write_text(SETTINGS)
    rows = [
        {"epoch": 0, "step": 9, "val_bleu": 10.5, "val_loss": 3},
        {"epoch": 1, "step": 19, "val_bleu": 12.5, "val_loss": 2},
        {"epoch": 2, "step": 29, "val_bleu": 11.5, "val_loss": 1},
        {"epoch": 3, "step": 33, "val_bleu": "", "val_loss": ""},
    ]
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        file.write("3,3")  # half a row
    return folder


def test_a_run_in_training(tmp_path, capsys):
    folder = make_run(tmp_path / "run", "running")
    with claim(folder):
        code, told = info(folder, capsys)
    assert code == 0
    words = " ".join(told.out.split())
    for expected in (
        "status running",
        "epoch 4 of 5",
        "step 34 ",
        "val_bleu 11.5",
        "val_bleu 12.5 epoch 2",
        "cell lstm",
    ):
        assert expected in words
    assert "it is training now" in words


def test_a_run_that_was_killed(tmp_path, capsys):
    folder = make_run(tmp_path / "my run", "running")
    (folder / ".lock").touch()
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").touch()
    code, told = info(folder, capsys)
    assert code == 1
    assert "killed" in told.out
    assert f"seq2seq train resume='{folder}' resumes it" in told.out
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [".lock", "checkpoints", "hparams.yaml", "metrics.csv", "run.json"]
    )


def test_a_run_that_failed(tmp_path, capsys):
    folder = make_run(tmp_path / "run", "failed", error="no \x1b[31msuch file")
    code, told = info(folder, capsys)
    assert code == 1
    assert "problem: no \\x1b[31msuch file" in told.out
    assert "no checkpoint: from the beginning" in told.out


def test_a_finished_run(tmp_path, bundle, capsys):
    tests = {"test": {"BLEU": {"value": 33.3, "low": 30.0, "high": 35.0, "signature": "nrefs:1"}}}
    folder = make_run(tmp_path / "run", "finished", tests=tests)
    shutil.copytree(bundle, folder / "bundle")
    code, told = info(folder, capsys)
    assert code == 0
    assert "33.30 [30.00, 35.00]  nrefs:1" in told.out
    assert f"init_from={folder}/bundle" in told.out


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("hparams.yaml", "a: [1"),
        ("hparams.yaml", "callbacks: []"),
        ("hparams.yaml", "!!python/object/apply:os.system ['touch owned']"),
        ("metrics.csv", ""),
        ("metrics.csv", "\0\0"),
        ("metrics.csv", "epoch,step\nnan,inf\n"),
    ],
)
def test_damaged_files_of_a_run(tmp_path, name, content, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = make_run(tmp_path / "run", "finished")
    (folder / name).write_text(content)
    assert info(folder, capsys)[0] == 0
    assert not (tmp_path / "owned").exists()


def test_a_damaged_record(tmp_path, capsys):
    folder = make_run(tmp_path / "run", "finished")
    (folder / "run.json").write_text("{")
    code, told = info(folder, capsys)
    assert code == 2
    assert "run.json: is not JSON" in told.err


def test_a_sweep_is_for_the_leaderboard(tmp_path, capsys):
    sweep = tmp_path / "sweep"
    for i, status in enumerate(("finished", "finished", "failed")):
        make_run(sweep / str(i), status)
    (sweep / "3").mkdir()
    (sweep / "3" / "run.json").write_text("[]")
    code, told = info(sweep, capsys)
    assert code == 0
    for expected in ("runs", "4", "finished", "failed", "unreadable", f"seq2seq leaderboard {sweep}"):
        assert expected in told.out
    assert "seq2seq leaderboard" in info(tmp_path, capsys)[1].out  # a folder of sweeps


def test_lines_are_bounded():
    facts = {"long": "x" * 10_000, "many": {str(i): i for i in range(1000)}, "list": list(range(1000)), "none": None}
    shown = list(lines(facts))
    assert len(shown) < 70
    assert max(map(len, shown)) < 2100
    assert printable("a\tb\u2028") == "a\\tb\\u2028"


def test_describing_a_run_needs_no_settings(tmp_path):
    folder = make_run(tmp_path / "run", "interrupted", overrides=None)
    (folder / "hparams.yaml").unlink()
    (folder / "metrics.csv").unlink()
    facts = describe_run(folder)
    assert facts["status"] == "interrupted"
    assert facts["progress"] == {"steps": "none was logged yet"}
