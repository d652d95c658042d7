"""A run that ended anywhere is resumed as if it had not: weights, optimizer, logs; with a message, or why not."""

import errno
import json
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging

from experiments.reliability import kill
from seq2seq.cli.main import main
from seq2seq.corpora import StreamData, Text
from seq2seq.nn import matmul_library
from seq2seq.text import CharacterTrainer
from seq2seq.training import run as training
from seq2seq.training import setup
from seq2seq.training.callbacks import checkpoints
from seq2seq.training.task_module import TaskModule
from tests.forks import Fork

TRANSLATION, ATTENTION, LANGUAGE_MODEL = kill.JOBS.values()
SHORT = "trainer.max_epochs=2"  # of 22 batches, or 28 windows


class Killed(BaseException):
    """Ends a process at once, as far as an exception can."""


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    return tmp_path_factory.mktemp("numbers")


@pytest.fixture
def train(files):
    def run(job, folder, *overrides):
        task = "language" if job is LANGUAGE_MODEL else "translation"
        short = [f"data.corpus.train={files}/val.txt"] if task == "language" else []
        given = [*job, *kill.SMALL, *kill.corpus(files, task), *short, SHORT, *overrides]
        return main(["train", *given, f"hydra.run.dir={folder}"])

    return run


@pytest.fixture
def at_batch(monkeypatch):
    """Do something when so many batches of this process have been trained on."""
    original = TaskModule.training_step

    def install(number, action):
        count = iter(range(1_000_000))

        def step(self, batch, index):
            if next(count) == number:
                action(self)
            return original(self, batch, index)

        monkeypatch.setattr(TaskModule, "training_step", step)

    return install


def killed(_):
    raise Killed


def record(folder):
    return json.loads((folder / "run.json").read_bytes())


@pytest.fixture(scope="session")
def whole(files, tmp_path_factory):
    """The runs that nothing happened to, each made once."""
    made = {}

    def get(job, train, *overrides):
        key = str((job, overrides))
        if key not in made:
            made[key] = tmp_path_factory.mktemp("whole") / "run"
            assert train(job, made[key], *overrides) == 0
        return made[key]

    return get


@pytest.mark.parametrize(
    ("job", "moments"),
    [
        (TRANSLATION, [3]),  # before the first checkpoint
        (TRANSLATION, [13, 10]),  # within an epoch, twice
        (TRANSLATION, [22]),  # the first batch of an epoch, after a validation
        (TRANSLATION, [43]),  # the last batch of an epoch
        (TRANSLATION, [30]),  # after the last validation but one
        (ATTENTION, [10, 25]),
        (ATTENTION, [40]),
        (LANGUAGE_MODEL, [7]),
        (LANGUAGE_MODEL, [16, 15]),
    ],
)
def test_a_run_is_resumed_exactly(train, whole, at_batch, tmp_path, capsys, job, moments):
    for moment in moments:
        at_batch(moment, killed)
        with pytest.raises(Killed):
            train(job, tmp_path / "a", "resume=auto")
    at_batch(-1, killed)
    assert train(job, tmp_path / "a", "resume=auto") == 0
    assert kill.lost(whole(job, train), tmp_path / "a") == []
    assert ("resumes from step" in capsys.readouterr().out) == (moments != [3])


def test_a_moving_average_is_resumed_exactly(train, at_batch, tmp_path, monkeypatch):
    make = setup.make_callbacks
    monkeypatch.setattr(
        setup, "make_callbacks", lambda *a, **k: [*make(*a, **k), EMAWeightAveraging(decay=0.9, use_buffers=False)]
    )
    assert train(TRANSLATION, tmp_path / "whole") == 0
    at_batch(30, killed)
    with pytest.raises(Killed):
        train(TRANSLATION, tmp_path / "a")
    library = record(tmp_path / "a")["products"]
    monkeypatch.setattr(matmul_library, "used", "the other library, on a machine where that is faster")
    monkeypatch.delenv("SEQ2SEQ_PRODUCTS", raising=False)
    at_batch(-1, killed)
    assert train(TRANSLATION, tmp_path / "a", "resume=auto") == 0
    assert kill.lost(tmp_path / "whole", tmp_path / "a") == []
    state = torch.load(tmp_path / "a" / "checkpoints" / "last.ckpt", weights_only=True)
    assert "averaging_state" in state
    assert matmul_library.used == record(tmp_path / "a")["products"] == library


