"""Study 3: bits per character against how far errors are carried back, in both meanings of truncation.

    python experiments/truncation/run.py [--characters N] [--seeds N]

Fills the table of README.md and writes results.json and truncation.png. A GRU reads tiny Shakespeare as ROWS streams;
every SEGMENT steps there is one update, whatever the truncation. So all runs see the same characters in the same order,
make the same number of updates and start from the same weights; they differ in the paths that their gradients keep
(seq2seq/reference/truncation.py draws both):

    windows of k    the state is carried on at every k-th step, its error is not: 0 to k − 1 steps back
    each error k    each step's error goes back k − 1 steps: the same longest reach, for all steps alike
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from machine import write_results
from readme import fill
from study import table

from seq2seq.corpora import StreamData, TinyShakespeare
from seq2seq.models import LanguageModel
from seq2seq.nn.cells import GRU
from seq2seq.nn.embedding import Embedding
from seq2seq.nn.encoders import RecurrentStack, StackState
from seq2seq.nn.heads import LinearHead
from seq2seq.nn.losses import token_cross_entropy
from seq2seq.nn.types import Window, map_tensors
from seq2seq.reporting import style
from seq2seq.text import CharacterTrainer

HERE = Path(__file__).parent
ROWS, SEGMENT, EMBEDDING, HIDDEN = 4, 128, 32, 96
RATE, WARMUP, RESET = 0.01, 50, 0.05  # Adam; a row begins anew in one of twenty segments
HELD_OUT = 30_000  # characters of the test that are read, in one pass
SIZES = (1, 4, 16, 64, SEGMENT)
WINDOWS, EACH = "windows of k", "each error k"
# Each step alone, and no truncation at all, are the same in both meanings.
JOBS = [(WINDOWS, k) for k in SIZES] + [(EACH, k) for k in SIZES[1:-1]]


def corpus() -> StreamData:
    """Tiny Shakespeare's characters, in segments."""
    data = StreamData(TinyShakespeare(), CharacterTrainer(), seed=0, window=SEGMENT, batch_size=ROWS)
    data.prepare_data()
    return data


def features(model: LanguageModel, ids: Tensor, state: StackState, meaning: str, k: int) -> tuple[Tensor, StackState]:
    """Those of a segment; the meaning decides what their gradients keep."""
    if meaning == EACH:
        return model(ids, state, reach=k - 1)  # type: ignore[no-any-return]
    parts = []
    for window in ids.split(k, 1):
        part, state = model(window, map_tensors(Tensor.detach, state))
        parts.append(part)
    return torch.cat(parts, 1), state


