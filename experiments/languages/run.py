"""Study: one model for three directions of Multi30k against a model each, and what a trained model is worth for another
language with a tenth of the data.

    python experiments/languages/run.py MULTI30K [--only mix|transfer] [--parallel 1] [--write] [OVERRIDE …]

MULTI30K is the folder with train.en.gz and so on. A line of training in three is used, so that a run takes minutes of
one core. Each run is a `seq2seq train` whose command is printed; those that have finished are not run again. The tables
are printed, and with --write put into README.md. Overrides, such as trainer.max_steps=5, are added to each run, to try.
"""

from __future__ import annotations

import gzip
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from machine import write_results  # noqa: E402
from readme import fill  # noqa: E402
from study import RUNS, table, train  # noqa: E402

DIRECTIONS = (("en", "de"), ("en", "fr"), ("de", "en"))
MODEL = ["cell=gru", "context=multiplicative", "decoder.query=current", "decoder.context_to=readout", "head=maxout"]
MODEL += ["embedding.size=128", "embedding.share=true", "embedding.dropout=0.2"]
MODEL += ["encoder.hidden_size=128", "decoder.hidden_size=192", "head.size=128"]
MODEL += ["encoder.dropout=0.2", "head.dropout=0.2", "data.vocabulary_size=3000"]
TRAINING = ["data=parallel", "data.batch_tokens=800", "optimizer.lr=0.002", "task.metrics=[bleu]", "seed=1"]
TRAINING += ["callbacks.samples=0", "callbacks.early_stopping.patience=null"]
EPOCHS = 8
"""Of each direction, in the mixture too: so each model has seen each of its pairs as often."""
TENTH_EPOCHS = 15
SETTINGS = {
    "from scratch": [],
    "replace": ["init_vocabulary=replace"],
    "match": ["init_vocabulary=match"],
}


def main() -> None:
    """Train, print the tables, and put them into the page."""
    parser = ArgumentParser(description="One model for three directions, and a trained one for another language.")
    parser.add_argument("multi30k", type=Path)
    parser.add_argument("--only", choices=("mix", "transfer"))
    parser.add_argument("--parallel", type=int, default=1, help="runs at once, each on one thread")
    parser.add_argument("--write", action="store_true", help="into NAME.json and README.md of this folder")
    parser.add_argument("overrides", nargs="*", help="for each run, such as trainer.max_steps=5")
    arguments = parser.parse_intermixed_args()
    corpus = write_corpus(arguments.multi30k, RUNS / "languages" / "corpus")
    parts = {"mix": mix, "transfer": transfer}
    for name in parts if arguments.only is None else [arguments.only]:
        results, made = parts[name](corpus, arguments.parallel, arguments.overrides)
        print(made)
        if arguments.write:
            write_results(HERE / f"{name}.json", results, indent=1)
            fill(HERE / "README.md", {name: made})


def write_corpus(given: Path, folder: Path) -> Path:
    """Every third line of train and val, every tenth of train as `tenth`, and the test, as plain files."""
    folder.mkdir(parents=True, exist_ok=True)
    for language in ("en", "de", "fr"):
        for split, every, name in (
            ("train", 3, "train"),
            ("train", 10, "tenth"),
            ("val", 3, "val"),
            ("test_2016_flickr", 1, "test"),
        ):
            text = "".join(_lines(given / f"{split}.{language}", every))
            (folder / f"{name}.{language}").write_text(text, encoding="utf-8", newline="\n")
    return folder


def _lines(path: Path, every: int) -> Iterator[str]:
    packed = path.with_name(f"{path.name}.gz")
    with gzip.open(packed, "rt", encoding="utf-8") if packed.exists() else path.open(encoding="utf-8") as file:
        yield from (line for number, line in enumerate(file) if number % every == 0)


def one_direction(corpus: Path, source: str, target: str, train_name: str = "train") -> list[str]:
    """The data of one pair of languages."""
    return [
        f"data.corpus.source_language={source}",
        f"data.corpus.target_language={target}",
        f"data.corpus.train={corpus / train_name}",
        f"data.corpus.val={corpus / 'val'}",
        f"data.corpus.tests={{test: {corpus / 'test'}}}",
    ]


def all_directions(corpus: Path) -> list[str]:
    """The data of all pairs of languages, with a tag for the language to translate to."""

    def entry(name: str, source: str, target: str) -> str:
        files = corpus / name
        return f'{{files: {files}, tag: "<2{target}>", source_language: {source}, target_language: {target}}}'

    splits = {name: [entry(name, *pair) for pair in DIRECTIONS] for name in ("train", "val")}
    tests = [f"{source}_{target}: {entry('test', source, target)}" for source, target in DIRECTIONS]
    return [
        "data.corpus.source_language=en",
        "data.corpus.target_language=de",
        'tokenizer.symbols=["<2de>","<2fr>","<2en>"]',
        *(f"data.corpus.{name}=[{','.join(entries)}]" for name, entries in splits.items()),
        f"data.corpus.tests={{{', '.join(tests)}}}",
    ]


def mix(corpus: Path, parallel: int, more: list[str]) -> tuple[dict[str, Any], str]:
    """A model for each against one of the same size, each direction for as many epochs."""
    settings = [*MODEL, *TRAINING, f"trainer.max_epochs={EPOCHS}"]
    jobs = {f"{s}_{t}": [*settings, *one_direction(corpus, s, t), *more] for s, t in DIRECTIONS}
    jobs["all"] = [*settings, *all_directions(corpus), *more]
    records = train("languages", jobs, parallel=parallel)
    rows, results = [], {}
    for source, target in DIRECTIONS:
        name = f"{source}_{target}"
        one, all_of_them = records[name]["test"]["BLEU"], records["all"]["tests"][name]["BLEU"]
        results[name] = {"one": one, "all": all_of_them}
        rows.append([f"{source}→{target}", *(f"{score['value']:.1f}" for score in (one, all_of_them))])
    sizes = {name: records[name]["parameters"] for name in jobs}
    rows.append(["parameters", f"{sum(sizes[f'{s}_{t}'] for s, t in DIRECTIONS):,}", f"{sizes['all']:,}"])
    header = ["BLEU on test_2016_flickr", "a model each", "one model with tags"]
    return results | {"parameters": sizes}, table(header, rows)


def transfer(corpus: Path, parallel: int, more: list[str]) -> tuple[dict[str, Any], str]:
    """English–French of a tenth, from scratch and from the model for English–German."""
    data = [*TRAINING, *one_direction(corpus, "en", "fr", "tenth"), f"trainer.max_epochs={TENTH_EPOCHS}"]
    data += ["data.vocabulary_size=3000"]
    parent = [*MODEL, *TRAINING, f"trainer.max_epochs={EPOCHS}", *one_direction(corpus, "en", "de"), *more]
    train("languages", {"en_de": parent})
    start = [f"init_from={RUNS / 'languages' / 'en_de' / 'bundle'}"]
    jobs = {
        f"tenth_{name.replace(' ', '_')}": [*data, *(start if options else MODEL), *options, *more]
        for name, options in SETTINGS.items()
    }
    records = train("languages", jobs, parallel=parallel)
    results = {
        name: {"BLEU": records[job]["test"]["BLEU"], "val_bleu": records[job]["val_bleu"]}
        for name, job in zip(SETTINGS, jobs, strict=True)
    }
    rows = [
        [name, *("" if value is None else f"{value:.1f}" for value in (each["val_bleu"], each["BLEU"]["value"]))]
        for name, each in results.items()
    ]
    return results, table(["start", "val", "BLEU on test_2016_flickr"], rows)


if __name__ == "__main__":
    main()
