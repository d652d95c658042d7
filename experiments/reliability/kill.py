"""Kill real training processes with SIGKILL, go on with resume=auto, and compare with a run that nobody killed.

    python -m experiments.reliability.kill            # 20 kills for each kind of run; writes kill.json

Half of the kills come at a random moment of training, half while a checkpoint is being written. What is compared: the
bytes of the bundle's weights, every tensor of the optimizer's and the loops' last state, and metrics.csv row by row.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from experiments.machine import write_results
from experiments.study import table
from seq2seq.runtime.atomic_files import LEFT

HERE = Path(__file__).parent
RUNS = Path("runs/reliability/kill")
SMALL = (
    "embedding.size=16",
    "encoder.hidden_size=16",
    "optimizer.lr=0.01",
    "callbacks=loss",
    "callbacks.early_stopping.patience=null",
    "callbacks.checkpoint.every_steps=7",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "trainer.log_every_n_steps=2",
    "trainer.threads=1",
)
PAIRS = ("data=tsv", "tokenizer=whitespace", "decoder.hidden_size=16", "search.beam_size=1", "data.batch_tokens=60")
JOBS: Mapping[str, Sequence[str]] = {
    "translation: dropout, scheduled sampling, cosine": (
        *PAIRS,
        "feedback@decoder.feedback=scheduled",
        "decoder.feedback.halfway=100",
    ),
    "translation: attention, batches accumulated, SGD with momentum, plateau, validated within epochs": (
        *PAIRS,
        "context=additive",
        "optimizer=sgd",
        "optimizer.lr=0.5",
        "optimizer.momentum=0.9",
        "scheduler=plateau",
        "trainer.accumulate_grad_batches=3",
        "trainer.val_check_interval=7",  # optimizer steps
        "trainer.check_val_every_n_epoch=null",
    ),
    "language model: carried state, random resets": (
        "task=language_modeling",
        "task.window=8",
        "task.reset=0.1",
        "data.batch_size=4",
        "head=linear",
    ),
}
VOLATILE = ("tokens_per_second",)  # what a clock has measured


class Outcome(NamedTuple):
    """What became of one kind of run."""

    kills: int
    in_writes: int
    before_first: int  # kills before there was any checkpoint
    steps: int
    lost: list[str]


def corpus(folder: Path, task: str) -> list[str]:
    """Number words, and the same with a mark; as overrides."""
    words, generator = "ein zwei drei vier funf sechs sieben acht neun zehn".split(), random.Random(1)
    folder.mkdir(parents=True, exist_ok=True)
    for split, size in (("train", 300), ("val", 20), ("test", 20)):
        rows = [[generator.choice(words) for _ in range(generator.randint(1, 6))] for _ in range(size)]
        pairs = "".join(" ".join(row) + "\t" + " ".join(f"{word}x" for word in row) + "\n" for row in rows)
        (folder / f"{split}.tsv").write_text(pairs, encoding="utf-8")
        (folder / f"{split}.txt").write_text(pairs.replace("\t", "\n"), encoding="utf-8")
    if task.startswith("language"):
        return [f"data.corpus.{split}={folder}/{split}.txt" for split in ("train", "val")]
    files = [f"data.corpus.{split}={folder}/{split}.tsv" for split in ("train", "val")]
    languages = ["data.corpus.source_language=de", "data.corpus.target_language=xx"]
    return [*languages, *files, f"data.corpus.tests={{test: {folder}/test.tsv}}"]


def start(overrides: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    """A training process of its own."""
    command = [sys.executable, "-m", "seq2seq", "train", *overrides, f"hydra.run.dir={folder}", "resume=auto"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for it; a failure ends the experiment with what it said."""
    said = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"ended with code {process.returncode}:\n{said}")


