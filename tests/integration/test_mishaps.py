"""Training through losses that are not finite and batches that memory does not hold."""

import json

import pytest
import torch
from safetensors.torch import load_file

from experiments.reliability import kill
from seq2seq.cli.main import main
from seq2seq.training.tasks.language_modeling import LanguageModelingModule
from seq2seq.training.tasks.translation import TranslationModule

TRANSLATION, _, LANGUAGE_MODEL = kill.JOBS.values()
STILL = ["embedding.dropout=0", "encoder.dropout=0", "head.dropout=0", "trainer.precision=64-true", "optimizer=sgd"]


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def train(tmp_path):
    def run(name, *overrides, job=kill.PAIRS):
        data = kill.corpus(tmp_path / "data", "language" if job is LANGUAGE_MODEL else "translation")
        given = [*job, *kill.SMALL, *data, "trainer.max_epochs=1", *overrides]
        return main(["train", *given, f"hydra.run.dir={tmp_path / name}"])

    return run


@pytest.fixture
def on_loss(monkeypatch):
    """Change the training loss of the batches with these numbers."""

    def install(change, numbers, task=TranslationModule):
        original, count = task.loss, iter(range(1_000_000))

        def loss(self, batch, *, training):
            total, tokens = original(self, batch, training=training)
            return (change(total) if training and next(count) in numbers else total), tokens

        monkeypatch.setattr(task, "loss", loss)

    return install


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_bad_batches_are_skipped_and_counted(train, on_loss, tmp_path, bad, accumulate):
    on_loss(lambda total: total + bad, {3, 4, 5})
    assert train("a", f"trainer.accumulate_grad_batches={accumulate}") == 0
    rows = kill.rows(tmp_path / "a" / "metrics.csv")
    assert max(float(row.get("skipped_steps", 0)) for row in rows) == {1: 3, 2: 2}[accumulate]
    weights = load_file(tmp_path / "a" / "bundle" / "model.safetensors")
    assert all(weight.isfinite().all() for weight in weights.values())


@pytest.mark.parametrize("job", [kill.PAIRS, LANGUAGE_MODEL])
def test_too_many_in_a_row_end_the_run_with_their_lines(train, on_loss, tmp_path, capsys, job):
    task = LanguageModelingModule if job is LANGUAGE_MODEL else TranslationModule
    on_loss(lambda total: total * torch.nan, set(range(6, 1000)), task)
    assert train("a", "callbacks.skipped_in_a_row=5", "trainer.log_every_n_steps=1", job=job) == 2
    error = capsys.readouterr().err
    assert "step 11: loss or gradient was not finite in 5 steps in a row" in error
    header, *rows, last = (tmp_path / "a" / "not_finite.tsv").read_text().split("\n")
    assert header.startswith("epoch\tbatch\tlines")
    assert last == ""
    assert [row.split("\t")[:2] for row in rows] == [["0", str(batch)] for batch in range(6, 11)]
    if job is not LANGUAGE_MODEL:
        lines = [int(line) for row in rows for line in row.split("\t")[2].split(",")]
        assert len(set(lines)) == len(lines)
        assert set(lines) <= set(range(1, 301))
    assert json.loads((tmp_path / "a" / "run.json").read_bytes())["status"] == "failed"


def test_a_healthy_run_logs_no_such_column(train, tmp_path):
    assert train("a") == 0
    assert "skipped" not in (tmp_path / "a" / "metrics.csv").read_text()


class FailsInBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


@pytest.fixture
def memory_of(monkeypatch):
    """Let no batch of more than so many pairs fit, forward or only backward."""

    def install(rows, where):
        original = TranslationModule.loss

        def loss(self, batch, *, training):
            total, count = original(self, batch, training=training)
            if training and len(batch.rows) > rows:
                if where == "forward":
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
                total = FailsInBackward.apply(total)
            return total, count

        monkeypatch.setattr(TranslationModule, "loss", loss)

    return install


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_out_of_memory_names_the_batch_and_what_to_lower(train, memory_of, capsys, where):
    memory_of(5, where)
    assert train("a") == 2
    error = capsys.readouterr().err
    assert "out of memory with a batch of " in error
    assert "source positions" in error
    assert "lower data.batch_tokens or data.max_length, or set trainer.split_out_of_memory=true" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_parts_of_a_batch_train_as_the_batch(train, memory_of, tmp_path, where, accumulate):
    still = [*STILL, f"trainer.accumulate_grad_batches={accumulate}", "+trainer.limit_train_batches=7"]
    assert train("a", *still) == 0
    memory_of(5, where)
    assert train("b", *still, "trainer.split_out_of_memory=true") == 0
    one, two = (load_file(tmp_path / name / "bundle" / "model.safetensors") for name in "ab")
    assert one.keys() == two.keys()
    for key in one:
        torch.testing.assert_close(one[key], two[key], rtol=1e-9, atol=1e-12)


def test_splitting_without_need_changes_nothing(train, tmp_path):
    assert train("a") == 0
    assert train("b", "trainer.split_out_of_memory=true") == 0
    assert kill.lost(tmp_path / "a", tmp_path / "b") == []


def test_a_language_model_is_not_split(train, capsys):
    assert train("a", "trainer.split_out_of_memory=true", job=LANGUAGE_MODEL) == 2
    assert "lower data.batch_size or task.window" in capsys.readouterr().err
