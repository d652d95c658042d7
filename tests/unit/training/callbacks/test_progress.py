"""What a training says of its progress, on a terminal and without one."""

import io
import re
import sys
from types import SimpleNamespace

import pytest
import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import EarlyStopping
from torch.utils.data import DataLoader

from seq2seq.training.callbacks.progress import ProgressBar, ValidationLines, progress_of, share_done
from seq2seq.training.setup import quiet

LINE = re.compile(
    r"toy: epoch \d/3, step \d+: val_loss [\d.e+-]+, val_bleu [\d.]+, [\d,]+ tokens/s, "
    r"0:00:0\d elapsed, 0:00:0\d left( at most)?"
)


class Small(lightning.LightningModule):
    """One weight, eight examples, and the count of tokens that the progress reads."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.trained_tokens = torch.tensor(0)

    def training_step(self, batch, index):
        self.trained_tokens += 100
        return (self.weight * batch).square().mean()

    def validation_step(self, batch, index):
        self.log("val_loss", self.weight.square().sum())
        self.log("val_bleu", 12.5)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self):
        return DataLoader(torch.arange(8.0), batch_size=2)

    def val_dataloader(self):
        return DataLoader(torch.arange(2.0), batch_size=2)


def fit(tmp_path, *callbacks, **options):
    quiet()
    trainer = lightning.Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[*callbacks, ValidationLines("val_loss", "val_bleu", label="toy")],
        **options,
    )
    trainer.fit(Small())
    return trainer


@pytest.mark.parametrize("early", [False, True])
def test_one_line_a_validation_and_nothing_else(tmp_path, capfd, early):
    stopping = [EarlyStopping("val_loss", patience=9)] if early else []
    fit(tmp_path, *stopping, max_epochs=3, val_check_interval=0.5, num_sanity_val_steps=1)
    told = capfd.readouterr()
    lines = told.out.splitlines()
    assert len(lines) == 6
    assert all(LINE.fullmatch(line) for line in lines), told.out
    assert all(line.endswith("at most") is early for line in lines)
    assert [line.split(": ")[1] for line in lines] == [
        f"epoch {epoch}/3, step {step}" for epoch, step in zip((1, 1, 2, 2, 3, 3), range(2, 14, 2), strict=True)
    ]
    assert told.err == ""


def test_what_has_no_end_has_no_time_left(tmp_path, capfd):
    fit(tmp_path, max_epochs=-1, max_time={"seconds": 1}, limit_train_batches=1)
    assert " left" in capfd.readouterr().out.splitlines()[0]  # the limit of time is an end
    trainer = fit(tmp_path, max_epochs=3, max_steps=4)
    assert "epoch 1/3, step 4/4: " in capfd.readouterr().out
    assert share_done(trainer) == 1
    line = ValidationLines("val_loss")
    line._began = line._share = 0.0
    endless = lightning.Trainer(max_epochs=-1, logger=False, enable_checkpointing=False, accelerator="cpu")
    assert line._left(endless) is None


def test_a_rank_that_is_not_the_first_is_silent(tmp_path, capfd):
    lines = ValidationLines("val_loss")
    lines.setup(SimpleNamespace(is_global_zero=False), Small(), "fit")
    assert not lines.enabled


def test_a_terminal_has_the_bar(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    for terminal, kind in ((True, ProgressBar), (False, ValidationLines)):
        stream = io.StringIO()
        monkeypatch.setattr(stream, "isatty", lambda terminal=terminal: terminal)
        monkeypatch.setattr(sys, "stdout", stream)
        assert type(progress_of("val_loss")) is kind
    monkeypatch.setattr(sys, "stdout", None)
    assert type(progress_of("val_loss")) is ValidationLines


def test_loss_is_named_once_where_it_is_monitored():
    assert ValidationLines("val_loss", "val_loss").metrics == ("val_loss",)


def test_the_bar_of_a_gpu_shows_what_was_logged_last(monkeypatch):
    """Reading a number waits for the device: it is done where one is logged, and outside of training."""
    values = iter(range(10))
    monkeypatch.setattr(
        lightning.callbacks.TQDMProgressBar, "get_metrics", lambda *_: {"loss": float(next(values)), "v_num": 1}
    )
    logger = SimpleNamespace(should_update_logs=False)
    trainer = SimpleNamespace(
        training=True, _logger_connector=logger, callback_metrics={"train_loss": torch.tensor(2.5)}
    )
    for device, shown in (("cpu", "0123"), ("cuda", "4456")):
        module, bar, seen = SimpleNamespace(device=torch.device(device)), ProgressBar(), ""
        for training, logs in ((True, False), (True, False), (True, True), (False, False)):
            trainer.training, logger.should_update_logs = training, logs
            found = bar.get_metrics(trainer, module)
            assert found.pop("train_loss", None) == (None if device == "cpu" else "2.5")
            assert list(found) == ["loss"]
            seen += str(found["loss"])
        assert seen == shown
