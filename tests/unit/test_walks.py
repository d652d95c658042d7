"""What a reader passes through: the files in which a function runs, by a trace, from an input to an output."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from experiments.reliability import kill
from seq2seq.cli import translate_file
from seq2seq.cli.main import main
from seq2seq.runtime import home
from seq2seq.runtime.paths import PACKAGE
from seq2seq.training.task_module import TaskModule
from tests.bundles import save

BEGINNING = """
cli/main.py cli/translate_file.py cli/arguments.py cli/searching.py
inference/files/output.py inference/files/input.py inference/files/partial.py
corpora/readers.py corpora/compression.py
runtime/home.py runtime/malloc.py runtime/threads.py runtime/strict_json.py runtime/atomic_files.py runtime/old_names.py
bundle/format.py bundle/files.py bundle/weights.py text/loading.py text/tokenizer.py text/words.py search/options.py
inference/translator.py inference/stepper.py inference/request.py inference/files/formats.py runtime/locks.py
""".split()
"""`seq2seq translate-file BUNDLE in out`, until the bundle is loaded and the output is opened."""

WALK = """
cli/translate_file.py
inference/files/input.py corpora/readers.py
inference/request.py inference/translator.py inference/batching.py text/words.py inference/stepper.py
search/options.py search/greedy.py search/hypotheses.py
inference/files/formats.py inference/files/partial.py
""".split()
"""The same from the lines of the input to those of the output, but for the network."""

STEP = """
training/task_module.py training/tasks/translation.py
models/encoder_decoder.py nn/types.py nn/embedding.py nn/encoders/layer.py nn/cell_stack.py nn/recurrence.py
nn/cells/base.py nn/cells/gru.py nn/matmul.py nn/bridges.py nn/contexts/fixed.py nn/decoder.py nn/heads.py nn/losses.py
""".split()
"""A step of training the default model: forward, loss, backward and update."""

NETWORK = ("nn", "models")
"""The rooms of the network: what a line of translate-file passes there, a step of training passes, too, but losses."""


CHECKED = {("text/tokenizer.py", name) for name in ("kind", "model", "fingerprint", "describe", "_description")}
"""Properties that run where a test checks a type against the protocol of tokenizers."""


class Trace:
    """Collects the files of the package in which a function runs; what runs while a module is imported is left out."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self._importing = 0

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """The protocol of `sys.setprofile`."""
        code = frame.f_code
        if code.co_filename.startswith("<frozen importlib"):
            self._importing += (event == "call") - (event == "return")
        elif event == "call" and not self._importing and (path := Path(code.co_filename)).is_relative_to(PACKAGE):
            name = path.relative_to(PACKAGE).as_posix()
            if (name, code.co_name) not in CHECKED:
                self.files.add(name)


@contextmanager
def traced(trace: Trace) -> Iterator[None]:
    """Trace this block."""
    before = sys.getprofile()
    sys.setprofile(trace)
    try:
        yield
    finally:
        sys.setprofile(before)


def outside_of_the_network(files: set[str]) -> set[str]:
    """The files of the other rooms."""
    return {name for name in files if not name.startswith(NETWORK)}


def test_translate_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "bundle", search={"beam_size": 1})
    (tmp_path / "in.txt").write_text("a man sleeps\n\nthe dog runs\n")
    beginning, walk = Trace(), Trace()
    home.settle.cache_clear()
    read = translate_file.chunks

    def chunks(*arguments: Any) -> Iterator[Any]:
        sys.setprofile(walk)
        return read(*arguments)

    monkeypatch.setattr(translate_file, "chunks", chunks)
    with traced(beginning):
        assert main(["translate-file", *(str(tmp_path / name) for name in ("bundle", "in.txt", "out.txt"))]) == 0
    assert len((tmp_path / "out.txt").read_text().splitlines()) == 3
    network = {name for name in STEP if name.startswith(NETWORK)} - {"nn/losses.py"}
    assert walk.files - {"cli/main.py"} == {*WALK, *network}
    assert len(WALK) + len(network) <= 26
    assert outside_of_the_network(beginning.files) == set(BEGINNING)


@pytest.mark.slow
def test_a_step_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path / "cache"))
    step, trace, steps = TaskModule.training_step, Trace(), iter(range(100))

    def traced_step(self: TaskModule, batch: Any, batch_index: int) -> Any:
        if next(steps) == 2:  # once what is made at the first step is there
            self.trainer.optimizers[0].register_step_post_hook(lambda *_: sys.setprofile(None))
            sys.setprofile(trace)
        return step(self, batch, batch_index)

    monkeypatch.setattr(TaskModule, "training_step", traced_step)
    sizes = ["embedding.size=4", "encoder.hidden_size=4", "decoder.hidden_size=4"]
    short = ["trainer.max_steps=3", "search=greedy", "callbacks=loss"]
    data = ["data=tsv", "tokenizer=whitespace", *kill.corpus(tmp_path / "data", "translation")]
    assert main(["train", *data, *sizes, *short, f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    callbacks = {"training/callbacks/best_models.py"}  # whose keys Lightning's progress asks for
    assert trace.files - callbacks == set(STEP)
    assert len(STEP) <= 16
