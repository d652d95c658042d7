"""What follows from validations whose numbers are given: the best model, the end of a run, its learning rate."""

import math
from pathlib import Path

import pytest
import pytorch_lightning as lightning
import torch
from torch import nn

from seq2seq.corpora.data_module import Batches
from seq2seq.errors import UserError
from seq2seq.training.callbacks.best_models import Best, Patience
from seq2seq.training.callbacks.checkpoints import DurableFiles
from seq2seq.training.configuration import validation_interval
from seq2seq.training.task_module import TaskModule

ADAM = {"name": "adam", "lr": 1.0}
CONSTANT = {"name": "constant", "warmup_steps": 0}
PLATEAU = {"name": "plateau", "monitor": "val_loss", "mode": "min", "factor": 0.5, "patience": 1, "min_lr": 0.0}
NAN = math.nan


class Numbers(lightning.LightningDataModule):
    """So many batches an epoch, and one to validate on."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def train_dataloader(self):
        return Batches(self.batches, lambda: iter([torch.ones(1)] * self.batches))

    def val_dataloader(self):
        return Batches(1, lambda: iter([torch.ones(1)]))


class Scripted(TaskModule):
    """Validation i has the i-th loss and score; `rates` are the learning rates after it, `steps` when it was."""

    def __init__(self, losses=(), scores=(), scheduler=CONSTANT):
        super().__init__(nn.Linear(1, 1), optimizer=ADAM, scheduler=scheduler)
        self.losses, self.scores = losses, scores
        self.rates, self.steps = [], []

    def training_loss(self, batch):
        return self.model(batch).square().sum(), torch.ones((), dtype=torch.long)

    def loss(self, batch, *, training):
        value = self.losses[len(self.steps)] if self.losses else 1.0
        return torch.tensor(value, dtype=torch.double), torch.ones((), dtype=torch.long)

    def validated(self):
        return {"val_score": self.scores[len(self.steps)]} if self.scores else {}

    def on_validation_epoch_end(self):
        super().on_validation_epoch_end()
        if not self.trainer.sanity_checking:
            self.steps.append(self.trainer.global_step)
            self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])


def fit(task, folder, *callbacks, batches=4, checkpoint=None, **options):
    options = {"max_epochs": 1, "logger": False, "accelerator": "cpu", "enable_progress_bar": False, **options}
    callbacks = [*callbacks, *validation_interval.interval(options)]
    trainer = lightning.Trainer(
        default_root_dir=folder,
        callbacks=callbacks,
        enable_model_summary=False,
        plugins=[DurableFiles()],
        num_sanity_val_steps=1,
        **options | validation_interval.lightning_options(options),
    )
    trainer.fit(task, datamodule=Numbers(batches), ckpt_path=checkpoint, weights_only=True)
    return trainer


def best(folder, mode="max", **options):
    return Best(folder, filename="{step}", monitor="val_score", mode=mode, enable_version_counter=False, **options)


def test_states_are_lightnings_own(tmp_path):
    """So that checkpoints of before are read."""
    assert best(tmp_path).state_key.startswith("ModelCheckpoint{'monitor': 'val_score', 'mode': 'max'")
    assert Patience("val_loss", mode="min").state_key == "EarlyStopping{'monitor': 'val_loss', 'mode': 'min'}"


def step_of(path):
    return int(Path(path).stem.partition("=")[2])


@pytest.mark.parametrize(
    ("scores", "losses", "mode", "kept"),
    [
        ([0.0, 0.0, 0.0, 0.0], [4.0, 3.0, 2.0, 3.0], "max", 3),  # the lowest loss of equal scores
        ([0.0, 1.0, 1.0, 0.5], [4.0, 3.0, 2.0, 1.0], "max", 3),
        ([0.0, 1.0, 1.0, 0.5], [4.0, 2.0, 3.0, 1.0], "max", 2),
        ([9.0, 5.0, 5.0, 6.0], [1.0, 2.0, 1.5, 1.0], "min", 3),
        ([100.0, 100.0, 100.0, 100.0], [NAN, 3.0, 2.0, NAN], "min", 3),
        ([NAN, 1.0, NAN, 0.5], [1.0, 1.0, 1.0, 1.0], "max", 2),
        ([5.0, 5.0, 5.0, 5.0], [1.0, 1.0, 1.0, 1.0], "max", 1),
    ],
)
def test_ties_go_to_the_lower_loss(tmp_path, scores, losses, mode, kept):
    keeper = best(tmp_path, mode)
    fit(Scripted(losses, scores), tmp_path, keeper, batches=1, max_epochs=4)
    assert step_of(keeper.best_model_path) == kept
    assert list(keeper.best_k_models) == [keeper.best_model_path]


def test_several_are_ranked_and_a_checkpoint_knows_the_ranks(tmp_path):
    keeper = best(tmp_path, save_top_k=2)
    fit(Scripted([5.0, 4.0, 3.0, 6.0], [1.0, 1.0, 1.0, 0.0]), tmp_path, keeper, batches=1, max_epochs=4)
    assert sorted(map(step_of, keeper.best_k_models)) == [2, 3]
    assert (step_of(keeper.best_model_path), step_of(keeper.kth_best_model_path)) == (3, 2)
    state = torch.load(keeper.best_model_path, weights_only=True)["callbacks"][keeper.state_key]
    assert state["best_model_path"] == "step=3.ckpt"
    assert state["losses"] == {"step=2.ckpt": 4.0, "step=3.ckpt": 3.0}
    again = best(tmp_path / "moved", save_top_k=2)
    again.load_state_dict(state)
    assert again.losses == {str(tmp_path / "moved" / name): loss for name, loss in state["losses"].items()}
    del state["losses"]  # as older versions wrote it: a tie then changes nothing
    again.load_state_dict(state)
    assert again.losses == {}


def test_an_epoch_without_a_validation_is_no_model(tmp_path):
    """The second epoch is cut short by max_steps: its weights have no score."""
    keeper = best(tmp_path, save_top_k=3)
    trainer = fit(Scripted([1.0], [1.0]), tmp_path, keeper, batches=4, max_epochs=2, max_steps=6)
    assert trainer.global_step == 6
    assert list(map(step_of, keeper.best_k_models)) == [4]


@pytest.mark.parametrize(
    ("scores", "losses", "patience", "validations"),
    [
        ([0.0] * 6, [6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 1, 6),  # the loss still falls
        ([0.0] * 6, [6.0, 5.0, 5.0, 4.0, 3.0, 2.0], 1, 3),
        ([0.0] * 6, [6.0, 5.0, 5.0, 5.0, 3.0, 2.0], 2, 4),
        ([3.0, 2.0, 1.0, 1.0, 1.0, 1.0], [6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 2, 3),  # no tie with the best
        ([1.0, NAN, 1.0, 1.0, 1.0, 1.0], [1.0] * 6, 9, 2),
    ],
)
@pytest.mark.parametrize("every", [1.0, 1])
def test_patience(tmp_path, scores, losses, patience, validations, every):
    stopping = Patience("val_score", mode="max", patience=patience, strict=False)
    options = {"batches": 1, "max_epochs": 6} if every == 1.0 and isinstance(every, float) else {"batches": 6}
    task = Scripted(losses, scores)
    fit(task, tmp_path, stopping, best(tmp_path), val_check_interval=every, **options)
    assert len(task.steps) == validations
    if validations == 6:
        assert stopping.explanation is None
    elif any(map(math.isnan, scores)):
        assert stopping.explanation == "val_score is not a finite number"
    else:
        assert f"val_score has not improved in {patience} validations (the best is" in stopping.explanation


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"val_check_interval": 1.0}, [10, 20]),
        ({"val_check_interval": 0.5}, [5, 10, 15, 20]),
        ({"val_check_interval": 4}, [4, 8, 14, 18]),  # counted in each epoch
        ({"val_check_interval": 1, "max_epochs": 1}, list(range(1, 11))),
        ({"val_check_interval": 4, "check_val_every_n_epoch": None}, [4, 8, 12, 16, 20]),
        ({"val_check_interval": 2, "accumulate_grad_batches": 4}, [2, 5]),  # 3 steps an epoch
        ({"val_check_interval": 3, "accumulate_grad_batches": 4}, [3, 6]),
        ({"val_check_interval": 2, "accumulate_grad_batches": 4, "check_val_every_n_epoch": None}, [2, 4, 6]),
        ({"val_check_interval": 15, "check_val_every_n_epoch": None}, [15]),  # longer than an epoch
        ({"val_check_interval": 4, "check_val_every_n_epoch": 2}, [14, 18]),
        ({"val_check_interval": 1.0, "check_val_every_n_epoch": 2}, [20]),
    ],
)
def test_an_interval_counts_optimizer_steps(tmp_path, options, steps):
    task, keeper = Scripted(scores=[float(i) for i in range(10)]), best(tmp_path, save_top_k=-1)
    fit(task, tmp_path, keeper, **{"batches": 10, "max_epochs": 2, **options})
    assert task.steps == steps
    assert sorted(map(step_of, keeper.best_k_models)) == steps


def test_an_interval_without_any_validation_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"trainer.val_check_interval=4: an epoch has only 3 optimizer steps; lower it"):
        fit(Scripted(), tmp_path, best(tmp_path), batches=10, accumulate_grad_batches=4, val_check_interval=4)
    with pytest.raises(UserError, match=r"must be a whole number then, not 0.5"):
        validation_interval.check({"check_val_every_n_epoch": None, "val_check_interval": 0.5})


@pytest.mark.parametrize(
    ("options", "losses", "rates"),
    [
        ({"max_epochs": 4}, [4.0, 5.0, 5.0, 5.0], [1.0, 1.0, 0.5, 0.5]),
        ({"max_epochs": 8, "check_val_every_n_epoch": 4}, [4.0, 5.0], [1.0, 1.0]),
        ({"max_epochs": 12, "check_val_every_n_epoch": 4}, [4.0, 5.0, 5.0], [1.0, 1.0, 0.5]),
        ({"val_check_interval": 0.25}, [4.0, 5.0, 5.0, 3.0], [1.0, 1.0, 0.5, 0.5]),
        ({"val_check_interval": 1}, [4.0, 4.0, 4.0, 4.0], [1.0, 1.0, 0.5, 0.5]),
        ({"val_check_interval": 1, "check_val_every_n_epoch": None}, [4.0, NAN, NAN, 3.0], [1.0, 1.0, 0.5, 0.5]),
        ({"val_check_interval": 0.5, "accumulate_grad_batches": 4}, [4.0, 5.0], [1.0, 1.0]),  # amid an accumulation
    ],
)
def test_a_plateau_counts_validations(tmp_path, options, losses, rates):
    task = Scripted(losses, scheduler=PLATEAU)
    fit(task, tmp_path, enable_checkpointing=False, **options)
    assert task.rates == rates


def test_a_plateau_goes_up_for_scores(tmp_path):
    plateau = PLATEAU | {"monitor": "val_score", "mode": "max"}
    task = Scripted(scores=[1.0, 2.0, 3.0, 2.0, 2.0], scheduler=plateau)
    fit(task, tmp_path, enable_checkpointing=False, max_epochs=5)
    assert task.rates == [1.0, 1.0, 1.0, 1.0, 0.5]


def test_a_plateau_is_kept_in_the_checkpoint_of_its_validation(tmp_path):
    """Resumed from the best model of the second of four validations in an epoch, the third bad one lowers the rate."""
    losses = [4.0, 5.0, 5.0, 5.0]
    keeper = best(tmp_path, save_top_k=-1)
    fit(Scripted(losses, [1.0] * 4, PLATEAU), tmp_path, keeper, val_check_interval=1)
    states = {step_of(path): torch.load(path, weights_only=True) for path in keeper.best_k_models}
    bad = {step: state["lr_schedulers"][0]["num_bad_epochs"] for step, state in states.items()}
    assert bad == {1: 0, 2: 1, 3: 0, 4: 1}
    assert states[3]["optimizer_states"][0]["param_groups"][0]["lr"] == 0.5


@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        ({"name": "cosine", "warmup_steps": 100}, True),
        ({"name": "inverse_sqrt", "warmup_steps": 9}, True),
        ({"name": "constant", "warmup_steps": 9}, True),
        ({"name": "constant", "warmup_steps": 8}, False),
        ({"name": "constant", "warmup_steps": 0}, False),
        ({"name": "cosine", "warmup_steps": 2}, False),
        (PLATEAU, False),
    ],
)
def test_a_warm_up_that_is_longer_than_the_run_is_said(tmp_path, capsys, scheduler, said):
    fit(Scripted(scheduler=scheduler), tmp_path, enable_checkpointing=False, max_epochs=2)
    error = capsys.readouterr().err
    assert (f"scheduler.warmup_steps={scheduler.get('warmup_steps')}: training has only 8 optimizer" in error) is said
    assert error.count("seq2seq:") == said


@pytest.mark.parametrize(
    ("trainer", "reason"),
    [
        ({"limit_val_batches": 0}, "trainer.limit_val_batches=0"),
        ({"limit_val_batches": 0.0}, "trainer.limit_val_batches=0"),
        ({"check_val_every_n_epoch": 5, "max_epochs": 4}, "trainer.check_val_every_n_epoch=5 is more than"),
        ({"check_val_every_n_epoch": None, "val_check_interval": 9, "max_steps": 8}, "trainer.val_check_interval=9 is"),
        ({"check_val_every_n_epoch": None, "val_check_interval": 8, "max_steps": 8}, None),
        ({"check_val_every_n_epoch": 4, "max_epochs": 4}, None),
        ({"check_val_every_n_epoch": 5, "max_epochs": -1}, None),
        ({"check_val_every_n_epoch": None, "max_epochs": 4, "limit_val_batches": 1.0}, None),
    ],
)
def test_a_run_that_validates_nothing_is_told_so(trainer, reason):
    found = list(validation_interval.warnings({"trainer": trainer}))
    assert len(found) == (reason is not None)
    assert not reason or found[0].startswith(reason)