def run(job: tuple[str, int, int, int]) -> dict[str, Any]:
    """Train and measure: (meaning, k, characters, seed)."""
    meaning, k, characters, seed = job
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    data = corpus()
    embedding = Embedding(len(data.tokenizers.target), EMBEDDING)
    stack = RecurrentStack(EMBEDDING, HIDDEN, GRU)
    model = LanguageModel(embedding, stack, LinearHead(HIDDEN, 0, embedding.weight))
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    state, updates, began = model.init_state(ROWS), characters // (ROWS * SEGMENT), time.perf_counter()
    for update, batch in zip(range(updates), data.train_dataloader(), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min((update + 1) / WARMUP, 0.5 + 0.5 * math.cos(math.pi * update / updates))
        state = step(model, optimizer, batch, state, meaning, k)
    seconds = time.perf_counter() - began
    return {"meaning": meaning, "k": k, "seed": seed, "seconds": seconds, "bits": bits(model, data), "updates": updates}


def step(
    model: LanguageModel, optimizer: torch.optim.Optimizer, batch: Window, state: StackState, meaning: str, k: int
) -> StackState:
    """One update on a segment; returns the state after it."""
    goes_on = torch.rand(ROWS, 1) >= RESET
    found, state = features(model, batch.inputs, map_tensors(lambda x: x * goes_on, state), meaning, k)
    targets = batch.targets.flatten()
    loss = token_cross_entropy(found.flatten(0, 1), model.head.weight, model.head.bias, targets, path="plain")
    optimizer.zero_grad()
    (loss / len(targets)).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return map_tensors(Tensor.detach, state)


@torch.no_grad()
def bits(model: LanguageModel, data: StreamData) -> float:
    """Bits per character of the test's beginning, with the state carried all along."""
    ids = torch.from_numpy(np.asarray(data.stream("test")[: HELD_OUT + 1]).astype(np.int64))[None]
    found, _ = model.eval()(ids[:, :-1], model.init_state(1))
    total = token_cross_entropy(found[0], model.head.weight, model.head.bias, ids[0, 1:], path="plain")
    return float(total) / HELD_OUT / math.log(2)


def results_table(results: list[dict[str, Any]]) -> str:
    """A row for each k: bits per character and seconds in both meanings."""
    rows = []
    for k in SIZES:
        cells = [spread(results, meaning, k) for meaning in (WINDOWS, EACH)]
        rows.append([k if k < SEGMENT else f"{k} (all)", *(cell for pair in zip(*cells, strict=True) for cell in pair)])
    return table(["k", "bits, windows", "bits, each error", "seconds, windows", "seconds, each error"], rows)


def chosen(results: list[dict[str, Any]], meaning: str, k: int) -> list[dict[str, Any]]:
    """The runs of a k; where both meanings are one, those of the other count."""
    meaning = WINDOWS if k in (SIZES[0], SIZES[-1]) else meaning
    return [found for found in results if (found["meaning"], found["k"]) == (meaning, k)]


def spread(results: list[dict[str, Any]], meaning: str, k: int) -> tuple[str, str]:
    """Mean and standard deviation over the seeds, and mean seconds."""
    runs = chosen(results, meaning, k)
    values = [found["bits"] for found in runs]
    deviation = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{mean(values):.3f}{deviation}", f"{mean(found['seconds'] for found in runs):.0f}"


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Bits against k, a line a meaning, a point a seed."""
    with style.house_style():
        figure = Figure(figsize=(5.2, 3.2), layout="constrained")
        axes = figure.add_subplot()
        for meaning, colour, label in (
            (WINDOWS, style.BLUE, "windows of k, the state carried on"),
            (EACH, style.RED, "each error back k − 1 steps"),
        ):
            by_size = [[found["bits"] for found in chosen(results, meaning, k)] for k in SIZES]
            axes.plot(SIZES, [mean(values) for values in by_size], color=colour, label=label)
            points = [(k, value) for k, values in zip(SIZES, by_size, strict=True) for value in values]
            axes.plot(*zip(*points, strict=True), "o", color=colour, alpha=0.5)
        axes.set_xscale("log", base=2)
        axes.set_xticks(SIZES, [*map(str, SIZES[:-1]), f"{SEGMENT}\nall"])
        axes.set_xlabel("k, steps that see an error")
        axes.set_ylabel("bits per character, held-out text")
        axes.legend()
        style.title(axes, "How far back must an error go?")
        style.save(figure, path)


def main() -> None:
    """Run all, slowest first; write table, results and picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--characters", type=int, default=300_000, help="to train on (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="how many (%(default)s)")
    options = parser.parse_args()
    corpus()  # what is downloaded and encoded once, is there before the others look
    jobs = [(*job, options.characters, seed) for job in reversed(JOBS) for seed in range(options.seeds)]
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1), mp_context=get_context("spawn")) as pool:
        results = list(pool.map(run, jobs))
    settings = {"characters": options.characters, "rows": ROWS, "segment": SEGMENT, "hidden": HIDDEN, "rate": RATE}
    write_results(HERE / "results.json", {"settings": settings, "runs": results}, indent=1)
    fill(HERE / "README.md", {"results": results_table(results)})
    draw(results, HERE / "truncation.png")
    print(results_table(results))


if __name__ == "__main__":
    main()
