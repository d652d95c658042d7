"""One step of preparing a corpus of synthetic pairs, measured in a process of its own: what stream.py starts.

python -m experiments.reliability.corpus STEP FOLDER PAIRS WORKERS      prints what it took as JSON

    write    the text
    check    read and hash it, as every training does first
    learn    a joint BPE of 8,000 pieces, from a million of the pairs
    encode   text to ids
    plan     put all pairs of an epoch together to batches
    train    36 steps over it, of which the memory is of interest
    lengths  pairs for the next
    large    plan as above, and 36 batches, of pairs of which only the lengths are there: their ids are a hole in a file
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from seq2seq.corpora.batching import TrainingBatches
from seq2seq.corpora.budget import Budget
from seq2seq.corpora.corpus import scan
from seq2seq.corpora.folders import atomic_folder
from seq2seq.corpora.store import EncodedPairs, open_folder

WHOSE = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
WORDS, LENGTH = 30_000, 13  # the words are as frequent as words are, and a sentence has 13, as those of Multi30k
BLOCK = 10_000


def texts(count: int, seed: int) -> Iterator[str]:
    """Blocks of lines."""
    random = np.random.default_rng(seed)
    letters = np.array(list("etaoinshrdlu"))
    words = np.array(["".join(random.choice(letters, 2 + i % 7)) for i in range(WORDS)])
    share = 1 / np.arange(1, WORDS + 1)
    share /= share.sum()
    for begin in range(0, count, BLOCK):
        for row in random.choice(words, (min(BLOCK, count - begin), LENGTH), p=share):
            yield " ".join(row)


def write(folder: Path, count: int) -> None:
    """Two files of parallel text, unless they are there."""
    for seed, language in enumerate(("en", "de")):
        path = folder / f"{count}.{language}"
        if not path.exists():
            with path.open("w") as file:
                file.writelines(f"{text}\n" for text in texts(count, seed))
            os.utime(path, (1e9, 1e9))  # not of this second, so that its hash may be kept


def cpu_seconds(who: int) -> float:
    """Of this process, or of those that it has waited for."""
    return sum(resource.getrusage(who)[:2])


def train(folder: Path, count: int) -> None:
    """Three dozen steps of a small model over all of it, as a user starts them."""
    files = [f"data.corpus.train={folder / str(count)}", f"data.corpus.val={folder / '1000'}"]
    languages = ["data.corpus.source_language=en", "data.corpus.target_language=de"]
    sizes = ["embedding.size=16", "encoder.hidden_size=16", "decoder.hidden_size=16", "data.batch_tokens=512"]
    ends = ["trainer.max_steps=36", "trainer.limit_val_batches=2", "trainer.val_check_interval=36"]
    quiet = ["trainer.enable_progress_bar=false", "trainer.threads=1", f"hydra.run.dir={folder / 'run'}"]
    command = ["train", "data=parallel", *files, *languages, *sizes, *ends, *quiet]
    shutil.rmtree(folder / "run", ignore_errors=True)
    subprocess.run([sys.executable, "-m", "seq2seq", *command], check=True, stdout=subprocess.DEVNULL)


def large(folder: Path, count: int) -> EncodedPairs:
    """Pairs of about the lengths that `texts` has in pieces; the files have real sizes, but no ids."""
    folder = folder / f"large.{count}"
    if not folder.is_dir():
        with atomic_folder(folder) as unfinished:
            for seed, side in enumerate(("source", "target")):
                random, total = np.random.default_rng(seed), 0
                offsets = np.lib.format.open_memmap(unfinished / f"{side}.offsets.npy", "w+", np.int64, (count + 1,))
                for begin in range(0, count, 1 << 20):
                    ends = offsets[begin + 1 : begin + 1 + (1 << 20)]
                    ends[:] = total + np.cumsum(random.poisson(2 * LENGTH, len(ends)) + 2)
                    total = int(ends[-1])
                offsets.flush()
                np.lib.format.open_memmap(unfinished / f"{side}.values.npy", "w+", np.uint16, (total,))
    return open_folder(folder)


def plan(data: EncodedPairs) -> int:
    """The batches of an epoch, of which the first are filled; how many there are."""
    batches = TrainingBatches(data, Budget(), seed=0)
    for number, index in enumerate(batches.epoch(0)):
        if number < 36:
            assert [len(side.padded(index)[0]) for side in data] == 2 * [len(index)]
    return len(batches)


def main() -> None:
    step, folder, count, workers = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    if step == "write":
        for each in (count, 1000):
            write(folder, each)
        return
    if step in ("train", "lengths"):
        {"train": train, "lengths": large}[step](folder, count)
        return
    from seq2seq.corpora import Parallel, TranslationData
    from seq2seq.text import SentencePieceTrainer

    corpus = Parallel("en", "de", str(folder / str(count)), str(folder / "1000"))
    data = TranslationData(corpus, SentencePieceTrainer(), seed=0, encoding_workers=workers)
    steps: dict[str, Callable[[], object]] = {
        "check": lambda: scan(corpus, "train"),
        "learn": lambda: data.tokenizers,
        "encode": lambda: data.encoded("train"),
        "plan": lambda: plan(data.encoded("train")),
        "large": lambda: plan(large(folder, count)),
    }
    before, began = [cpu_seconds(who) for who in WHOSE], time.perf_counter()
    steps[step]()
    own, others = (cpu_seconds(who) - earlier for who, earlier in zip(WHOSE, before, strict=True))
    print(json.dumps({"seconds": time.perf_counter() - began, "cpu": own + others, "own": own}))


if __name__ == "__main__":
    main()
