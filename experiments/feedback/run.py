"""Study 7: teacher forcing, scheduled sampling and free running on Dutch grapheme-to-phoneme conversion.

    python experiments/feedback/run.py [FOLDER]

Fills the table of README.md and writes results.json and feedback.png into this folder (or FOLDER). Three kinds of
feedback, three seeds each; all else is equal. The words of the test are decoded greedily, so that what a model reads in
the search is what it reads in free running.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

sys.path.insert(0, str(Path(__file__).parents[1]))

from machine import write_results
from readme import fill
from study import RUNS, table, train

KINDS = {
    "teacher forcing": ["feedback@decoder.feedback=teacher"],
    "scheduled sampling": ["feedback@decoder.feedback=scheduled", "decoder.feedback.halfway=1000"],
    "free running": ["feedback@decoder.feedback=free"],
}
SEEDS = (1, 2, 3)
SMALL = [
    *("experiment=g2p", "cell=gru", "search=greedy", "trainer.max_epochs=12", "optimizer.lr=0.003"),
    *("embedding.size=64", "encoder.hidden_size=96", "decoder.hidden_size=160", "head.size=128"),
]
BUCKETS = ((1, 4), (5, 6), (7, 8), (9, 10), (11, 99))  # phonemes of the reference
STUDENT = 4.303  # t of a 95% interval from three seeds


def main(folder: Path) -> None:
    """Train, collect, draw."""
    jobs = {job(kind, seed): [*SMALL, *options, f"seed={seed}"] for kind, options in KINDS.items() for seed in SEEDS}
    records = train("feedback", jobs)
    results = {kind: collect(kind, [records[job(kind, seed)] for seed in SEEDS]) for kind in KINDS}
    write_results(folder / "results.json", results, indent=2)
    draw(results, folder / "feedback.png")
    names = {"val_loss": "val loss, target read", "WER": "test WER", "PER": "test PER"}
    header = ["feedback", *names.values(), "tokens/s"]
    rows = [
        [kind, *(spread(found[name]) for name in names), f"{mean(found['tokens_per_second']):,.0f}"]
        for kind, found in results.items()
    ]
    text = table(header, rows)
    fill(Path(__file__).parent / "README.md", {"results": text})
    print(text)


def job(kind: str, seed: int) -> str:
    """The name of a run."""
    return f"{kind.replace(' ', '_')}-{seed}"


def collect(kind: str, records: list[dict]) -> dict:
    """One kind's numbers, a list of one for each seed: scores, validation curve, errors by length."""
    runs = [RUNS / "feedback" / job(kind, seed) for seed in SEEDS]
    return {
        **{name: [record[name] for record in records] for name in ("val_loss", "tokens_per_second")},
        **{name: [record["test"][name]["value"] for record in records] for name in ("WER", "PER")},
        "signatures": {name: records[0]["test"][name]["signature"] for name in ("WER", "PER")},
        "curve": [curve(run / "metrics.csv") for run in runs],
        "by_length": [by_length(run / "test.translations.txt") for run in runs],
    }


def curve(path: Path) -> list[tuple[int, float]]:
    """(optimizer step, validation phoneme error rate) of each validation."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(int(row["step"]), float(row["val_per"])) for row in csv.DictReader(file) if row.get("val_per")]


def by_length(path: Path) -> list[float]:
    """The phoneme error rate of each bucket of test words."""
    from seq2seq.corpora import G2P
    from seq2seq.scoring import Scorer

    members = defaultdict(list)
    lines = path.read_text(encoding="utf-8").split("\n")
    for (_, reference), hypothesis in zip(G2P("dut").pairs("test"), lines, strict=False):
        size = len(reference.split(" "))
        members[next(i for i, (_, last) in enumerate(BUCKETS) if size <= last)].append((hypothesis, reference))
    scorer = Scorer(("per",))
    return [scorer(*map(list, zip(*members[i], strict=True)))["PER"].value for i in range(len(BUCKETS))]


def spread(values: list[float]) -> str:
    """Mean and 95% interval over the seeds."""
    digits = 3 if mean(values) < 5 else 1
    return f"{mean(values):.{digits}f} ± {STUDENT * stdev(values) / len(values) ** 0.5:.{digits}f}"


def draw(results: dict[str, dict], path: Path) -> None:
    """Learning curves, and errors by length: a thin line a seed, a thick one their mean."""
    from matplotlib.figure import Figure

    from seq2seq.reporting import style

    colours = dict(zip(KINDS, (style.BLUE, style.GREEN, style.RED), strict=True))
    labels = [f"{first}–{last}" if last < 99 else f"{first}+" for first, last in BUCKETS]
    with style.house_style():
        figure = Figure(figsize=(7.2, 3.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        for kind, found in results.items():
            steps = [step for step, _ in found["curve"][0]]
            curves = [[value for _, value in seed] for seed in found["curve"]]
            for axes, x, lines in ((left, steps, curves), (right, labels, found["by_length"])):
                for line in lines:
                    axes.plot(x, line, color=colours[kind], alpha=0.3, linewidth=0.8)
                means = [mean(values) for values in zip(*lines, strict=True)]
                axes.plot(x, means, color=colours[kind], label=kind, marker="o")
        style.title(left, "Validation, greedy search")
        left.set_xlabel("optimizer steps")
        style.title(right, "Test, greedy search, by length")
        right.set_xlabel("phonemes of the word")
        for axes in (left, right):
            axes.set_ylabel("phoneme error rate, %")
            axes.set_ylim(0, None)
        left.legend()
        style.save(figure, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
