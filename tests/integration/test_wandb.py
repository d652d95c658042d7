"""What wandb is told, read back from the files that it writes offline: good runs, failing runs, sweeps."""

import json
import sys
import time
from pathlib import Path

import pytest

from seq2seq.cli.main import main
from seq2seq.training.configuration.wandb_options import resolve
from seq2seq.training.records.loggers import log_leaderboard, make_loggers
from seq2seq.training.records.wandb_logger import RunLogger, finish_run, start_run
from tests.forks import PATIENCE
from tests.wandb_file import WandbRun, read, without_account

pytestmark = pytest.mark.slow


@pytest.fixture
def _no_account(tmp_path, monkeypatch):
    without_account(monkeypatch, tmp_path)


@pytest.fixture
def command(tmp_path, _no_account, monkeypatch):
    for split in ("train", "val"):
        (tmp_path / f"{split}.tsv").write_text("ein\tone\nzwei drei\ttwo three\n" * 20)
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path / "cache"))
    data = ["data=tsv", "data.corpus.source_language=de", "data.corpus.target_language=en", "tokenizer=whitespace"]
    data += [f"data.corpus.{split}={tmp_path}/{split}.tsv" for split in ("train", "val")]
    data += [f"data.corpus.tests={{test: {tmp_path}/val.tsv}}", "logger=wandb", "logger.wandb.tags=[a,b]"]
    small = ["embedding.size=4", "encoder.hidden_size=4", "decoder.hidden_size=8", "trainer.max_epochs=2"]
    small += ["trainer.threads=1", "trainer.enable_progress_bar=false", "trainer.log_every_n_steps=1"]
    return ["train", *data, *small, "trainer.accelerator=cpu", "context=additive", "search.beam_size=1"]


def whole(folder: Path) -> WandbRun:
    """The run in `folder`, once wandb's own process has written its end."""
    until = time.monotonic() + PATIENCE
    while (found := read(folder)).exit_code is None and time.monotonic() < until:
        time.sleep(0.1)
    return found


def test_a_run_and_its_sweep(command, tmp_path):
    folder = tmp_path / "sweep"
    assert main([command[0], "-m", *command[1:], "seed=1,2", f"hydra.sweep.dir={folder}"]) == 0
    assert "wandb" in sys.modules
    found = whole(folder / "0")
    assert found.exit_code == 0
    assert found.run.run_group == "sweep"
    assert found.run.display_name == "default-tsv-0"
    assert found.run.project == "seq2seq"
    assert list(found.run.tags) == ["a", "b"]
    assert found.run.run_id == (folder / "0" / "wandb" / "id").read_text().strip()
    assert found.config["encoder"]["cell"]["_target_"] == "seq2seq.nn.cells.GRU"
    assert found.config["seed"] == 1

    record = json.loads((folder / "0" / "run.json").read_text())
    curve = [row["val_loss"] for row in found.history if "val_loss" in row]
    assert len(curve) == 2
    assert min(abs(value - record["val_loss"]) for value in curve) < 1e-6
    assert any("train_loss" in row for row in found.history)
    assert found.summary["test/BLEU"] == record["test"]["BLEU"]["value"]
    logged = {key.rpartition("/")[0] for row in found.history for key in row if key.endswith("/_type")}
    assert {"samples", "pictures/attention", "pictures/curves"} <= logged

    board = whole(folder / ".leaderboard")
    assert (board.exit_code, board.run.run_group, board.run.job_type) == (0, "sweep", "leaderboard")
    (path,) = (folder / ".leaderboard").rglob("leaderboard*.table.json")
    table = json.loads(path.read_text())
    assert table["columns"][:3] == ["run", "seed", "status"]
    assert sorted(row[1:3] for row in table["data"]) == [[1.0, "finished"], [2.0, "finished"]]
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"0", "1", ".leaderboard"}  # no job is invented


def test_a_run_that_fails(command, tmp_path, monkeypatch):
    def finish(*_):
        raise RuntimeError("the disk is full of numbers")

    monkeypatch.setattr("seq2seq.training.run.finish", finish)
    with pytest.raises(RuntimeError, match="full of numbers"):  # a mistake of this project keeps its traceback
        main([*command, f"hydra.run.dir={tmp_path / 'run'}"])
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["status"], record["error"]) == ("failed", "RuntimeError: the disk is full of numbers")
    found = whole(tmp_path / "run")
    assert found.exit_code == 1
    assert found.config["seed"] == 1
    assert any("val_loss" in row for row in found.history)
    assert (tmp_path / "run" / "metrics.csv").exists()  # everything is also local


