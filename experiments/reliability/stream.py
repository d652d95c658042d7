"""Files and corpora larger than memory: what they take, measured. Fills tables of README.md. Needs Linux.

python -m experiments.reliability.stream lines      memory and rate of translate-file, by lines of a file; killed, too
python -m experiments.reliability.stream kills      translate-file killed at random moments, and at every write
python -m experiments.reliability.stream workers    its rate with one process and with two: --bundle, --file
python -m experiments.reliability.stream corpus     memory and rate of preparing a corpus and of training, by pairs
python -m experiments.reliability.stream large      memory and rate of planning an epoch of up to 300 million pairs
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from experiments.readme import fill
from experiments.reliability import small
from experiments.study import table
from seq2seq.inference.files.partial import Journal

PAGE = Path(__file__).with_name("README.md")
INTERVAL = 0.2  # seconds between two looks at the memory
GREEDY = ["--beam-size", 1]
LISTS = ["--beam-size", 5, "--n-best", 5, "--format", "json"]
LISTED = 1_000_000  # lines of which lists are made: five times as long, and as well
STEPS = (("check", 1), ("learn", 1), ("encode", 2), ("encode", 1), ("plan", 1), ("train", 1))
"""Of preparing a corpus, and by how many processes; corpus.py says what each does."""


class Run(NamedTuple):
    """What a command took, its processes together: time, CPU time, the most memory at a time; and what it printed."""

    seconds: float
    cpu: float
    megabytes: float
    printed: bytes


def run(command: Sequence[object], kind: str = "Pss", kill: Callable[[], bool] = lambda: False) -> Run:
    """Run a command of this project to its end, or until `kill` is true. `kind` of memory: see `memory`."""
    began, most, done = time.perf_counter(), 0.0, 0
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([sys.executable, "-m", *map(str, command)], stdout=output)
        while not done:
            time.sleep(INTERVAL)
            most = max(most, sum(memory(pid, kind) for pid in family(process.pid)))
            if kill():
                os.kill(process.pid, signal.SIGKILL)
            done, status, usage = os.wait4(process.pid, os.WNOHANG)
        if status not in (0, signal.SIGKILL):
            raise SystemExit(f"failed: {' '.join(map(str, command))}")
        output.seek(0)
        return Run(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, most, output.read())


def family(pid: int) -> Iterator[int]:
    """A process and all that come from it."""
    yield pid
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield from family(int(child))


def memory(pid: int, kind: str) -> float:
    """Megabytes: `Pss`, where pages that several processes have are shared out among them; `RssAnon`, without files."""
    with suppress(OSError, StopIteration):
        rows = Path(f"/proc/{pid}/{'status' if kind == 'RssAnon' else 'smaps_rollup'}").read_text().split("\n")
        return next(int(row.split()[1]) for row in rows if row.startswith(f"{kind}:")) / 1024
    return 0.0


def lines(folder: Path, counts: Sequence[int]) -> str:
    """Translate ever longer files with a very small model; every way of translating one must give the same bytes."""
    bundle, rows = small.bundle(folder), []

    def row(count: int, name: str, found: Run, done: int = 0) -> None:
        rows.append([f"{count:,}", name, f"{found.megabytes:.0f} MB", f"{(count - done) / found.cpu:,.0f}"])
        print(rows[-1], flush=True)

    for count in counts:
        source = small.write(folder / f"{count}.txt", count)
        command = ["seq2seq", "translate-file", bundle, source]
        last = ["--threads", 1, *GREEDY]
        one, two, killed = (folder / f"{count}.{name}" for name in ("one", "two", "killed"))
        row(count, "greedy", run([*command, one, *last]))
        row(count, "greedy, `--workers 2`", run([*command, two, *last, "--workers", 2]))
        run([*command, killed, *last], kill=partial(beyond, killed, count // 2))
        done = Journal(killed).place.lines
        row(count, "greedy, killed halfway: the rest by `--resume`", run([*command, killed, *last, "--resume"]), done)
        if count <= LISTED:
            lists = [folder / f"{count}.json", "--alignments", folder / f"{count}.links", "--threads", 1, *LISTS]
            row(count, f"`{' '.join(map(str, LISTS))} --alignments`", run([*command, *lists]))
        assert len({sha256(path) for path in (one, two, killed)}) == 1
        with one.open("rb") as file:
            assert sum(1 for _ in file) == count
        for path in folder.glob(f"{count}.*"):
            path.unlink()
    return table(["lines", "how", "peak memory", "lines a CPU second"], rows)


def beyond(target: Path, count: int) -> bool:
    """Whether more than so many lines of an output are done."""
    return Journal(target).place.lines > count


def workers(folder: Path, bundle: Path, source: Path, rounds: int) -> str:
    """One process and two in turn, each with one thread; the outputs must be equal."""
    runs: dict[int, list[Run]] = {1: [], 2: []}
    for _ in range(rounds):
        for count, found in runs.items():
            command = ["seq2seq", "translate-file", bundle, source, folder / str(count)]
            found.append(run([*command, "--threads", 1, *GREEDY, "--workers", count]))
            print(count, found[-1], f"load {os.getloadavg()[0]:.1f}", flush=True)
        assert sha256(folder / "1") == sha256(folder / "2")
    rows: list[list[object]] = []
    for count, found in runs.items():
        seconds, cpu, megabytes = (median(column) for column in list(zip(*found, strict=True))[:3])
        rows.append([count, f"{seconds:.0f} s", f"{cpu:.0f} s", f"{megabytes:.0f} MB"])
    ratios = [
        [getattr(one, field) / getattr(two, field) for one, two in zip(*runs.values(), strict=True)]
        for field in ("seconds", "cpu")
    ]
    rows.append(["1 over 2", *(f"{median(each):.2f} ({min(each):.2f} to {max(each):.2f})" for each in ratios), ""])
    return table(["`--workers`", "time", "CPU time", "peak memory"], rows)


def kills(folder: Path) -> str:
    """`translate-file` killed again and again; the numbers are what kill_translation.py prints."""
    bundle, source, rows = small.bundle(folder), small.write(folder / "kills.txt", 200), []
    for how in (["--kills", 100], ["--everywhere", "--chunk", 40]):
        for suffix in ("", ".gz", ".xz", ".zst"):
            options = [*how, *(["--suffix", suffix] if suffix else []), *(["--alignments"] if suffix != ".xz" else [])]
            found = run(["experiments.reliability.kill_translation", bundle, source, *options])
            rows.append([f"`{' '.join(map(str, options))}`", found.printed.decode().strip()])
            print(rows[-1], flush=True)
    return table(["killed", "found"], rows)


def corpus(folder: Path, counts: Sequence[int]) -> str:
    """The steps of preparing a corpus, each in its own process; encoded by one process and by two must be the same."""
    cache, rows = folder / "cache", []
    os.environ["SEQ2SEQ_CACHE"] = str(cache)
    for count in counts:
        shutil.rmtree(cache, ignore_errors=True)
        run(["experiments.reliability.corpus", "write", folder, count, 1])
        hashes = set()
        for step, processes in STEPS:
            if step == "encode":
                shutil.rmtree(cache / "encoded", ignore_errors=True)
            found = run(["experiments.reliability.corpus", step, folder, count, processes], "RssAnon")
            took = json.loads(found.printed or "{}")
            name = f"{step}, {processes} processes" if processes > 1 else step
            rates = [f"{1e6 * took[whose] / count:.1f} µs" if whose in took else "" for whose in ("cpu", "own")]
            rows.append([f"{count:,}", name, *rates, f"{found.seconds:.0f} s", f"{found.megabytes:.0f} MB"])
            print(rows[-1], flush=True)
            if step == "encode":
                hashes.add("".join(f"{path.name}{sha256(path)}" for path in sorted((cache / "encoded").rglob("*.npy"))))
        assert len(hashes) == 1
    return table(["pairs", "step", "CPU a pair", "of it the first process's", "time", "peak memory"], rows)


def large(folder: Path, counts: Sequence[int]) -> str:
    """An epoch's plan over files of real sizes that hold lengths only."""
    rows = []
    for count in counts:
        run(["experiments.reliability.corpus", "lengths", folder, count, 1])
        found = run(["experiments.reliability.corpus", "large", folder, count, 1], "RssAnon")
        shutil.rmtree(folder / f"large.{count}")
        rate = f"{1e6 * json.loads(found.printed)['cpu'] / count:.2f} µs"
        rows.append([f"{count:,}", rate, f"{found.seconds:.0f} s", f"{found.megabytes:.0f} MB"])
        print(rows[-1], flush=True)
    return table(["pairs", "CPU a pair", "time", "peak memory"], rows)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["lines", "kills", "workers", "corpus", "large"])
    parser.add_argument("--folder", type=Path, default=Path("runs/reliability"))
    parser.add_argument("--counts", type=int, nargs="+", help="lines, or pairs")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.what == "lines":
        found = lines(given.folder, given.counts or [50_000, 500_000, 5_000_000])
    elif given.what == "workers":
        found = workers(given.folder, given.bundle, given.file, given.rounds)
    elif given.what == "kills":
        found = kills(given.folder)
    elif given.what == "large":
        found = large(given.folder, given.counts or [3_000_000, 30_000_000, 300_000_000])
    else:
        found = corpus(given.folder, given.counts or [250_000, 1_000_000, 3_000_000])
    fill(PAGE, {given.what: found})


if __name__ == "__main__":
    main()
