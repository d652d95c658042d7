"""Is this version as fast as an older one? Two checkouts at the same time, each on a core of its own.

    git worktree add ../old REVISION
    python -m experiments.throughput.checkouts ../old [--new .] [--rounds 8] [--only training|translate-file]

Both train the same model with one thread, and translate the same lines with the bundle that the old one trained. They
share each minute of the machine, and change cores after each round, so a slow core or another process is no one's
advantage. It takes a quarter of an hour; keep the machine idle meanwhile all the same. For Linux, where a process can
be held on a core.

training        1 / seconds between the updates that are 10 and 69 after the first
translate-file  lines a second of what a longer file takes in addition to a shorter one
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

FIRST, LAST = 10, 69
SHORT, LONG = 3_000, 15_000  # lines
TRAIN = ["train", "data=embedded", f"trainer.max_steps={LAST + 1}", "trainer.limit_val_batches=0", "trainer.threads=1"]
TRAIN += ["trainer.enable_progress_bar=false", "search=greedy"]
STEPS = """
import json, sys, time
from seq2seq.cli.main import main
from torch.optim.optimizer import register_optimizer_step_post_hook
times = []
register_optimizer_step_post_hook(lambda *_: times.append(time.perf_counter()))
code = main(sys.argv[1:])
print(json.dumps(times))
sys.exit(code)
"""


def call(checkout: Path, core: int, cache: Path, *arguments: str) -> str:
    """Standard output of Python in a checkout, on one core. Raises `SystemExit` if it fails."""
    env = os.environ | {"PYTHONPATH": str(checkout), "SEQ2SEQ_CACHE": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}
    on_core = partial(os.sched_setaffinity, 0, {core})
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, preexec_fn=on_core)
    if done.returncode:
        raise SystemExit(f"{checkout}: {' '.join(arguments[2:])}\n{done.stderr[-3000:]}")
    return done.stdout


def training(checkout: Path, core: int, folder: Path) -> float:
    """Updates a second."""
    run = Path(tempfile.mkdtemp(dir=folder)) / "run"
    made = call(checkout, core, folder / "cache", "-c", STEPS, *TRAIN, f"hydra.run.dir={run}")
    times = json.loads(made.splitlines()[-1])
    return float((LAST - FIRST) / (times[LAST] - times[FIRST]))


def translating(checkout: Path, core: int, folder: Path, bundle: Path, files: tuple[Path, Path]) -> float:
    """Lines a second."""
    seconds = []
    for file in files:
        begin = time.perf_counter()
        words = ("translate-file", str(bundle), str(file), str(folder / "out.txt"), "--threads", "1")
        call(checkout, core, folder / "cache", "-m", "seq2seq", *words)
        seconds.append(time.perf_counter() - begin)
    return (LONG - SHORT) / (seconds[1] - seconds[0])


def compare(name: str, rounds: int, speed: Mapping[str, Callable[[int], float]]) -> str:
    """A row of the table: the medians of both, and of the ratios of the rounds."""
    rates: dict[str, list[float]] = {who: [] for who in speed}
    for number in range(rounds):
        with ThreadPoolExecutor(2) as pool:
            jobs = {who: pool.submit(each, (place + number) % 2) for place, (who, each) in enumerate(speed.items())}
            for who, job in jobs.items():
                rates[who].append(job.result())
        print(name, number + 1, {who: round(values[-1], 3) for who, values in rates.items()}, file=sys.stderr)
    ratios = [new / old for old, new in zip(rates["old"], rates["new"], strict=True)]
    speeds = " | ".join(f"{median(rates[who]):,.3g}" for who in ("old", "new"))
    return f"| {name} | {speeds} | {median(ratios):.3f} | {min(ratios):.3f} to {max(ratios):.3f} |"


def main() -> None:
    """Compare, and print the table."""
    parser = argparse.ArgumentParser(description="Two checkouts at the same time, each on a core of its own.")
    parser.add_argument("old", type=Path)
    parser.add_argument("--new", type=Path, default=Path("."))
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--only", choices=("training", "translate-file"))
    given = parser.parse_args()
    checkouts = {"old": given.old.resolve(), "new": given.new.resolve()}
    with tempfile.TemporaryDirectory() as made:
        folders = {who: Path(made, who) for who in checkouts}
        for folder in folders.values():
            folder.mkdir()
        run = folders["old"] / "run"
        call(checkouts["old"], 0, folders["old"] / "cache", "-m", "seq2seq", *TRAIN, f"hydra.run.dir={run}")
        lines = (run / "test.sources.txt").read_text(encoding="utf-8").split("\n")[:-1]
        files = (Path(made, "short.txt"), Path(made, "long.txt"))
        for file, count in zip(files, (SHORT, LONG), strict=True):
            file.write_text("".join(f"{lines[i % len(lines)]}\n" for i in range(count)), encoding="utf-8")
        bundle = run / "bundle"
        call(checkouts["new"], 0, folders["new"] / "cache", "-m", "seq2seq", *TRAIN, f"hydra.run.dir={made}/warm")
        train = {who: partial(training, checkouts[who], folder=folders[who]) for who in checkouts}
        translate = {
            who: partial(translating, checkouts[who], folder=folders[who], bundle=bundle, files=files)
            for who in checkouts
        }
        print("| | old | new | new / old, median | lowest to highest |\n|---|---|---|---|---|")
        if given.only != "translate-file":
            print(compare("training, updates/s", given.rounds, train))
        if given.only != "training":
            print(compare("translate-file, lines/s", given.rounds, translate))


if __name__ == "__main__":
    main()
