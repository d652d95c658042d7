"""What more processes, runs and workers give on this machine: fills the table of README.md, and writes results.json.

    python -m experiments.cluster.measure            # about nine minutes on two free cores

All that is compared runs in turn, in processes of their own, round by round, every other round backwards; a figure is
the median of the ratios within a round, with the smallest and the largest.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.machine import write_results
from experiments.readme import fill
from experiments.study import table
from experiments.throughput.measure import Spread

HERE, RUNS = Path(__file__).parent, Path("runs/cluster")
BATCH = 2048  # target tokens, the default
CHUNK = 4096  # lines, of translate-file
WARM = 4  # optimizer steps that are not counted
Rates = dict[str, float]
"""Units a second by contestant."""


class Plan(NamedTuple):
    """How much is done."""

    rounds: int = 3
    steps: int = 25  # of BATCH tokens, of a training
    lines: int = 4 * CHUNK  # to translate; a worker is given a CHUNK at once
    copies: int = 8  # of the corpus, to encode


class Row(NamedTuple):
    """A line of the table: what is compared with what."""

    what: str
    run: str
    other: str


ROWS = (
    Row("training: 2 processes against 1, of one thread each, the same batches", "two", "one"),
    Row("training: 2 processes against 1, batches twice as large in both", "two, twice", "one, twice"),
    Row("training: 1 process of two threads against one thread", "threads", "one"),
    Row("training: 2 processes of one thread against 1 of two threads", "two", "threads"),
    Row("two runs of a sweep at once, of one thread each, against one after the other", "runs", "one"),
    Row("`translate-file --workers 2` against 1, of one thread each", "2 workers", "1 worker"),
    Row("`translate-file`: 2 workers of one thread against 1 of two threads", "2 workers", "2 threads"),
    Row("encoding text: `data.encoding_workers=2` against 1", "encoding, 2", "encoding, 1"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="one short round, to see that all works")
    parser.add_argument("--train", nargs=3, type=int, metavar=("THREADS", "TOKENS", "STEPS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        train(*given.train)
        return
    results = measured(Plan(rounds=1, steps=10, lines=CHUNK, copies=1) if given.quick else Plan())
    write_results(HERE / "results.json", results, indent=2)
    fill(HERE / "README.md", {"results": markdown(results)})
    print(markdown(results))


def measured(plan: Plan) -> dict[str, Any]:
    """Everything, as results.json keeps it."""
    with tempfile.TemporaryDirectory(prefix="cluster-") as name:
        rounds = alternating(contestants(plan, Path(name)), plan.rounds)
    rows = {row.what: Spread.of([each[row.run] / each[row.other] for each in rounds])._asdict() for row in ROWS}
    return {"plan": plan._asdict(), "parameters": parameters(), "rows": rows}


def contestants(plan: Plan, folder: Path) -> Mapping[str, Callable[[], float]]:
    """What runs in turn; each returns units a second."""
    bundle, text = model(), folder / "input.txt"
    lines = list(pairs(plan.lines))
    text.write_text("".join(f"{source}\n" for source, _ in lines), encoding="utf-8")
    half = plan.steps // 2
    return {
        "one": lambda: together(1, 1, BATCH, plan.steps),
        "two": lambda: together(2, 1, BATCH, plan.steps),
        "threads": lambda: together(1, 2, BATCH, plan.steps),
        "one, twice": lambda: together(1, 1, 2 * BATCH, half),
        "two, twice": lambda: together(2, 1, 2 * BATCH, half),
        "runs": lambda: at_once(2, plan.steps),
        "1 worker": lambda: translated(bundle, text, plan.lines, workers=1, threads=1),
        "2 threads": lambda: translated(bundle, text, plan.lines, workers=1, threads=2),
        "2 workers": lambda: translated(bundle, text, plan.lines, workers=2, threads=1),
        "encoding, 1": lambda: encoded(plan, folder, 1),
        "encoding, 2": lambda: encoded(plan, folder, 2),
    }


def alternating(runs: Mapping[str, Callable[[], float]], rounds: int) -> list[Rates]:
    """The rates of each round."""
    found = []
    for number in range(rounds):
        rates: Rates = {}
        for name in list(runs)[:: 1 if number % 2 == 0 else -1]:
            rates[name] = runs[name]()
            print(f"round {number + 1}/{rounds}: {name}", flush=True)
        found.append(rates)
    return found


def train(threads: int, tokens: int, steps: int) -> None:
    """In a process of its own, or of several: train the default model and print, as JSON, tokens a second behind the
    first few steps."""
    import pytorch_lightning as lightning

    from seq2seq.cli.composing.configurations import composed, composing
    from seq2seq.runtime.distributed import current_rank
    from seq2seq.training.callbacks.signals import Stopping
    from seq2seq.training.run import check, fit
    from seq2seq.training.setup import RunContext, prepare, quiet
    from seq2seq.training.start.resuming import Start

    class Clock(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, index: int) -> None:
            if trainer.global_step in (WARM, steps):
                seen.append((time.perf_counter(), int(task.trained_tokens)))

    seen: list[tuple[float, int]] = []
    given = [f"data.batch_tokens={tokens}", f"trainer.threads={threads}", f"trainer.max_steps={steps}", *SET]
    with composing():
        config = composed(given)
    quiet()
    with tempfile.TemporaryDirectory(prefix="cluster-") as folder, Stopping() as stopping:
        context = RunContext(Start(), time.monotonic(), stopping, None, current_rank())
        run = prepare(check(config), config, Path(folder), context)
        run.trainer.callbacks.append(Clock())
        fit(run, Start())
    (begin, before), (end, after) = seen
    if current_rank().is_zero:
        print(json.dumps((after - before) / (end - begin)))


SET = ("trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "trainer.max_epochs=1000", "logger=[csv]")


def trainer(processes: int, threads: int, tokens: int, steps: int) -> subprocess.Popen[str]:
    """`train` in so many processes, by torchrun where they are more than one."""
    launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    words = [*(launcher if processes > 1 else []), "experiments.cluster.measure", "--train"]
    command = [sys.executable, "-m", *words, *map(str, (threads, tokens, steps))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def together(processes: int, threads: int, tokens: int, steps: int) -> float:
    """Tokens a second of one training."""
    return said(trainer(processes, threads, tokens, steps))


def at_once(runs: int, steps: int) -> float:
    """Tokens a second of so many trainings, side by side, that know nothing of each other."""
    return sum(said(each) for each in [trainer(1, 1, BATCH, steps) for _ in range(runs)])


def said(process: subprocess.Popen[str]) -> float:
    """The number that a process prints last."""
    words = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"{process.args}: failed")
    return float(words.strip().split("\n")[-1])


def model() -> Path:
    """A bundle of the default model, trained for an epoch, unless it is there."""
    folder = RUNS / "model"
    if not (folder / "bundle").is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        options = ["trainer.max_epochs=1", "trainer.enable_progress_bar=false", f"hydra.run.dir={folder}"]
        subprocess.run([sys.executable, "-m", "seq2seq", "train", *options], check=True, stdout=subprocess.DEVNULL)
    return folder / "bundle"


def parameters() -> int:
    """Of the default model."""
    return int(json.loads((RUNS / "model" / "run.json").read_bytes())["parameters"])


def translated(bundle: Path, text: Path, count: int, *, workers: int, threads: int) -> float:
    """Lines a second, starting and loading the model included."""
    output = text.with_name("output.txt")
    command = [sys.executable, "-m", "seq2seq", "translate-file", str(bundle), str(text), str(output)]
    began = time.perf_counter()
    subprocess.run([*command, f"--workers={workers}", f"--threads={threads}"], check=True)
    return count / (time.perf_counter() - began)


def pairs(count: int | None = None) -> Sequence[tuple[str, str]]:
    """The embedded corpus's training pairs."""
    from seq2seq.corpora import Embedded

    corpus = Embedded("en", "de")
    corpus.prepare()
    return list(corpus.pairs("train"))[:count]


