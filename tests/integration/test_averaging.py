"""Means of weights: during training (EMA) against a plain mean, and of checkpoints and bundles afterwards."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from pytorch_lightning.callbacks import Callback
from safetensors.torch import load_file

from seq2seq import Translator
from seq2seq.bundle.averaging import checkpoint_parts, mean
from seq2seq.bundle.format import load_bundle
from seq2seq.cli.main import main
from seq2seq.inference.forced_decoding import ForcedDecoder
from seq2seq.training import setup
from seq2seq.training.records.run_record import claim
from seq2seq.training.task_module import TaskModule
from tests.bundles import save
from tests.integration.test_training import _cache, corpus, run  # noqa: F401


class Weights(Callback):
    """The weights after every optimizer step."""

    def __init__(self):
        self.steps = []

    def on_train_batch_end(self, trainer, task, *_):
        self.steps.append({name: value.detach().clone() for name, value in task.model.named_parameters()})


@pytest.fixture
def recorder(monkeypatch):
    recorder, make = Weights(), setup.make_callbacks
    monkeypatch.setattr(setup, "make_callbacks", lambda *a, **k: [*make(*a, **k), recorder])
    return recorder


SMALL = ["data.batch_tokens=60", "data.max_length=20"]


def val_pairs(overrides):
    path = next(o for o in overrides if o.startswith("data.corpus.val=")).partition("=")[2]
    return [tuple(line.split("\t")) for line in Path(path).read_text().split("\n")[:-1]]


@pytest.mark.parametrize(("decay", "every"), [(0.8, 1), (0.5, 3)])
def test_validation_checkpoint_and_bundle_have_the_moving_average(corpus, tmp_path, recorder, decay, every):  # noqa: F811
    ema = [f"callbacks.ema.decay={decay}", f"callbacks.ema.update_every_n_steps={every}"]
    assert run(corpus, tmp_path / "a", *SMALL, *ema, "trainer.max_epochs=1") == 0
    assert len(recorder.steps) > 4
    updates = recorder.steps[::every]
    expected = updates[0]
    for weights in updates[1:]:
        expected = {name: decay * expected[name] + (1 - decay) * weights[name] for name in weights}
    bundle = load_file(tmp_path / "a" / "bundle" / "model.safetensors")
    for name, value in bundle.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)
    assert not torch.equal(bundle["source_embedding.weight"], recorder.steps[-1]["source_embedding.weight"])
    found = json.loads((tmp_path / "a" / "run.json").read_text())
    scored = list(ForcedDecoder.load(tmp_path / "a" / "bundle").score(val_pairs(corpus)))
    tokens = sum(len(one.token_log_probs) for one in scored)
    assert found["val_loss"] == pytest.approx(-sum(one.log_prob for one in scored) / tokens, abs=1e-4)


def test_training_itself_does_not_see_the_average(corpus, tmp_path, recorder):  # noqa: F811
    assert run(corpus, tmp_path / "a", *SMALL) == 0
    plain, recorder.steps = recorder.steps, []
    assert run(corpus, tmp_path / "b", *SMALL, "callbacks.ema.decay=0.9") == 0
    assert len(plain) == len(recorder.steps)
    for one, other in zip(plain, recorder.steps, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    speeds = [json.loads((tmp_path / name / "run.json").read_text())["tokens_per_second"] for name in "ab"]
    assert min(speeds) > 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("callbacks.ema.decay=1.5", "callbacks.ema.decay=1.5: must be a number above 0 and below 1"),
        ("callbacks.ema.update_every_n_steps=0", "update_every_n_steps=0: must be a whole number"),
        ("+callbacks.ema.dekay=0.9", "did you mean callbacks.ema.decay"),
    ],
)
def test_mistakes_in_a_moving_average(corpus, tmp_path, override, message, capfd):  # noqa: F811
    assert run(corpus, tmp_path / "a", override, "trainer.max_steps=1") == 2
    assert message in capfd.readouterr().err


def test_checkpoints_of_a_run(corpus, tmp_path, capsys):  # noqa: F811
    """The kept ones are named by step and metric; the mean of two is the mean, and it translates."""
    folder = tmp_path / "a"
    kept = ["callbacks.checkpoint.save_top_k=3", "trainer.max_epochs=4", "callbacks.checkpoint.monitor=val_loss"]
    assert run(corpus, folder, *SMALL, *kept, "callbacks.checkpoint.mode=min") == 0
    best, last = checkpoint_parts(folder, best=2), checkpoint_parts(folder, last=3)
    states = {part.name: torch.load(part.checkpoint, weights_only=True) for part in (*best, *last)}
    losses = [states[part.name]["seq2seq_metrics"]["val_loss"] for part in best]
    assert losses == sorted(state["seq2seq_metrics"]["val_loss"] for state in states.values())[:2]
    steps = [states[part.name]["global_step"] for part in last]
    assert steps == sorted(set(steps), reverse=True)
    capsys.readouterr()
    assert main(["average", str(folder), str(tmp_path / "mean"), "--best", "2"]) == 0
    assert f"step {steps[0]}, val_loss" in capsys.readouterr().out
    made = load_file(tmp_path / "mean" / "model.safetensors")
    for name, value in made.items():
        parts = [states[part.name]["state_dict"][f"model.{name}"] for part in best]
        torch.testing.assert_close(value, (parts[0] + parts[1]) / 2)
    bundle = load_bundle(tmp_path / "mean")
    assert bundle.provenance["averaged"] == [part.name for part in best]
    assert bundle.provenance["command"] == f"seq2seq average {folder} {tmp_path / 'mean'} --best 2"
    assert bundle.metrics == {"tests": {}}
    card = (tmp_path / "mean" / "README.md").read_text()
    assert best[1].name in card
    assert "not measured" in card
    assert Translator.load(tmp_path / "mean").translate(["ein zwei"])
    assert main(["average", str(folder), str(tmp_path / "more"), "--last", "9"]) == 2
    assert "save_top_k=9" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_that_was_stopped_gives_its_best_checkpoint(corpus, tmp_path, capsys, monkeypatch):  # noqa: F811
    """The bundle is that of the whole run, but for its weights, its scores and what it says of itself."""
    folder, original = tmp_path / "a", TaskModule.training_step
    command = ["average", str(folder), str(tmp_path / "best"), "--best", "1"]

    def train_until(epoch, *more):
        def step(self, batch, index):
            if self.trainer.current_epoch == epoch and index == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            return original(self, batch, index)

        monkeypatch.setattr(TaskModule, "training_step", step)
        return run(corpus, folder, *SMALL, *more)

    assert train_until(0) == 75
    assert main(command) == 2
    assert "ended before a validation chose a checkpoint; resume it" in capsys.readouterr().err
    assert train_until(1, "resume=auto") == 75
    assert not (folder / "bundle").exists()
    with claim(folder):
        assert main(command) == 2
    assert "another process is training here" in capsys.readouterr().err
    assert main(command) == 0
    (part,) = checkpoint_parts(folder, best=1)
    state = torch.load(part.checkpoint, weights_only=True)
    for name, value in load_file(tmp_path / "best" / "model.safetensors").items():
        torch.testing.assert_close(value, state["state_dict"][f"model.{name}"])
    assert "One checkpoint of a training run." in (tmp_path / "best" / "README.md").read_text()
    assert train_until(9, "resume=auto") == 0
    found, complete = load_bundle(tmp_path / "best"), load_bundle(folder / "bundle")
    assert (found.config, found.search, found.task) == (complete.config, complete.search, complete.task)
    assert found.tokenizers.target.fingerprint == complete.tokenizers.target.fingerprint
    assert found.provenance["data_statistics"] == complete.provenance["data_statistics"]
    assert Translator.load(tmp_path / "best").translate(["ein zwei"])


def test_bundles(tmp_path, capsys):
    names = ["a", "b", "c"]
    models = [save(tmp_path / name, seed=seed, head="tied") for seed, name in enumerate(names)]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    (tmp_path / "c").rename(tmp_path / "run" / "bundle")
    given = [str(tmp_path / name) for name in ("a", "b", "run")]
    assert main(["average", *given, str(tmp_path / "mean")]) == 0
    printed = capsys.readouterr()
    assert "--ensemble" in printed.err  # three seeds
    assert str(tmp_path / "run" / "bundle") in printed.out
    found = load_bundle(tmp_path / "mean")
    for name, value in found.model.state_dict().items():
        expected = torch.stack([model.state_dict()[name].double() for model in models]).mean(0)
        torch.testing.assert_close(value, expected.float())
    assert found.model.decoder.head.weight is found.model.target_embedding.weight
    assert found.search == load_bundle(tmp_path / "a").search


def test_the_mean_keeps_types_and_counts():
    states = [{"w": torch.tensor([1.0, 2.0]).half(), "n": torch.tensor(3)}, {"w": torch.ones(2).half() * 2, "n": None}]
    states[1]["n"] = torch.tensor(5)
    found = mean(states)
    assert found["w"].dtype == torch.float16
    assert found["w"].tolist() == [1.5, 2.0]
    assert found["n"] == 3
    assert states[0]["w"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("second", "arguments", "message"),
    [
        ({"joint": False}, [], "different target vocabularies: 18 tokens"),
        ({"context": "additive"}, [], "has context._target_='seq2seq.nn.contexts.fixed.FixedContext'"),
        ({"decoder": {"hidden_size": 10}}, [], "decoder.hidden_size=8"),
        ({}, ["a"], "b is given twice"),
        ({}, ["--best", "2"], "has no checkpoints/"),
        ({}, ["--last", "0"], "--last 0: must be at least 1"),
        ({}, ["--last", "1", "--best", "1"], "not allowed with argument"),
    ],
)
def test_what_is_not_averaged(tmp_path, second, arguments, message, capsys, monkeypatch):
    save(tmp_path / "a")
    save(tmp_path / "b", **second)
    monkeypatch.chdir(tmp_path)
    inputs = ["b", "b"] if arguments == ["a"] else ["a", "b"]
    options = [] if arguments == ["a"] else arguments
    assert main(["average", *inputs, "mean", *options]) == 2
    assert message in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_what_differs_in_training_only_is_averaged(tmp_path):
    save(tmp_path / "a", embedding={"dropout": 0.3}, decoder={"path": "step"})
    save(tmp_path / "b")
    assert main(["average", str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "mean")]) == 0


def test_one_model_and_a_damaged_checkpoint(tmp_path, capsys):
    save(tmp_path / "run" / "bundle")
    (tmp_path / "run" / "checkpoints").mkdir()
    (tmp_path / "run" / "checkpoints" / "x.ckpt").write_bytes(b"half")
    assert main(["average", str(tmp_path / "run" / "bundle"), str(tmp_path / "mean")]) == 2
    assert "its own mean" in capsys.readouterr().err
    assert main(["average", str(tmp_path / "run"), str(tmp_path / "mean"), "--last", "2"]) == 2
    assert "x.ckpt: is damaged, or no checkpoint" in capsys.readouterr().err