@pytest.mark.usefixtures("_no_account")
def test_a_run_that_is_resumed_keeps_its_id(tmp_path):
    ids = []
    for folder in (tmp_path / "a", tmp_path / "a", tmp_path / "b"):
        ids.append(make_loggers({"wandb": {"tags": None}}, folder, "x")[1].version)
        finish_run(0)
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.usefixtures("_no_account")
def test_the_leaderboard_of_a_sweep_that_is_resumed_is_one_run(tmp_path):
    (tmp_path / "leaderboard.csv").write_text("run,BLEU,error\n0,12.5,\n1,,no luck\n")
    (tmp_path / "leaderboard.png").write_bytes(
        (Path(__file__).parents[2] / "experiments/multi30k/curves.png").read_bytes()
    )
    for _ in range(2):
        log_leaderboard(tmp_path, {"project": "p", "group": "mine", "tags": []})
    paths = list((tmp_path / ".leaderboard").glob("wandb/offline-run-*/*.wandb"))
    assert len(paths) == 2
    assert len({path.name for path in paths}) == 1
    table = json.loads(next((tmp_path / ".leaderboard").rglob("*.table.json")).read_text())
    assert table["data"] == [[0, 12.5, None], [1, None, "no luck"]]


@pytest.mark.usefixtures("_no_account")
def test_the_environment_names_a_run(tmp_path, monkeypatch):
    names = {"PROJECT": "p", "ENTITY": "e", "RUN_GROUP": "g", "NAME": "n", "RUN_ID": "i", "TAGS": "s,t", "NOTES": "o"}
    for name, value in (names | {"DIR": str(tmp_path / "elsewhere")}).items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("WANDB_MODE", "")  # a shell's way to say "not set"
    start_run(resolve({"group": "mine"}), tmp_path / "run", name="default")
    finish_run(0)
    run = whole(tmp_path / "elsewhere").run
    assert (run.project, run.entity, run.display_name, run.run_id, run.notes) == ("p", "e", "n", "i", "o")
    assert (run.run_group, list(run.tags)) == ("mine", ["s", "t"])
    assert (tmp_path / "run" / "wandb" / "id").read_text() == "i\n"


@pytest.mark.usefixtures("_no_account")
@pytest.mark.parametrize(("name", "value"), [("WANDB_MODE", "disabled"), ("WANDB_DISABLED", "true")])
def test_a_disabled_run_leaves_nothing(name, value, tmp_path, monkeypatch):
    monkeypatch.setenv(name, value)
    assert len(make_loggers({"csv": {}, "wandb": {}}, tmp_path, "x")) == 1
    log_leaderboard(tmp_path, {})
    assert list(tmp_path.rglob("*wandb*")) == []


@pytest.mark.usefixtures("_no_account")
def test_a_server_that_does_not_answer_ends_no_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
    options = resolve({})
    assert options.mode == "online"
    RunLogger(start_run(options, tmp_path, name="x"), tmp_path).log_metrics({"loss": 0.5}, 3)
    finish_run(0)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("seq2seq: wandb: ")]
    assert "logged offline" in line
    assert {"loss": 0.5, "trainer/global_step": 3}.items() <= whole(tmp_path).history[0].items()


@pytest.mark.usefixtures("_no_account")
def test_a_service_that_cannot_start_ends_no_run(tmp_path, monkeypatch, capsys):
    def missing():
        raise OSError("wandb-core: no such file")

    monkeypatch.setattr("wandb.util.get_core_path", missing)
    monkeypatch.setattr("wandb.sdk.lib.service.service_process.get_core_path", missing)
    assert start_run(resolve({}), tmp_path, name="x") is None
    assert (
        capsys.readouterr().err == "seq2seq: wandb: wandb-core: no such file; this run is logged to local files only\n"
    )


def test_a_run_that_is_lost_is_said_once(tmp_path, capsys):
    class Broken:
        project = id = name = "x"
        offline = True
        calls = 0

        def define_metric(self, *_, **__):
            pass

        def log(self, _):
            self.calls += 1
            raise ConnectionError("Connection lost")

    run = Broken()
    logger = RunLogger(run, tmp_path)
    for step in range(3):
        logger.log_metrics({"loss": 1.0}, step)
    assert run.calls == 1
    assert capsys.readouterr().err.count("seq2seq: wandb: Connection lost; ") == 1
