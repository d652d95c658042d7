"""Copying and reversing strings: what attention, hard monotonic attention and a pointer learn from strings of up to
10 symbols, and what is left of it at up to 20.

    python experiments/copying/run.py            # trains what is not there yet, a minute or two each
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from machine import write_results  # noqa: E402
from readme import fill  # noqa: E402
from study import RUNS, table, train  # noqa: E402
from tasks import TRAINING, write  # noqa: E402

SMALL = [
    *("embedding.size=32", "embedding.dropout=0", "encoder.hidden_size=32", "encoder.dropout=0"),
    *("decoder.hidden_size=48", "decoder.dropout=0", "head.dropout=0", "decoder.query=current"),
    *("decoder.context_to=readout", "head.size=48"),
]
TRAINED = [
    *("data=tsv", "data.corpus.source_language=x", "data.corpus.target_language=y", "data.batch_tokens=400"),
    *("tokenizer=whitespace", "tokenizer.joint=true", "callbacks=wer", "task.metrics=[wer,per]"),
    *("optimizer.lr=0.004", "scheduler.warmup_steps=50", "search.length_penalty=0", "search=greedy"),
    *("callbacks.early_stopping.patience=null", "task.label_smoothing=0"),
]
MONOTONIC = ["context=monotonic", "context.order=1", "context.max_jump=2"]
TASKS: dict[str, dict[str, bool]] = {"copy": {}, "new": {"rare": True}, "reverse": {"reverse": True}}
FEW, MANY = ["trainer.max_epochs=8"], ["trainer.max_epochs=25"]
JOBS = {
    "copy-attention": ["context=additive", *MANY],
    "copy-monotonic": [*MONOTONIC, *FEW],
    "new-attention": ["context=additive", *MANY],
    "new-attention-pointer": ["context=additive", "head=pointer", *MANY],
    "new-monotonic-pointer": [*MONOTONIC, "head=pointer", *FEW],
    "reverse-attention": ["context=additive", *MANY],
}
"""Task (copy, copy new symbols, reverse) and model → its overrides."""


def overrides(name: str, data: Path) -> list[str]:
    """The overrides of a job."""
    task = name.partition("-")[0]
    files = [f"data.corpus.train={data}/{task}/train.tsv", f"data.corpus.val={data}/{task}/val.tsv"]
    files.append(f"data.corpus.tests={{test: {data}/{task}/test.tsv}}")
    unknown = ["tokenizer.min_frequency=3"] if task == "new" else []
    return [*TRAINED, *files, *unknown, *SMALL, *JOBS[name]]


def accuracy_by_length(folder: Path) -> dict[int, tuple[int, int]]:
    """Right outputs and strings of each length of the test."""
    counts: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    files = [(folder / f"test.{name}.txt").read_text(encoding="utf-8") for name in ("references", "translations")]
    for reference, output in zip(*(each.splitlines() for each in files), strict=True):
        counts[len(reference.split())][0] += output == reference
        counts[len(reference.split())][1] += 1
    return {length: (right, number) for length, (right, number) in sorted(counts.items())}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the jobs, and write results.json and the table of the README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only",
        nargs="*",
        choices=JOBS,
        default=list(JOBS),
        help="the jobs to train; the results are those of all that are finished",
    )
    parser.add_argument("--parallel", type=int, default=2)
    chosen = parser.parse_args(arguments)
    data = RUNS / "copying" / "data"
    for task, options in TASKS.items():
        write(data / task, **options)
    train("copying", {name: overrides(name, data) for name in chosen.only}, parallel=chosen.parallel)
    finished = [name for name in JOBS if (RUNS / "copying" / name / "test.translations.txt").exists()]
    results = {name: accuracy_by_length(RUNS / "copying" / name) for name in finished}
    for name, lengths in results.items():
        print(name, {length: f"{right}/{number}" for length, (right, number) in lengths.items()})
    write_results(HERE / "results.json", results)
    fill(HERE / "README.md", {"accuracy": accuracy_table(results), "reverse": length_table(results)})


def accuracy_table(results: dict[str, dict[int, tuple[int, int]]]) -> str:
    """Accuracy in percent at the lengths of training and above."""
    rows = []
    for name, lengths in results.items():
        spans = [[pair for n, pair in lengths.items() if (n > TRAINING) == longer] for longer in (False, True)]
        shares = [f"{100 * sum(r for r, _ in s) / sum(n for _, n in s):.1f}" if s else "–" for s in spans]
        rows.append([name, *shares])
    return table(["task and model", f"lengths 1 to {TRAINING}", f"{TRAINING + 1} to {2 * TRAINING}"], rows)


def length_table(results: dict[str, dict[int, tuple[int, int]]]) -> str:
    """Accuracy in percent of reversing at each length."""
    lengths = results.get("reverse-attention", {})
    cells = [f"{100 * right / number:.0f}" for right, number in lengths.values()]
    return table(["length", *map(str, lengths)], [["reverse-attention", *cells]])


if __name__ == "__main__":
    main()