@pytest.mark.slow
def test_restarts_from_the_best_checkpoint_go_on_exactly(train, at_batch, tmp_path, capsys):
    """Killed after the return, and at the batch that begins with it; by a metric that never improves."""
    plateau = ["scheduler=plateau", "scheduler.restart=true", "scheduler.patience=0", "optimizer.lr=1.0"]
    plateau += ["trainer.val_check_interval=5", "trainer.max_epochs=3"]
    assert train(TRANSLATION, tmp_path / "whole", *plateau) == 0
    assert "restarts from" in capsys.readouterr().out
    for moment in (50, 10):
        at_batch(moment, killed)
        with pytest.raises(Killed):
            train(TRANSLATION, tmp_path / "a", *plateau, "resume=auto")
    at_batch(-1, killed)
    assert train(TRANSLATION, tmp_path / "a", *plateau, "resume=auto") == 0
    assert kill.lost(tmp_path / "whole", tmp_path / "a") == []


def test_validations_change_nothing_in_training(train, whole, tmp_path):
    """Randomness is a function of seed, epoch and batch: looking at val more often gives the same weights."""
    assert train(TRANSLATION, tmp_path / "a", "trainer.val_check_interval=5") == 0
    losses = [
        {row["step"]: row["train_loss"] for row in kill.rows(folder / "metrics.csv") if "train_loss" in row}
        for folder in (whole(TRANSLATION, train), tmp_path / "a")
    ]
    assert losses[0] == losses[1]


def test_a_finished_run_is_left_as_it_is(train, tmp_path, capsys):
    folder = tmp_path / "a"
    assert train(TRANSLATION, folder, f"init_from={tmp_path}/missing") == 2
    assert record(folder)["status"] == "failed"  # and the corrected command is given again
    assert train(TRANSLATION, folder, "trainer.max_steps=2") == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "hydra" not in path.parts}
    assert train(TRANSLATION, folder, "resume=auto") == 0
    assert "holds a finished run; nothing is left to do" in capsys.readouterr().out
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and "hydra" not in p.parts}
    for refused in ([], ["resume=auto", "encoder.hidden_size=abc"]):
        assert train(TRANSLATION, folder, *refused) == 2
        assert record(folder)["status"] == "finished"
    assert "already holds a run; resume it (resume=auto)" in capsys.readouterr().err


def test_a_run_killed_while_it_is_scored_does_not_train_again(train, at_batch, tmp_path, monkeypatch):
    folder, finish = tmp_path / "a", training.finish
    monkeypatch.setattr(training, "finish", lambda *_: killed(None))
    with pytest.raises(Killed):
        train(TRANSLATION, folder)
    rows = kill.rows(folder / "metrics.csv")
    monkeypatch.setattr(training, "finish", finish)
    at_batch(0, killed)
    assert train(TRANSLATION, folder, "resume=auto") == 0
    assert record(folder)["status"] == "finished"
    assert kill.rows(folder / "metrics.csv") == rows
    assert record(folder)["val_loss"] is not None


SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NAME": "job",
    "SLURM_NTASKS": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}


@pytest.mark.parametrize(
    ("name", "variables"), [("SIGTERM", {}), ("SIGUSR1", {}), ("SIGUSR1", SLURM), ("SIGTERM", SLURM)]
)
def test_a_signal_writes_a_checkpoint_and_ends_with_75(
    train, whole, at_batch, tmp_path, capsys, monkeypatch, name, variables
):
    """On SLURM, too, where Lightning would write a checkpoint of its own and requeue the job."""
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1)
    at_batch(17, lambda _: os.kill(os.getpid(), getattr(signal, name)))
    assert train(TRANSLATION, tmp_path / "a") == 75
    assert f"stopped by {name}; the same command with resume=auto resumes it" in capsys.readouterr().err
    assert before == (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1))
    assert record(tmp_path / "a")["status"] == "interrupted"
    assert kill.steps_of(tmp_path / "a") == 18
    assert not list(tmp_path.rglob("hpc_ckpt*"))
    at_batch(-1, killed)
    assert train(TRANSLATION, tmp_path / "a", "resume=auto") == 0
    assert kill.lost(whole(TRANSLATION, train), tmp_path / "a") == []


