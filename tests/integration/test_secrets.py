"""What the environment holds stays out of what a run writes: a canary is looked for in every byte of its folder."""

import json
import time
from pathlib import Path

import pytest

from seq2seq.bundle.format import load_bundle
from seq2seq.cli.main import main
from seq2seq.runtime.redaction import environment, hide
from tests.bundles import save
from tests.forks import PATIENCE
from tests.integration.test_training import TINY

SECRETS = {
    "WANDB_API_KEY": "a1b2c3d4" * 5,
    "HF_TOKEN": "hf_canaryCANARYcanary",
    "AWS_SECRET_ACCESS_KEY": "canary/aws+secret",
    "MY_PASSWORD": "canary-password",
}
ROWS = "".join(f"ein zwei {i}\tone two {i}\n" for i in range(30))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus in a folder whose name only the environment tells."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    where = tmp_path / "canary-folder"
    monkeypatch.setenv("WHERE_TEXT_IS", str(where))
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    where.mkdir()
    for split in ("train", "val", "test"):
        (where / f"{split}.tsv").write_text(ROWS)
    return tmp_path


OVERRIDES = [
    *TINY,
    "name=run-of-${oc.env:HF_TOKEN}",
    "data.corpus.source_language=de",
    "data.corpus.target_language=en",
    "data.corpus.train=${oc.env:WHERE_TEXT_IS}/train.tsv",
    "data.corpus.tests={test: '${oc.env:WHERE_TEXT_IS}/test.tsv'}",
    "trainer.max_epochs=1",
]


def told(folder: Path) -> list[tuple[str, Path]]:
    canaries = [*SECRETS.values(), "canary-folder"]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 3
    return [(canary, path) for path in files for canary in canaries if canary.encode() in path.read_bytes()]


@pytest.mark.slow
def test_a_run_tells_nothing_of_its_environment(folder: Path) -> None:
    run = folder / "run"
    arguments = ["logger=[csv,tensorboard,wandb]", "logger.wandb.tags=['${oc.env:MY_PASSWORD}']"]
    arguments += ["data.corpus.val=${oc.env:WHERE_TEXT_IS}/val.tsv", f"hydra.run.dir={run}"]
    assert main(["train", *OVERRIDES, *arguments]) == 0
    (log,) = run.rglob("*.wandb")
    until = time.monotonic() + PATIENCE  # its own process writes the file, after the run says that it is finished
    while log.stat().st_size <= 1000 and time.monotonic() < until:
        time.sleep(0.2)
    assert b"optimizer" in log.read_bytes()  # the configuration is there, uncompressed
    assert told(run) == []
    assert "${oc.env:HF_TOKEN}" in (run / "bundle" / "README.md").read_text()
    assert json.loads((run / "run.json").read_text())["status"] == "finished"
    load_bundle(run / "bundle")


def test_a_failure_tells_nothing_of_its_environment(folder: Path) -> None:
    run = folder / "run"
    arguments = [*OVERRIDES, "data.corpus.val=${oc.env:WHERE_TEXT_IS}/none.tsv", f"hydra.run.dir={run}"]
    assert main(["train", *arguments]) == 2
    assert "${oc.env:WHERE_TEXT_IS}/none.tsv: no such file" in json.loads((run / "run.json").read_text())["error"]
    assert told(run) == []


def test_a_bundle_tells_no_secret(folder: Path) -> None:
    save(folder / "b", provenance={"command": f"seq2seq train name={SECRETS['HF_TOKEN']}"})
    assert told(folder / "b") == []


def test_only_values_of_the_environment_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("A_TOKEN", "longer-secret")
    monkeypatch.setenv("B_KEY", "longer")  # within the other: the longest is hidden
    monkeypatch.setenv("C_KEY", "a")  # would be found in everything
    monkeypatch.setenv("PLAIN", "/some/where")
    assert hide({"a": ["x longer-secret", 7, None], "b": "a longer"}) == {
        "a": ["x ${oc.env:A_TOKEN}", 7, None],
        "b": "a ${oc.env:B_KEY}",
    }
    assert environment("PLAIN") == "/some/where"
    assert hide("/some/where/x") == "/some/where/x"
    assert hide("/some/where/x", everything=True) == "${oc.env:PLAIN}/x"
    assert environment("NOT_SET_AT_ALL", "x") == "x"
    with pytest.raises(KeyError, match="NOT_SET_AT_ALL"):
        environment("NOT_SET_AT_ALL")
