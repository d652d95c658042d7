"""How before_the_rooms.tar.xz was made: bundles, runs, a sweep and a study, with the class names of then.

    python -m tests.stored.make before_the_rooms.tar.xz       # at commit 5213a8b, before files moved into rooms

tests/integration/test_stored.py loads them with the current code. They cannot be made again by it: this script keeps
the imports and class names of that commit. The archive has no absolute path but /home/user, and no run keeps what no
test reads.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import os
import pkgutil
import random
import shutil
import signal
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
SMALL = (
    "embedding.size=8",
    "encoder.hidden_size=8",
    "trainer.max_epochs=1",
    "trainer.threads=1",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "trainer.log_every_n_steps=2",
)
PAIRS = (
    *("data=tsv", "tokenizer=whitespace", "decoder.hidden_size=8", "search.beam_size=2", "data.batch_tokens=60"),
    *("data.corpus.source_language=de", "data.corpus.target_language=xx", "data.corpus.train=data/pairs.train"),
    *("data.corpus.val=data/pairs.val", "data.corpus.tests={test: data/pairs.test}"),
)
LABELS = ("data.corpus.source_language=xx", "data.batch_size=16")
INTERRUPTED = (*PAIRS, "context=additive", "cell=lstm", "bridge=copy", "callbacks=loss", "encoder.direction=forward")
RUNS: dict[str, tuple[str, ...]] = {
    "translation": (
        *PAIRS,
        *("context=multiplicative", "head=maxout", "head.size=4"),
        "decoder.cell._target_=seq2seq.cells.LSTM",
        "+decoder.cell.forget_bias=1.0",
        "~decoder.cell.reset",
        "~decoder.cell.update",
    ),
    "own": (*PAIRS, "cell=leaky", "trust=[my_cells]"),
    "tagging": (
        *("task=tagging", "data=tagged", *LABELS, "embedding.characters={size: 4, hidden_size: 4}"),
        *(f"data.corpus.{split}=data/tags.{split}" for split in ("train", "val")),
    ),
    "classification": (
        *("task=classification", "data=labelled", *LABELS, "context=additive"),
        *(f"data.corpus.{split}=data/label.{split}" for split in ("train", "val")),
    ),
    "language_modeling": ("task=language_modeling", "data.batch_size=4", "data.corpus.train=data/rhyme.txt"),
    "captioning": (
        *("task=captioning", "data=features", "data.corpus.target_language=en", "decoder.hidden_size=8"),
        *("encoder.height=3", "encoder.width=4", "encoder.channels=2"),
        *(f"data.corpus.{split}=data/strips.{split}" for split in ("train", "val")),
    ),
}
SWEEP = (*PAIRS, "bridge=linear,zero", "context._target_=seq2seq.contexts.FixedContext")
SPACE = "optimizer.lr: {low: 1e-3, high: 1e-1, log: true}\nbridge._target_: [seq2seq.bridges.LinearBridge, "
SPACE += "seq2seq.bridges.ZeroBridge]\n"
CELL = '''import torch
from torch.nn import functional as F

from seq2seq.cells import Cell
from seq2seq.structures import HiddenState


class Leaky(Cell[HiddenState]):
    """As in CONTRIBUTING.md of then."""

    blocks = 1

    def __init__(self, input_size: int, hidden_size: int, *, bias: bool = True, leak: float = 0.5) -> None:
        super().__init__(input_size, hidden_size, bias=bias)
        self.leak = leak

    def step(self, gates: torch.Tensor, state: HiddenState) -> HiddenState:
        new = torch.tanh(gates + F.linear(state.h, self.weight_hh, self.bias_hh))
        return HiddenState(self.leak * state.h + (1 - self.leak) * new)
'''


def write_data(folder: Path) -> None:
    """Number words with a mark, tags, labels, a rhyme and strips of patterns."""
    words, draw = "ein zwei drei vier funf".split(), random.Random(1)
    folder.mkdir()
    for split, size in (("train", 80), ("val", 8), ("test", 4)):
        rows = [draw.choices(words, k=draw.randint(1, 5)) for _ in range(size)]
        tables = {
            "pairs": lambda row: " ".join(f"{word}x" for word in row),
            "tags": lambda row: " ".join("B-two" if word == "zwei" else "O" for word in row),
            "label": lambda row: "two" if "zwei" in row else "none",
        }
        for name, made in tables.items():
            lines = "".join(f"{' '.join(row)}\t{made(row)}\n" for row in rows)
            (folder / f"{name}.{split}").write_text(lines, encoding="utf-8")
        strips = [[strip(words.index(word)) for word in row] for row in rows]
        items = ({"features": strip, "target": " ".join(row)} for strip, row in zip(strips, rows))
        (folder / f"strips.{split}").write_text("".join(f"{json.dumps(item)}\n" for item in items), encoding="utf-8")
    (folder / "rhyme.txt").write_text("one, two,\nbuckle my shoe;\n" * 20, encoding="utf-8")


def strip(number: int) -> list[float]:
    """Twelve numbers, one of them 1."""
    return [float(i == number) for i in range(12)]


def seq2seq(*arguments: str, code: int = 0) -> None:
    """A command in this process, with another exit code than `code` an error."""
    from seq2seq.cli.main import main

    if (found := main(list(arguments))) != code:
        raise SystemExit(f"seq2seq {' '.join(arguments)}: ended with {found}")


def interrupt_at(batch: int) -> Callable[[], None]:
    """SIGTERM at this batch of the process; returns what undoes it."""
    from seq2seq.tasks.base import TrainingTask

    original, count = TrainingTask.training_step, iter(range(1_000_000))

    def step(self: Any, given: Any, index: int) -> Any:
        if next(count) == batch:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, given, index)

    TrainingTask.training_step = step  # type: ignore[method-assign]
    return lambda: setattr(TrainingTask, "training_step", original)


def outputs() -> dict[str, Any]:
    """What the bundles say: translations, labels, captions, log-probabilities."""
    from seq2seq import Predictor, Translator
    from seq2seq.captioner import Captioner
    from seq2seq.sampler import Sampler, SamplingOptions

    texts = ["ein zwei", "drei vier funf funf", "zwei"]
    features = [np.array([strip(number) for number in (0, 1, 3)], dtype=np.float32)]
    made: dict[str, Any] = {}
    for name in ("translation", "own"):
        translator = Translator.load(Path("runs") / name / "bundle", trusted=["my_cells"])
        found = translator.translate_full(texts, translator.options(n_best=1))
        made[name] = [[best.text, best.hypothesis.log_prob] for (best, *_) in found]
    for name in ("tagging", "classification"):
        predictor = Predictor.load(Path("runs") / name / "bundle")
        made[name] = [[each.labels, each.probabilities.amax(1).tolist()] for each in predictor.predict_stream(texts)]
    made["captioning"] = list(Captioner.load(Path("runs/captioning/bundle")).caption(features))
    sampler = Sampler.load(Path("runs/language_modeling/bundle"))
    made["language_modeling"] = sampler("one", SamplingOptions(length=12, top_k=1))
    return made


def names() -> dict[str, str]:
    """Each name that a `_target_` could have, by its module and by the packages that export it, and its class."""
    from seq2seq import build
    from seq2seq.corpora import Corpus

    bases = (*build.ROLES.values(), Corpus)
    found: dict[str, str] = {}
    for module in modules():
        for name, value in vars(module).items():
            own = isinstance(value, type) and value.__module__.startswith(module.__name__) and issubclass(value, bases)
            if own and not inspect.isabstract(value) and not name.startswith("_"):
                found[f"{module.__name__}.{name}"] = name
    return dict(sorted(found.items()))


def modules() -> Iterator[Any]:
    """The component modules."""
    from seq2seq import build

    for (part,) in build.COMPONENTS:
        package = importlib.import_module(f"seq2seq.{part}")
        yield package
        for info in pkgutil.iter_modules(getattr(package, "__path__", [])):
            yield importlib.import_module(f"seq2seq.{part}.{info.name}")


def make(folder: Path) -> None:
    """Fill `folder`, which is the current one."""
    write_data(Path("data"))
    Path("my_cells.py").write_text(CELL, encoding="utf-8")
    Path("my_conf/cell").mkdir(parents=True)
    Path("my_conf/cell/leaky.yaml").write_text("_target_: my_cells.Leaky\nleak: 0.25\n", encoding="utf-8")
    Path("space.yaml").write_text(SPACE, encoding="utf-8")
    for name, overrides in RUNS.items():
        own = ["--config-dir=my_conf"] if name == "own" else []
        seq2seq("train", *own, *SMALL, *overrides, f"hydra.run.dir=runs/{name}")
    long = [*SMALL, *INTERRUPTED, "trainer.max_epochs=3"]
    seq2seq("train", *long, "hydra.run.dir=runs/undisturbed")
    undo = interrupt_at(8)
    seq2seq("train", *long, "callbacks.checkpoint.every_steps=3", "hydra.run.dir=runs/interrupted", code=75)
    undo()
    sweep = ["-m", *SMALL, *SWEEP, "hydra.sweep.dir=sweeps/bridges"]
    tune = ["space.yaml", *SMALL, *PAIRS, "--folder=tuned/space"]
    seq2seq("train", *sweep)
    seq2seq("tune", *tune, "--trials=2")
    record = json.loads(Path("runs/undisturbed/run.json").read_text(encoding="utf-8"))
    commands = {"sweep": sweep, "tune": tune}
    expected = {"outputs": outputs(), "val_loss": record["val_loss"], "names": names(), "commands": commands}
    Path("expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def thin(folder: Path) -> None:
    """Remove what no test reads, and the paths of this machine."""
    shutil.rmtree(folder / "runs/undisturbed")
    for run in (folder / "runs").iterdir():
        if run.name != "interrupted":
            for path in run.iterdir():
                if path.name not in ("bundle", "run.json"):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
    for pattern in (
        "*.png",
        "*.html",
        "sweeps/*/*/bundle",
        "tuned/*/*/bundle",
        "s*/*/*/checkpoints",
        "t*/*/*/checkpoints",
    ):
        for path in [*folder.glob(pattern if "/" in pattern else f"**/{pattern}")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(folder / "my_conf/__pycache__", ignore_errors=True)
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)
    for path in folder.rglob("*"):
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            content = content.replace(str(folder).encode(), b"/home/user/work")
            path.write_bytes(content.replace(str(ROOT).encode(), b"/home/user/seq2seq"))
    for path in folder.rglob("checksums.json"):
        known = {
            name: hashlib.sha256((path.parent / name).read_bytes()).hexdigest() for name in json.loads(path.read_text())
        }
        path.write_text(json.dumps(known), encoding="utf-8")


def pack(folder: Path, archive: Path) -> None:
    """As .tar.xz, without who and when."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(archive, "w:xz", preset=9) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name, filter=plain)


def main(archive: Path) -> None:
    """Make all and pack it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve() / "work"
        folder.mkdir()
        os.environ["SEQ2SEQ_CACHE"] = str(folder.parent / "cache")
        os.chdir(folder)
        make(folder)
        os.chdir(ROOT)
        thin(folder)
        pack(folder, archive)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