def test_sigterm_does_not_wait_for_a_validation(train, whole, tmp_path, monkeypatch):
    original = TaskModule.validation_step

    def step(self, batch, index):
        os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(TaskModule, "validation_step", step)
        assert train(TRANSLATION, tmp_path / "a") == 75
    assert kill.steps_of(tmp_path / "a") == 21
    assert train(TRANSLATION, tmp_path / "a", "resume=auto") == 0
    assert kill.lost(whole(TRANSLATION, train), tmp_path / "a") == []


def test_the_folder_of_a_run_is_enough_also_when_it_was_moved(train, whole, at_batch, tmp_path):
    at_batch(30, killed)
    with pytest.raises(Killed):
        train(TRANSLATION, tmp_path / "a")
    at_batch(-1, killed)
    shutil.move(tmp_path / "a", tmp_path / "b, moved")
    assert main(["train", f"resume={tmp_path / 'b, moved'}"]) == 0
    assert kill.lost(whole(TRANSLATION, train), tmp_path / "b, moved") == []


def test_an_earlier_checkpoint_can_be_named(train, whole, at_batch, tmp_path):
    at_batch(16, killed)
    with pytest.raises(Killed):
        train(TRANSLATION, tmp_path / "a")
    kept = shutil.copy(tmp_path / "a" / "checkpoints" / "last.ckpt", tmp_path / "a" / "checkpoints" / "kept.ckpt")
    at_batch(20, killed)
    with pytest.raises(Killed):
        train(TRANSLATION, tmp_path / "a", "resume=auto")
    at_batch(-1, killed)
    assert main(["train", f"resume={kept}"]) == 0
    assert kill.lost(whole(TRANSLATION, train), tmp_path / "a") == []


def full_disk(monkeypatch, name, after):
    """From the `after`-th on, files of this name are on a full disk."""
    original, count = checkpoints.os.fsync, iter(range(1_000_000))

    def fsync(descriptor):
        if name in os.readlink(f"/proc/self/fd/{descriptor}") and next(count) >= after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(descriptor)

    monkeypatch.setattr(checkpoints.os, "fsync", fsync)


@pytest.mark.parametrize(
    ("name", "after", "stands"), [("last.ckpt", 2, 14), ("last.ckpt", 0, None), ("val_loss", 0, 21)]
)
def test_the_last_checkpoint_survives_a_full_disk(train, whole, tmp_path, monkeypatch, capsys, name, after, stands):
    with monkeypatch.context() as patch:
        full_disk(patch, name, after)
        assert train(TRANSLATION, tmp_path / "a") == 2
    error = capsys.readouterr().err
    assert "No space left on device" in error
    assert ("last.ckpt is as it was" in error) == (stands is not None)
    assert kill.steps_of(tmp_path / "a") == stands
    assert not list((tmp_path / "a").rglob("*.partial"))
    assert record(tmp_path / "a")["status"] == "failed"
    assert train(TRANSLATION, tmp_path / "a", "resume=auto") == 0
    assert kill.lost(whole(TRANSLATION, train), tmp_path / "a") == []


