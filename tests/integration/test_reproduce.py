"""A bundle records how it was trained, and `seq2seq reproduce` trains it again; a hostile command is not run."""

import json
import shlex

import pytest

from experiments.reliability import kill
from seq2seq.bundle.format import read_provenance
from seq2seq.cli.main import main
from seq2seq.cli.reproduce import recorded
from seq2seq.errors import UserError
from seq2seq.nn import matmul_library


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def bundle(tmp_path):
    given = [*kill.PAIRS, *kill.SMALL, *kill.corpus(tmp_path / "data", "translation"), "trainer.max_epochs=1"]
    assert main(["train", *given, f"hydra.run.dir={tmp_path / 'a'}", "resume=auto"]) == 0
    return tmp_path / "a" / "bundle"


def test_the_same_command_gives_the_same_bytes(bundle, tmp_path, capsys, monkeypatch):
    provenance, _ = read_provenance(bundle)
    assert {"torch", "python", "lightning", "seq2seq", "git_revision", "seed", "threads", "data_fingerprint"} <= set(
        provenance
    )
    assert provenance["products"] == matmul_library.name()
    command = shlex.split(provenance["command"])
    assert command[:2] == ["seq2seq", "train"]
    assert "resume=auto" not in command
    capsys.readouterr()
    assert main(["reproduce", str(bundle)]) == 0
    shown = capsys.readouterr().out
    assert shlex.split(shown.split("\n")[0]) == command
    assert "warning" not in shown
    monkeypatch.setattr(matmul_library, "used", "the other library, on a machine where that is faster")
    monkeypatch.delenv("SEQ2SEQ_PRODUCTS", raising=False)
    assert main(["reproduce", str(bundle), "--run", "--folder", str(tmp_path / "b")]) == 0
    assert "weights: the same, bit by bit" in capsys.readouterr().out
    weights = [(folder / "model.safetensors").read_bytes() for folder in (bundle, tmp_path / "b" / "bundle")]
    assert weights[0] == weights[1]
    assert matmul_library.used == provenance["products"]


def test_what_differs_is_said(bundle, tmp_path, capsys, monkeypatch):
    from seq2seq.training.records import provenance

    monkeypatch.setattr(provenance, "versions", lambda: {"torch": "9.9"})
    with (tmp_path / "data" / "val.tsv").open("a", encoding="utf-8") as file:
        file.write("ein\teinx\n")
    assert main(["reproduce", str(bundle), "--run", "--folder", str(tmp_path / "b")]) in (0, 1)
    shown = capsys.readouterr().out
    assert ", is 9.9" in shown
    assert "warning: the data differ: their sha256 was" in shown
    with (tmp_path / "data" / "train.tsv").open("a", encoding="utf-8") as file:
        file.write("ein\teinx\n" * 50)
    assert main(["reproduce", str(bundle), "--run", "--folder", str(tmp_path / "c")]) == 1
    assert "weights: others, sha256" in capsys.readouterr().out
    for name in ("train", "val", "test"):
        (tmp_path / "data" / f"{name}.tsv").unlink()
    assert main(["reproduce", str(bundle)]) == 0
    assert "warning: the data cannot be compared: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "word",
    [
        "hydra.run.dir=/tmp/x",
        "+hydra.callbacks.x._target_=os.system",
        "hydra/launcher=joblib",
        "override hydra/launcher@x=joblib",
        "-m",
        "cell@hydra.launcher=lstm",
        "name=${oc.env:HOME}",
        "--config-path=/tmp",
        "trust=[evil]",
        "++trust=[good, evil]",
    ],
)
def test_a_command_that_does_more_than_train_is_not_run(word):
    with pytest.raises(UserError, match="would do more than train"):
        recorded({"command": shlex.join(["seq2seq", "train", "cell=lstm", word])}, ["good"], None)


@pytest.mark.parametrize(
    "command", [None, 3, "rm -rf x", "seq2seq score a", "seq2seq train \x1b[2J", "", "seq2seq train 'a", "x\\"]
)
def test_what_is_no_command_of_ours_is_not_run(command):
    with pytest.raises(UserError):
        recorded({"command": command}, [], None)


def test_what_a_user_allows_is_run(tmp_path):
    command = shlex.join(["seq2seq", "train", "--config-dir=conf", "cell=leaky", "trust=[mine]"])
    assert recorded({"command": command, "threads": 3}, ["mine"], tmp_path) == [
        "cell=leaky",
        "trust=[mine]",
        "trainer.threads=3",
    ]
    with pytest.raises(UserError, match="--config-dir"):
        recorded({"command": command}, ["mine"], None)


def test_a_run_of_the_users_own_yaml_says_so(tmp_path, monkeypatch):
    (tmp_path / "my" / "optimizer").mkdir(parents=True)
    (tmp_path / "my" / "optimizer" / "slow.yaml").write_text("name: sgd\nlr: 0.01\n")
    given = [*kill.PAIRS, *kill.SMALL, *kill.corpus(tmp_path / "data", "translation"), "trainer.max_steps=1"]
    given = [word for word in given if not word.startswith("optimizer.")]
    folder = tmp_path / "a"
    assert (
        main(["train", "--config-dir", str(tmp_path / "my"), "optimizer=slow", *given, f"hydra.run.dir={folder}"]) == 0
    )
    assert json.loads((folder / "run.json").read_bytes())["options"] == [f"--config-dir={tmp_path / 'my'}"]
    bundle = str(folder / "bundle")
    assert main(["reproduce", bundle]) == 2
    again = ["--run", "--folder", str(tmp_path / "b"), "--config-dir", str(tmp_path / "my")]
    assert main(["reproduce", bundle, *again]) == 0
