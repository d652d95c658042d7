"""The models of the pictures and figures: two translators, a tagger and a captioner, on data that ship or are made.

python -m experiments.serving.bundles runs/serving    # minutes on two cores
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from seq2seq.cli.main import main
from seq2seq.corpora.datasets.embedded import Embedded

NAMES = ("attention", "one-vector", "slots", "digits")
ARTISTS = ("nina simone", "the beatles", "miles davis", "björk", "joni mitchell", "max richter")
GENRES = ("jazz", "soul", "folk music", "hip hop", "tango")
CITIES = ("bonn", "new york", "lyon", "são paulo", "kyoto")
TIMES = ("tonight", "tomorrow morning", "on friday", "at nine", "this weekend")
SENTENCES = (
    "play {genre} by {artist}",
    "play some {genre} {time}",
    "what will the weather be like in {city} {time} ?",
    "book a table in {city} {time}",
    "is it going to rain in {city} ?",
    "add this song by {artist} to my {genre} list",
)
PAIRS = ("embedding.dropout=0.1", "encoder.dropout=0.1", "head.dropout=0.1", "decoder.context_to=both")
PAIRS += (
    "tokenizer.joint=false",
    "data.batch_tokens=500",
    "optimizer.lr=0.005",
    "callbacks.ema.decay=0.99",
)


def tagged(folder: Path, seed: int = 0) -> None:
    """Write requests whose slots are tagged, `words <tab> tags` a line: train.tsv and val.tsv."""
    draw = random.Random(seed)
    values = {"artist": ARTISTS, "genre": GENRES, "city": CITIES, "time": TIMES}
    for split, size in (("train", 400), ("val", 60)):
        lines = [_tagged(draw, draw.choice(SENTENCES).split(), values) for _ in range(size)]
        (folder / f"{split}.tsv").write_text("".join(lines), encoding="utf-8", newline="\n")


def _tagged(draw: random.Random, sentence: list[str], values: dict[str, tuple[str, ...]]) -> str:
    words, tags = [], []
    for part in sentence:
        slot = part.strip("{}")
        chosen = draw.choice(values[slot]).split() if slot in values else [part]
        words += chosen
        tags += [f"B-{slot}", *[f"I-{slot}"] * (len(chosen) - 1)] if slot in values else ["O"]
    return f"{' '.join(words)}\t{' '.join(tags)}\n"


def some_pairs(folder: Path) -> None:
    """Write a few pairs of the embedded corpus, `source <tab> target` a line: pairs.train.tsv and pairs.val.tsv."""
    corpus = Embedded()
    corpus.prepare()
    for split, size in (("train", 400), ("val", 20)):
        lines = ["\t".join(pair) + "\n" for pair in islice(corpus.pairs(split), size)]
        (folder / f"pairs.{split}.tsv").write_text("".join(lines), encoding="utf-8", newline="\n")


def commands(folder: Path, *, quick: bool = False) -> dict[str, list[str]]:
    """The arguments of `seq2seq train` for each model; a quick one is small and has learned little."""
    width = 16 if quick else 96
    sizes = (f"embedding.size={width}", f"encoder.hidden_size={width}", f"decoder.hidden_size={2 * width}")
    steps = 20 if quick else 1200
    pairs = [*PAIRS, *sizes, f"data.vocabulary_size={400 if quick else 1200}", "trainer.check_val_every_n_epoch=null"]
    pairs += [f"trainer.max_steps={steps}", f"trainer.val_check_interval={steps}"]
    if quick:
        pairs += ["data=tsv", "data.corpus.source_language=en", "data.corpus.target_language=de"]
        pairs += [f"data.corpus.{split}={folder}/pairs.{split}.tsv" for split in ("train", "val")]
        pairs += ["search.beam_size=1", "search.max_length_ratio=0", "search.max_length_extra=30"]
    slots = ["task=tagging", "data=tagged", "data.corpus.source_language=en", "data.batch_tokens=256"]
    slots += [f"data.corpus.{split}={folder}/{split}.tsv" for split in ("train", "val")]
    slots += ["scheduler=constant", f"encoder.hidden_size={width}", f"trainer.max_epochs={1 if quick else 8}"]
    train, other, epochs = (60, 20, 1) if quick else (6000, 100, 10)
    digits = ["experiment=digits", "data.corpus.max_digits=2", "data.batch_tokens=100", f"trainer.max_epochs={epochs}"]
    digits += [f"data.corpus.train={train}", f"data.corpus.val={other}", f"data.corpus.test={other}"]
    return {
        "attention": [*pairs, "context=additive"],
        "one-vector": pairs,
        "slots": slots,
        "digits": digits,
    }


def train(folder: Path, names: Sequence[str] = NAMES, *, quick: bool = False) -> list[Path]:
    """Train the models that are not there yet, and return the folders of their bundles."""
    folder.mkdir(parents=True, exist_ok=True)
    tagged(folder)
    if quick:
        some_pairs(folder)
    for name, overrides in commands(folder, quick=quick).items():
        run = [f"hydra.run.dir={folder / name}", "trainer.threads=1", "trainer.enable_progress_bar=false"]
        if name in names and not (folder / name / "bundle").is_dir() and (code := main(["train", *overrides, *run])):
            raise SystemExit(code)
    return [folder / name / "bundle" for name in names]


if __name__ == "__main__":
    train(Path(sys.argv[1]), tuple(sys.argv[2:]) or NAMES)