def test_another_model_other_data_and_damaged_files_are_refused(train, files, at_batch, tmp_path, capsys):
    at_batch(16, killed)
    with pytest.raises(Killed):
        train(TRANSLATION, tmp_path / "a")
    at_batch(-1, killed)

    def refused(*overrides):
        assert train(TRANSLATION, tmp_path / "a", *overrides) == 2
        return capsys.readouterr().err

    known = record(tmp_path / "a")
    assert "encoder.hidden_size is 8, but 16 in" in refused("resume=auto", "encoder.hidden_size=8")
    assert record(tmp_path / "a") == known
    assert "seed is 3, but 1" in refused("resume=auto", "seed=3")
    assert "is not the folder of a run" in refused("resume=nowhere")
    assert "no such checkpoint" in refused(f"resume={tmp_path}/a/checkpoints/none.ckpt")
    last = tmp_path / "a" / "checkpoints" / "last.ckpt"
    content = last.read_bytes()
    text = (files / "val.tsv").read_text(encoding="utf-8")
    (files / "val.tsv").write_text(text + "ein\teinx\n", encoding="utf-8")
    try:
        given = [*TRANSLATION, *kill.SMALL, SHORT, *kill_data(files), f"hydra.run.dir={tmp_path}/a", "resume=auto"]
        assert main(["train", *given]) == 2
        assert "the data differ" in capsys.readouterr().err
    finally:
        (files / "val.tsv").write_text(text, encoding="utf-8")
    for damaged in (content[: len(content) // 2], b"", b"nonsense"):
        last.write_bytes(damaged)
        assert "is damaged, or no checkpoint" in refused("resume=auto")
    torch.save({"state_dict": {}}, last)
    assert "older seq2seq" in refused("resume=auto")
    torch.save({"seq2seq": Path("/")}, last)
    assert "is damaged, or no checkpoint" in refused("resume=auto")


def kill_data(files):
    given = kill.corpus(files / "same", "translation")
    return [override.replace(f"{files}/same", str(files)) for override in given]


def test_longer_training_is_no_other_run(train, at_batch, tmp_path):
    at_batch(30, killed)
    with pytest.raises(Killed):
        train(TRANSLATION, tmp_path / "a")
    at_batch(-1, killed)
    assert train(TRANSLATION, tmp_path / "a", "resume=auto", "trainer.max_epochs=3") == 0
    assert max(int(row["epoch"]) for row in kill.rows(tmp_path / "a" / "metrics.csv")) == 2


def test_tensorboard_and_wandb_go_on(train, at_batch, tmp_path):
    loggers = ["logger=[tensorboard,wandb]", "logger.wandb.project=tests"]
    at_batch(17, killed)
    with pytest.raises(Killed):
        train(TRANSLATION, tmp_path / "a", *loggers)
    name = (tmp_path / "a" / "wandb" / "id").read_text()
    at_batch(-1, killed)
    assert train(TRANSLATION, tmp_path / "a", *loggers, "resume=auto") == 0
    assert (tmp_path / "a" / "wandb" / "id").read_text() == name
    assert len(list((tmp_path / "a" / "wandb").glob(f"*run*-{name.strip()}"))) >= 1
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "a" / "tensorboard"), purge_orphaned_data=True).Reload()
    steps = [event.step for event in events.Scalars("train_loss")]
    assert steps == sorted(set(steps))


def test_a_stream_is_resumed_at_any_window(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("to be or not to be\n" * 60, encoding="utf-8")
    data = StreamData(Text(train=str(path)), CharacterTrainer(), seed=1, window=4, batch_size=3)
    data.prepare_data()
    every = list(data.train_dataloader())
    for number in range(len(every)):
        data.trainer = SimpleNamespace(fit_loop=SimpleNamespace(batch_idx=number - 1), global_rank=0, world_size=1)
        rest = list(data.train_dataloader())
        assert len(rest) == len(every) - number
        assert all(
            torch.equal(a.inputs, b.inputs) and a.begin == b.begin for a, b in zip(rest, every[number:], strict=True)
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", list(kill.JOBS)[::2])
def test_processes_are_killed(tmp_path, monkeypatch, name):
    """The short form of `python -m experiments.reliability.kill`."""

    def start(overrides, folder):
        command = ["-m", "seq2seq", "train", *overrides, f"hydra.run.dir={folder}", "resume=auto"]
        return Fork(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, merge=True)

    monkeypatch.setattr(kill, "start", start)
    found = kill.study(name, kill.JOBS[name], tmp_path, kills=3, seed=5, steps=150)
    assert found.lost == []


def test_the_page_holds_the_numbers_that_were_recorded():
    page = (kill.HERE / "README.md").read_text(encoding="utf-8")
    found = json.loads((kill.HERE / "kill.json").read_bytes())
    assert list(found) == list(kill.JOBS)
    assert kill.markdown(found) in page
