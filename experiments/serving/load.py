"""Requests a second of the service, and how long an answer takes; and its memory over minutes.

python -m experiments.serving.load BUNDLE              # figures at 1, 8 and 64 clients: about two minutes
python -m experiments.serving.load BUNDLE --soak 10    # ten minutes of 8 clients: memory, and refused requests

The service is a process of its own on this machine; the clients are threads of this one, each of which sends its next
request when it has its answer. "One at a time" is a service that computes each request alone (--batch-size 1).
Results are in results.json.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.machine import write_results
from seq2seq.corpora.datasets.embedded import Embedded

CLIENTS = (1, 8, 64)
HERE = Path(__file__).parent


@contextmanager
def service(bundle: Path, *options: str) -> Iterator[tuple[int, int]]:
    """Start `seq2seq serve`; its port and process id are yielded. It is ended by SIGTERM."""
    command = [sys.executable, "-m", "seq2seq", "serve", str(bundle), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        lines = iter(process.stdout.readline, "")
        port = next((int(match[1]) for line in lines if (match := re.search(r"http://[^/]+:(\d+)/", line))), None)
        if port is None:
            raise SystemExit("the service did not start")
        try:
            yield port, process.pid
        finally:
            process.terminate()


class Client(threading.Thread):
    """Sends requests of one sentence, one after another, until `end`; `seconds` has the time of each answer."""

    def __init__(self, port: int, sentences: list[str], seed: int, end: float) -> None:
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.draw = random.Random(seed)
        self.sentences = sentences
        self.end = end
        self.seconds: list[float] = []
        self.refused = 0

    def run(self) -> None:
        """Send requests until the end."""
        while time.monotonic() < self.end:
            body = json.dumps({"texts": [self.draw.choice(self.sentences)]})
            begin = time.monotonic()
            self.connection.request("POST", "/translate", body, {"Content-Type": "application/json"})
            answer = self.connection.getresponse()
            answer.read()
            self.seconds.append(time.monotonic() - begin)
            self.refused += answer.status != 200


def load(port: int, sentences: list[str], clients: int, seconds: float) -> dict[str, Any]:
    """The figures of some clients over some time."""
    end = time.monotonic() + seconds
    started = [Client(port, sentences, seed, end) for seed in range(clients)]
    for client in started:
        client.start()
    for client in started:
        client.join()
    times = sorted(each for client in started for each in client.seconds)
    return {
        "clients": clients,
        "requests_per_second": round(len(times) / seconds, 1),
        "p50_ms": round(1000 * times[len(times) // 2], 1),
        "p99_ms": round(1000 * times[min(len(times) - 1, len(times) * 99 // 100)], 1),
        "refused": sum(client.refused for client in started),
    }


def memory(pid: int) -> float:
    """Resident memory of a process in MB (Linux)."""
    (pages,) = re.findall(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"), re.MULTILINE)
    return round(int(pages) / 1024, 1)


def figures(bundle: Path, sentences: list[str], seconds: float) -> dict[str, Any]:
    """The figures with batches, and one request at a time."""
    results = {}
    for name, options in (("batches", ()), ("one at a time", ("--batch-size", "1"))):
        with service(bundle, *options) as (port, _):
            load(port, sentences, 8, 2)  # warms up
            results[name] = [load(port, sentences, clients, seconds) for clients in CLIENTS]
        for row in results[name]:
            print(name, row, flush=True)
    return results


def soak(bundle: Path, sentences: list[str], minutes: float) -> dict[str, Any]:
    """Eight clients for some minutes: the memory after each."""
    with service(bundle) as (port, pid):
        load(port, sentences, 8, 5)
        rows = []
        for _ in range(max(1, round(minutes))):
            row = load(port, sentences, 8, 60 if minutes >= 1 else 60 * minutes) | {"memory_mb": memory(pid)}
            print(row, flush=True)
            rows.append(row)
    return {"minutes": minutes, "rows": rows, "refused": sum(row["refused"] for row in rows)}


def table(results: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = ["| | clients | requests/s | p50 | p99 |", "|---|---|---|---|---|"]
    for name in ("batches", "one at a time"):
        lines += [
            f"| {name} | {row['clients']} | {row['requests_per_second']} | {row['p50_ms']} ms | {row['p99_ms']} ms |"
            for row in results.get(name, [])
        ]
    if rows := results.get("soak", {}).get("rows"):
        lines += [
            "",
            f"Soak of {len(rows)} minutes, 8 clients: memory {rows[0]['memory_mb']} MB after the first minute,",
        ]
        lines += [f"{rows[-1]['memory_mb']} MB after the last; {results['soak']['refused']} requests refused."]
    return "\n".join(lines)


def main() -> None:
    """Measure, and write results.json and machine.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--seconds", type=float, default=15, help="for each number of clients (%(default)s)")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="watch the memory instead")
    parser.add_argument("--output", type=Path, default=HERE / "results.json")
    arguments = parser.parse_args()
    corpus = Embedded()
    corpus.prepare()
    sentences = [source for source, _ in corpus.pairs("test")]
    results = json.loads(arguments.output.read_text("utf-8")) if arguments.output.exists() else {}
    if arguments.soak:
        results["soak"] = soak(arguments.bundle, sentences, arguments.soak)
    else:
        results |= figures(arguments.bundle, sentences, arguments.seconds)
    write_results(arguments.output, results, indent=1)
    print(table(results))


if __name__ == "__main__":
    main()
