"""JoeyNMT and OpenNMT-py beside this project: training, and a beam of 5 at reference length, on the same pieces.

    python -m experiments.throughput.peers            # --quick for fewer rounds

Each toolkit is installed from PyPI into an environment of its own, in the cache folder, on top of this one's torch; it
runs in a process of its own (workers/) and does only what it is told to, so that all take turns. What cannot be
installed or run is told in the results. Writes peers.json, and with it results.json and the tables of README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from experiments.throughput import report
from experiments.throughput.freed import settle
from experiments.throughput.learners import Ours, project_model
from experiments.throughput.measure import Done, Run, alternate
from experiments.throughput.pairs import Material, bucketed_batches, load, random_batches
from experiments.throughput.search import BEAM, prepared, searching
from experiments.throughput.sizes import PLANS, Plan
from experiments.throughput.train import training
from seq2seq.inference.batching import BATCH_SIZE
from seq2seq.inference.stepper import Stepper
from seq2seq.nn.types import Pairs
from seq2seq.runtime.paths import cache_root
from seq2seq.text.vocabulary import PAD, UNK

HERE = Path(__file__).parent
# glibc's environment variables, for a process that does not call `keep_freed_memory` itself.
KEEPING = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_TOP_PAD_": str(1 << 26)}
THEIRS = {PAD: 1, UNK: 0}
"""Both toolkits have these two pieces the other way round."""


class Peer(NamedTuple):
    """A toolkit: what pip installs for it (without what that asks for: torch and the rest are here already, and most of
    it is for other uses), its batches, and the model of ours that is trained against it."""

    name: str
    requirements: tuple[str, ...]
    random: int | None  # pairs of a random batch, as it makes them; None: it sorts by length, so it gets our buckets
    row: str
    model: str


JOEYNMT = Peer(
    "joeynmt",
    (
        "joeynmt==2.3.0",
        "importlib_metadata<8",
        "zipp",
        "subword-nmt",
        "sacremoses",
        "pandas",
        "pytz",
        "tzdata",
        "plotly",
    ),
    80,
    "train_a",
    "a",
)
OPENNMT = Peer(
    "opennmt",
    ("OpenNMT-py==3.5.1", "configargparse", "ctranslate2", "pyonmttok", "pyahocorasick", "flask", "waitress"),
    None,
    "train_luong",
    "luong",
)


class UnusableError(Exception):
    """Why a toolkit takes no part."""


def installed(peer: Peer) -> Path:
    """The Python of the toolkit's environment, which is made if it is not there. Raises `UnusableError`."""
    folder = cache_root() / "peers" / peer.name
    python, done = folder / "bin" / "python", folder / "requirements.txt"
    wanted = "\n".join((sys.executable, torch.__version__, *peer.requirements)) + "\n"
    if done.is_file() and done.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    packages = Path(_run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
    (packages / "project.pth").write_text(sysconfig.get_path("purelib") + "\n")
    _run([sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", *peer.requirements])
    done.write_text(wanted)
    return python


def _run(command: Sequence[str]) -> str:
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode:
        last = (found.stderr.strip() or found.stdout.strip()).split("\n")[-1]
        raise UnusableError(f"{Path(command[0]).name} {' '.join(command[1:4])}…: {last}")
    return found.stdout


class Worker:
    """A toolkit in its own process. Raises `UnusableError` with its last words where it does not come up."""

    def __init__(self, peer: Peer, python: Path, material: Path, threads: int, environment: dict[str, str]) -> None:
        script = HERE / "workers" / f"{peer.name}_worker.py"
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by close)
        self._process = subprocess.Popen(
            [str(python), str(script), str(material), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **environment},
        )
        self.parameters = int(self._answer()["parameters"])

    def run(self, what: str) -> Run:
        """`train` or `search`, once."""

        def run() -> Done:
            assert self._process.stdin is not None
            self._process.stdin.write(what + "\n")
            self._process.stdin.flush()
            found = self._answer()
            return Done(found["units"], cpu=found["cpu"])

        return run

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise UnusableError((self._errors.read().strip() or "it ended without a word").split("\n")[-1])
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._errors.close()


def compare(plan: Plan, material: Material, threads: int) -> report.Results:
    """The figures of the peers, by the row of results.json to which they belong."""
    torch.set_num_threads(threads)
    settle(keep=True)
    found: report.Results = {"peers": {}, "search_beam": {}}
    for peer in (JOEYNMT, OPENNMT):
        try:
            python = installed(peer)
            training_figures, searching_figures = contest(peer, python, plan, material, threads)
        except UnusableError as reason:
            found["peers"][peer.name] = f"not measured: {reason}"
            print(f"{peer.name}: {reason}", file=sys.stderr)
            continue
        found["peers"][peer.name] = f"{peer.requirements[0]} on torch {torch.__version__}, {threads} threads"
        found[peer.row] = training_figures
        found["search_beam"] |= searching_figures
    return found


def contest(
    peer: Peer, python: Path, plan: Plan, material: Material, threads: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """One toolkit as it is, and told to keep freed memory, in turn with ours."""
    torch.manual_seed(0)
    buckets = bucketed_batches(material.train, plan.batch_tokens, plan.batches)
    theirs = random_batches(material.train, peer.random, 2 * plan.batches) if peer.random else buckets
    searched = prepared(material.test, plan.sentences // 4, BATCH_SIZE)
    by_length = _by_target_length(searched)
    with tempfile.TemporaryDirectory(prefix="throughput-") as folder:
        file = Path(folder) / "material.json"
        batches = {"train": _plain(theirs), "search": by_length}
        file.write_text(json.dumps({"sizes": plan.sizes._asdict(), **batches}))
        workers: dict[str, Worker] = {}
        try:
            for name, environment in ((peer.name, {}), (f"{peer.name}_keeping_memory", KEEPING)):
                workers[name] = Worker(peer, python, file, threads, environment)
            ours = Ours(project_model(peer.model, plan.sizes))
            runs = {"ours": training(peer.model, plan, ours, buckets)}
            runs |= {name: worker.run("train") for name, worker in workers.items()}
            trained = alternate(runs, plan.rounds, plan.peak_size)
            model = project_model("a", plan.sizes).eval()
            runs = {"ours": searching(model, Stepper(model), searched, BEAM)}
            runs |= {name: worker.run("search") for name, worker in workers.items()}
            found = alternate(runs, plan.rounds, plan.peak_size)
        finally:
            for worker in workers.values():
                worker.close()
    figures = {
        f"vs_{peer.name}": trained.ratio("ours", peer.name),
        f"vs_{peer.name}_keeping_memory": trained.ratio("ours", f"{peer.name}_keeping_memory"),
        "parameters": sum(parameter.numel() for parameter in ours.parameters),
        f"{peer.name}_parameters": workers[peer.name].parameters,
        f"{peer.name}_runs": trained.summary("tokens"),
    }
    return figures, {f"vs_{peer.name}": found.ratio("ours", peer.name), f"{peer.name}_runs": found.summary("sentences")}


def _plain(batches: list[Pairs]) -> list[list[tuple[list[int], list[int]]]]:
    return [
        list(zip(*([_ids(row, n) for row, n in zip(*side, strict=True)] for side in (b.source, b.target)), strict=True))
        for b in batches
    ]


def _ids(row: torch.Tensor, length: torch.Tensor) -> list[int]:
    return [THEIRS.get(piece, piece) for piece in row[: int(length)].tolist()]


def _by_target_length(batches: list[Pairs]) -> list[list[tuple[list[int], list[int]]]]:
    """The same sentences in batches of like reference lengths: both toolkits know one length for a whole batch."""
    pairs = sorted((pair for batch in _plain(batches) for pair in batch), key=lambda pair: len(pair[1]))
    return [pairs[i : i + BATCH_SIZE] for i in range(0, len(pairs), BATCH_SIZE)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and batches")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="of torch (default: 2)")
    parser.add_argument("--out", type=Path, default=HERE, help="where peers.json and results.json go")
    chosen = parser.parse_args()
    plan = PLANS["quick" if chosen.quick else "full"]
    found = compare(plan, load(plan), chosen.threads)
    (chosen.out / "peers.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    results = chosen.out / "results.json"
    report.write(json.loads(results.read_text(encoding="utf-8")) if results.is_file() else {}, chosen.out)
    print(report.peers(found["peers"]))


if __name__ == "__main__":
    main()
