"""Answers of one word, all from one run: BLEU cannot distinguish its models, and the search would cut them off."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout

import pytest
import torch

from seq2seq.cli.main import main
from seq2seq.training.task_module import TaskModule

TINY = """
data=tsv data.corpus.source_language=xx data.corpus.target_language=yy tokenizer=characters data.batch_tokens=100
embedding.size=8 encoder.hidden_size=8 decoder.hidden_size=8 optimizer.lr=0.01 search.beam_size=1 trainer.max_epochs=2
search.max_length_ratio=1 search.max_length_extra=4 search.min_length=50 scheduler.warmup_steps=1000
trainer.enable_progress_bar=false trainer.threads=1 trainer.accelerator=cpu
""".split()


class Killed(BaseException):
    """Ends a process at once, as far as an exception can."""


def command(folder):
    """Pairs of a word and a longer one, 60 / 6 / 6, and the command that trains on them."""
    for split, size in (("train", 60), ("val", 6), ("test", 6)):
        words = ["".join("bdgk"[i // 4**place % 4] for place in range(3)) for i in range(size)]
        (folder / f"{split}.tsv").write_text("".join(f"{word}\t{word}{'xyz' * 4}\n" for word in words))
    files = [f"data.corpus.{split}={folder}/{split}.tsv" for split in ("train", "val")]
    files.append(f"data.corpus.tests={{test: {folder}/test.tsv}}")
    return ["train", *TINY, *files, f"hydra.run.dir={folder}/run"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that was killed after its first validation and resumed: its folder, and what each process said."""
    folder, said = tmp_path_factory.mktemp("short"), [io.StringIO(), io.StringIO()]
    step = TaskModule.training_step

    def killed(self, batch, index):
        if self.trainer.current_epoch == 1 and index == 1:
            raise Killed
        return step(self, batch, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEQ2SEQ_CACHE", str(folder / "cache"))
        patch.setattr(TaskModule, "training_step", killed)
        with pytest.raises(Killed), redirect_stdout(said[0]), redirect_stderr(said[0]):
            main(command(folder))
        patch.setattr(TaskModule, "training_step", step)
        with redirect_stdout(said[1]), redirect_stderr(said[1]):
            assert main([*command(folder), "resume=auto"]) == 0
    return folder / "run", [each.getvalue() for each in said]


def test_chrf_chooses_the_model_and_is_kept(run):
    folder, (before, after) = run
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert record["monitor"] == "val_chrf"
    assert list(record["test"]) == ["chrF", "BLEU", "TER"]
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    kept = checkpoint["seq2seq"]["config"]
    assert {kept["callbacks"][place]["monitor"] for place in ("checkpoint", "early_stopping")} == {"val_chrf"}
    assert kept["task"]["metrics"] == ["bleu", "chrf", "ter"]  # as given, so that the same command resumes
    assert all("val_chrf=" in path.name for path in (folder / "checkpoints").glob("epoch=*"))
    assert before.count("best model by val_chrf, since val_bleu could not distinguish models: 100% of the ref") == 1
    assert after.count("best model by val_chrf, as before") == 1


def test_limits_are_said_before_training_and_after(run):
    _, (before, after) = run
    assert "longer than the search lets an output be: 6 of 6 in val, 6 of 6 in test" in before
    assert "search.max_length_extra=12 is enough for all" in before  # 15 + eos, less 3 + eos
    assert "scheduler.warmup_steps=1000: training has only" in before
    assert "test: 6 of 6 outputs were cut off at the search's limit" in after


def test_translating_a_file_says_what_was_cut_off(run, tmp_path, capsys):
    folder, _ = run
    (tmp_path / "in").write_text("\nbdg\nkkk\n")
    assert main(["translate-file", str(folder / "bundle"), str(tmp_path / "in"), str(tmp_path / "out")]) == 0
    assert (
        "warning: 2 of 3 outputs were cut off at the search's length limit, the first of them in line 2; --max-l"
        in (capsys.readouterr().err)
    )
