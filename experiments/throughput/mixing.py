"""What mixing corpora costs: the batches of two entries with weights and a tag, against those of the same pairs as one
corpus, as a share of the time that training on them takes.

    python -m experiments.throughput.mixing            # two minutes; prints the table. Keep the machine idle meanwhile

A step takes a hundred times as long as its batch, so both are timed apart (the medians of rounds in turns):

    cost = (seconds a token to make mixed batches − the same for plain ones) / seconds a token to train
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from experiments.throughput.learners import Ours, project_model
from experiments.throughput.measure import Done, Run, Spread, alternate, lasting
from experiments.throughput.sizes import Sizes
from seq2seq.corpora import Embedded, Parallel, TranslationData
from seq2seq.runtime.malloc import keep_freed_memory
from seq2seq.text import SentencePieceTrainer

SIZES = Sizes(256, 512, 2000)
BATCH_TOKENS = 2048
TAG = "<BT>"


def halves(folder: Path) -> list[str]:
    """The embedded corpus in two parts, as prefixes of files."""
    corpus = Embedded()
    corpus.prepare()
    pairs = list(corpus.pairs("train"))
    for part, begin in (("one", 0), ("two", len(pairs) // 2)):
        for side, language in enumerate(("en", "de")):
            lines = "".join(f"{pair[side]}\n" for pair in pairs[begin : begin + len(pairs) // 2])
            (folder / f"{part}.{language}").write_text(lines, encoding="utf-8", newline="\n")
    return [str(folder / "one"), str(folder / "two")]


def data(entries: list[Any]) -> TranslationData:
    """The batches of a list of entries."""
    corpus = Parallel("en", "de", entries, entries[0]["files"])
    tokenizer = SentencePieceTrainer(vocabulary_size=SIZES.vocabulary, symbols=[TAG])
    return TranslationData(corpus, tokenizer, seed=1, batch_tokens=BATCH_TOKENS)


def making(module: TranslationData) -> Run:
    """Makes the batches of an epoch."""
    return lambda: Done(sum(int(batch.target.lengths.sum()) for batch in module.train_dataloader()))


def training(module: TranslationData, steps: int) -> Run:
    """Trains on a few batches, which are made before."""
    batches = list(islice(module.train_dataloader(), steps))
    learner = Ours(project_model("c", SIZES))
    tokens = sum(int(batch.target.lengths.sum()) for batch in batches)

    def run() -> Done:
        for batch in batches:
            learner.step(batch)
        return Done(tokens)

    return run


def measure(rounds: int, seconds: float, steps: int) -> dict[str, Any]:
    """The cost of mixing in each round, in percent, and the rates that it comes from, in target tokens a second."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(prefix="mixing-") as name:
        one, two = halves(Path(name))
        plain = data([{"files": one}, {"files": two}])
        mixed = data([{"files": one, "weight": 2}, {"files": two, "weight": 1, "tag": TAG}])
        runs = {"plain batches": making(plain), "mixed batches": making(mixed)}
        runs = {key: lasting(run, seconds) for key, run in runs.items()} | {"training": training(plain, steps)}
        samples = alternate(runs, rounds, 1024)
    costs = [
        100 * (1 / after.rate - 1 / before.rate) * trained.rate
        for before, after, trained in zip(*samples.values(), strict=True)
    ]
    return {"cost_percent": Spread.of(costs)._asdict()} | {key: samples.rate(key) for key in runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of making batches, a run")
    parser.add_argument("--steps", type=int, default=10, help="of training, a run")
    arguments = parser.parse_args()
    keep_freed_memory()
    print(json.dumps(measure(arguments.rounds, arguments.seconds, arguments.steps), indent=2))


if __name__ == "__main__":
    main()
