"""Study 4: c at every step, c only as the first state, and attention: BLEU by the length of the source.

    python experiments/context/run.py [FOLDER]

Writes results.json and bleu_by_length.png into this folder (or FOLDER). The training data are the embedded corpus; the
test are 1,600 new sentences of its grammar, as many of each length as there can be, none of which training has seen.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from machine import write_results
from study import RUNS, table, train

VARIANTS = {
    "c at every step": ["context=fixed", "decoder.context_to=cell"],
    "c as the first state": ["context=fixed", "decoder.context_to=start"],
    "attention": ["context=additive", "decoder.context_to=cell", "context.attention_size=192"],
}
BUCKETS = ((3, 5), (6, 8), (9, 11), (12, 14), (15, 17), (18, 20), (21, 25), (26, 30))  # words of the source
A_BUCKET = 200  # test sentences


def main(folder: Path) -> None:
    """Train, translate, score by length, draw."""
    corpus = write_corpus(RUNS / "context" / "corpus")
    data = ["experiment=study", "data=tsv", "data.corpus.source_language=en", "data.corpus.target_language=de"]
    data += [f"data.corpus.{split}={corpus / split}.tsv" for split in ("train", "val")]
    data += [f"data.corpus.tests={{lengths: {corpus / 'lengths'}.tsv}}", "data.vocabulary_size=2000"]
    data += ["trainer.max_epochs=10"]
    records = train("context", {name.replace(" ", "_"): [*data, *options] for name, options in VARIANTS.items()})
    results = {}
    for name in VARIANTS:
        run = RUNS / "context" / name.replace(" ", "_")
        record = records[name.replace(" ", "_")]
        results[name] = {
            "parameters": record["parameters"],
            "val_bleu": record["val_bleu"],
            "signature": record["test"]["BLEU"]["signature"],
            "bleu": record["test"]["BLEU"]["value"],
            "by_length": by_length(corpus / "lengths.tsv", run / "lengths.translations.txt"),
        }
    write_results(folder / "results.json", results, indent=2, ensure_ascii=False)
    draw(results, folder / "bleu_by_length.png")
    header = ["source words", *VARIANTS]
    lengths = list(next(iter(results.values()))["by_length"])
    rows = [[length, *(f"{results[name]['by_length'][length]['bleu']:.1f}" for name in VARIANTS)] for length in lengths]
    print(table(header, [*rows, ["all", *(f"{results[name]['bleu']:.1f}" for name in VARIANTS)]]))


def write_corpus(folder: Path) -> Path:
    """The embedded corpus as TSV, and `lengths.tsv`: new sentences of the same grammar, spread over all lengths."""
    if (folder / "lengths.tsv").exists():
        return folder
    import yaml

    from seq2seq.corpora.datasets.grammar import generate
    from seq2seq.runtime.paths import packaged

    folder.mkdir(parents=True, exist_ok=True)
    splits = generate()
    seen = {source for pairs in splits.values() for source, _ in pairs}
    grammar = yaml.safe_load((packaged("data") / "grammar.yaml").read_text(encoding="utf-8"))
    grammar["settings"] |= {"keep": {"9": 0.03, "13": 0.1, "17": 0.4, "30": 1.0}}
    grammar["settings"]["keep"] = {int(words): share for words, share in grammar["settings"]["keep"].items()}
    (folder / "grammar.yaml").write_text(yaml.safe_dump(grammar, allow_unicode=True), encoding="utf-8")
    chosen = defaultdict(list)
    for pair in generate(folder / "grammar.yaml", seed=2)["train"]:
        words = len(pair[0].split())
        bucket = next((bucket for bucket in BUCKETS if bucket[0] <= words <= bucket[1]), None)
        if bucket and pair[0] not in seen and len(chosen[bucket]) < A_BUCKET:
            chosen[bucket].append(pair)
    splits["lengths"] = [pair for bucket in BUCKETS for pair in chosen[bucket]]
    for split, pairs in splits.items():
        text = "".join(f"{source}\t{target}\n" for source, target in pairs)
        (folder / f"{split}.tsv").write_text(text, encoding="utf-8", newline="\n")
    return folder


def by_length(corpus: Path, translations: Path) -> dict[str, dict[str, float]]:
    """BLEU (13a, mixed case) and number of sentences of each bucket."""
    from seq2seq.scoring import Scorer

    members = defaultdict(list)
    lines = corpus.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    for line, translation in zip(lines, translations.read_text(encoding="utf-8").split("\n"), strict=False):
        source, reference = line.split("\t")
        words = len(source.split())
        members[next(b for b in BUCKETS if b[0] <= words <= b[1])].append((translation, reference))
    scorer = Scorer(("bleu",))
    return {
        f"{first}–{last}": {"sentences": len(pairs), "bleu": scorer(*map(list, zip(*pairs, strict=True)))["BLEU"].value}
        for (first, last), pairs in sorted(members.items())
    }


def draw(results: dict[str, dict], path: Path) -> None:
    """One line a model over the buckets."""
    from matplotlib.figure import Figure

    from seq2seq.reporting import style

    with style.house_style():
        figure = Figure(figsize=(5.2, 3.2), layout="constrained")
        axes = figure.add_subplot()
        for (name, result), marker in zip(results.items(), "os^", strict=True):
            buckets = result["by_length"]
            axes.plot(list(buckets), [bucket["bleu"] for bucket in buckets.values()], marker=marker, label=name)
        style.title(axes, "BLEU by source length, embedded corpus")
        axes.set_xlabel("source words")
        axes.set_ylabel("BLEU")
        axes.set_ylim(0, 100)
        axes.legend()
        style.save(figure, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
