"""Runs as Ray tasks: Ray finds a place for each, and starts `seq2seq train` there as a process of its own.

    python experiments/cluster/ray_jobs.py jobs.txt sweeps/ray --command .venv/bin/seq2seq --gpus 1

`jobs.txt` holds the overrides of a run a line. The folder, and the command, are on a file system of all machines. A run
that dies, or whose machine does, is started again and goes on at its last checkpoint (resume=auto). This file needs Ray
and nothing of seq2seq's environment: each may have its own versions.
"""

from __future__ import annotations

import shlex
import subprocess
from argparse import ArgumentParser
from pathlib import Path

import ray
import ray.exceptions

MISTAKE = 2  # seq2seq's exit code for what no repetition mends


def train(command: str, overrides: str, folder: str) -> int:
    """One run; returns its exit code. Raises what makes Ray start it again where that may help."""
    words = [*shlex.split(command), "train", *shlex.split(overrides), f"hydra.run.dir={folder}", "resume=auto"]
    code = subprocess.run([*words, "trainer.enable_progress_bar=false"], stdin=subprocess.DEVNULL).returncode
    if code not in (0, MISTAKE):
        raise RuntimeError(f"{folder}: ended with code {code}")
    return code


def main() -> int:
    parser = ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("jobs", type=Path, help="a file with the overrides of one run a line")
    parser.add_argument("folder", type=Path, help="where the runs are, numbered from 0, and the leaderboard")
    parser.add_argument("--command", default="seq2seq", help="how seq2seq is called (%(default)s)")
    parser.add_argument("--cpus", type=int, default=1, help="of a run (%(default)s)")
    parser.add_argument("--gpus", type=float, default=0, help="of a run (%(default)s)")
    parser.add_argument("--retries", type=int, default=3, help="of a run (%(default)s)")
    given = parser.parse_args()
    ray.init(log_to_driver=True)
    task = ray.remote(train).options(
        num_cpus=given.cpus, num_gpus=given.gpus, max_retries=given.retries, retry_exceptions=True
    )
    jobs = [line.strip() for line in given.jobs.read_text(encoding="utf-8").split("\n") if line.strip()]
    folder = given.folder.resolve()
    running = {
        task.remote(given.command, f"{job} trainer.threads={given.cpus}", str(folder / str(number))): number
        for number, job in enumerate(jobs)
    }
    failed, waiting = 0, list(running)
    while waiting:
        (done,), waiting = ray.wait(waiting)
        try:
            code = ray.get(done)
            failed += bool(code)
            print(f"{running[done]}: {'done' if not code else 'a mistake, see above'}", flush=True)
        except ray.exceptions.RayError as error:
            failed += 1
            print(f"{running[done]}: given up: {str(error).strip().rpartition(chr(10))[2]}", flush=True)
    subprocess.run([*shlex.split(given.command), "leaderboard", str(folder)], check=True)
    return min(failed, 1)


if __name__ == "__main__":
    raise SystemExit(main())