def kill(process: subprocess.Popen[str], folder: Path, moment: float | None) -> bool:
    """SIGKILL so many seconds after training began, or with None while a checkpoint is being written; False where the
    process was done before."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("folder:"):
            break
    until = time.monotonic() + (moment or 60)
    while process.poll() is None and time.monotonic() < until:
        if moment is None and writing(folder):
            break
        time.sleep(0 if moment is None else 0.001)
    if process.poll() is not None:
        return False
    process.send_signal(signal.SIGKILL)
    process.wait()
    return True


def writing(folder: Path) -> bool:
    """Whether a checkpoint is being written, or was when the process died."""
    return any((folder / "checkpoints").glob(f".last.ckpt{LEFT[1:]}"))


def steps_of(folder: Path) -> int | None:
    """The optimizer steps of the last checkpoint, which must be whole; None where there is none yet."""
    path = folder / "checkpoints" / "last.ckpt"
    return int(torch.load(path, weights_only=True)["global_step"]) if path.exists() else None


def tortured(overrides: Sequence[str], folder: Path, kills: int, seed: int, longest: float) -> tuple[int, int, int]:
    """Run, killed so many times; returns how often really, how often in the middle of a write, and before the first
    checkpoint."""
    generator = random.Random(seed)
    done = in_writes = early = 0
    for number in range(kills):
        moment = generator.uniform(0, longest) if number % 2 == 0 else None
        process = start(overrides, folder)
        if not kill(process, folder, moment):
            finish(process)
            break
        done += 1
        in_writes += writing(folder)
        early += steps_of(folder) is None
    finish(start(overrides, folder))
    return done, in_writes, early


def lost(whole: Path, killed: Path) -> list[str]:
    """Everything in which two finished runs differ."""
    found = []
    if (whole / "bundle" / "model.safetensors").read_bytes() != (killed / "bundle" / "model.safetensors").read_bytes():
        found.append("weights of the bundle")
    one, two = (torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True) for folder in (whole, killed))
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks"):
        if not same(one[key], two[key]):
            found.append(f"last checkpoint: {key}")
    if rows(whole / "metrics.csv") != rows(killed / "metrics.csv"):
        found.append("metrics.csv")
    if (whole / "samples.tsv").exists() and (whole / "samples.tsv").read_bytes() != (
        killed / "samples.tsv"
    ).read_bytes():
        found.append("samples.tsv")
    return found


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv, without what a clock has measured."""
    with path.open(encoding="utf-8", newline="") as file:
        kept = [{k: v for k, v in row.items() if k not in VOLATILE and v != ""} for row in csv.DictReader(file)]
    return kept


def same(one: Any, two: Any) -> bool:
    """Whether two nested structures are equal, tensors bit by bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(two, torch.Tensor) and torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(same(a, b) for a, b in zip(one, two, strict=True))
    return bool(one == two)


def study(name: str, overrides: Sequence[str], folder: Path, *, kills: int, seed: int, steps: int) -> Outcome:
    """One kind of run, whole and killed."""
    job = [*overrides, *SMALL, *corpus(folder / "data", name), f"trainer.max_steps={steps}", "trainer.max_epochs=1000"]
    whole, killed = folder / "whole", folder / "killed"
    finish(start(job, whole))
    longest = 1.5 * json.loads((whole / "run.json").read_bytes())["seconds"] / max(1, kills)
    done, in_writes, early = tortured(job, killed, kills, seed, longest)
    return Outcome(done, in_writes, early, steps, lost(whole, killed))


def markdown(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The results as a table."""
    header = ("run", "steps", "kills", "in the middle of a write", "lost")
    return table(
        header,
        [
            (name, o["steps"], o["kills"], o["in_writes"], "; ".join(o["lost"]) or "nothing")
            for name, o in found.items()
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--only", type=int, choices=range(len(JOBS)), help="one kind of run; the others' results stay")
    arguments = parser.parse_args()
    known = HERE / "kill.json"
    found = json.loads(known.read_bytes()) if arguments.only is not None and known.exists() else {}
    for number, (name, overrides) in enumerate(JOBS.items()):
        if arguments.only not in (None, number):
            continue
        folder = RUNS / f"{number}-{time.strftime('%Y%m%d-%H%M%S')}"
        outcome = study(
            name, overrides, folder, kills=arguments.kills, seed=arguments.seed + number, steps=arguments.steps
        )
        found[name] = outcome._asdict()
        print(name, outcome, flush=True)
    write_results(known, found, indent=2)
    print(markdown(found))


if __name__ == "__main__":
    main()