def encoded(plan: Plan, folder: Path, workers: int) -> float:
    """Pairs a second, starting the processes included: the corpus, so many times over, into an empty cache."""
    code = f"from experiments.cluster.measure import encode; encode({plan.copies}, {workers})"
    environment = {**os.environ, "SEQ2SEQ_CACHE": str(folder / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    shutil.rmtree(folder / "cache", ignore_errors=True)
    command = [sys.executable, "-c", code]
    return said(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))


def encode(copies: int, workers: int) -> None:
    """In a process of its own: prints pairs a second."""
    from seq2seq.bundle.format import load_bundle
    from seq2seq.corpora.store import encoded as encode_pairs

    text, tokenizers = [*pairs()] * copies, load_bundle(RUNS / "model" / "bundle").tokenizers
    began = time.perf_counter()
    encode_pairs(text, len(text), "", tokenizers, workers=workers)
    print(json.dumps(len(text) / (time.perf_counter() - began)))


def markdown(results: Mapping[str, Any]) -> str:
    """The table."""
    rows = [
        (what, f"{each['median']:.2f}", f"{each['min']:.2f} – {each['max']:.2f}")
        for what, each in results["rows"].items()
    ]
    return table(("what against what", "times as fast", "smallest – largest"), rows)


if __name__ == "__main__":
    main()
