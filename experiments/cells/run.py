"""Study 6: GRU against LSTM against vanilla: parameters, time a token, BLEU, three seeds with intervals.

    python experiments/cells/run.py [FOLDER]

Writes results.json and bleu.png into this folder (or FOLDER). Both sides have the cell; all else is that of
`experiment=study`, for fewer epochs. The cost of a step is measured afterwards. The interval is that of Student's t
over the seeds (two degrees of freedom), at 95%.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from machine import write_results
from study import RUNS, alternating, table, train

CELLS = ("vanilla", "gru", "lstm")
SEEDS = (1, 2, 3)
SENTENCES, LENGTH = 48, 13  # of the batch whose cost is measured: about that of training
T95 = 4.303  # Student's t, two degrees of freedom, two-sided 95%
OVERRIDES = ["experiment=study", "trainer.max_epochs=5", "optimizer.lr=0.002"]


def main(folder: Path) -> None:
    """Train nine models, two at a time; summarise and draw."""
    jobs = {f"{cell}_{seed}": [*OVERRIDES, f"cell={cell}", f"seed={seed}"] for seed in SEEDS for cell in CELLS}
    records = train("cells", jobs)
    results = {cell: summary([records[f"{cell}_{seed}"] for seed in SEEDS]) for cell in CELLS}
    for cell, seconds in cost().items():
        results[cell]["microseconds_a_token"] = 1e6 * seconds
    write_results(folder / "results.json", results, indent=2)
    draw(results, folder / "bleu.png")
    rows = [
        [
            cell,
            f"{found['parameters']:,}",
            f"{found['microseconds_a_token']:.0f}",
            f"{found['val_loss']:.3f}",
            ", ".join(f"{value:.1f}" for value in found["bleu"]),
            f"{mean(found['bleu']):.1f} ± {found['interval']:.1f}",
        ]
        for cell, found in results.items()
    ]
    header = ["cell", "parameters", "µs a target token", "val loss", "test BLEU by seed", "mean and 95% interval"]
    print(table(header, rows))


def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    """What is told of a cell."""
    bleu = [record["test"]["BLEU"]["value"] for record in records]
    return {
        "parameters": records[0]["parameters"],
        "val_loss": mean(record["val_loss"] for record in records),
        "bleu": bleu,
        "interval": T95 * stdev(bleu) / len(bleu) ** 0.5,
        "signature": records[0]["test"]["BLEU"]["signature"],
    }


def cost() -> dict[str, float]:
    """Seconds a target token of a training step (loss and gradients), one thread: the cells in turn, the median."""
    import torch

    from seq2seq.bundle.format import load_bundle
    from seq2seq.nn.losses import token_cross_entropy
    from seq2seq.nn.types import Tokens

    models = {cell: load_bundle(RUNS / "cells" / f"{cell}_1" / "bundle").model.train() for cell in CELLS}
    batch = Tokens(torch.randint(4, 2000, (SENTENCES, LENGTH)), torch.full((SENTENCES,), LENGTH))

    def step(model: Any) -> None:
        head = model.decoder.head
        loss = token_cross_entropy(model(batch, batch), head.weight, head.bias, batch.ids.flatten())
        loss.backward()
        model.zero_grad()

    seconds = alternating({cell: (lambda model=model: step(model)) for cell, model in models.items()}, 15)
    return {cell: found / (SENTENCES * LENGTH) for cell, found in seconds.items()}


def draw(results: dict[str, dict[str, Any]], path: Path) -> None:
    """A point a seed, the mean and its interval."""
    from matplotlib.figure import Figure

    from seq2seq.reporting import style

    with style.house_style():
        figure = Figure(figsize=(4.2, 3.0), layout="constrained")
        axes = figure.add_subplot()
        for place, found in enumerate(results.values()):
            axes.errorbar(
                place, mean(found["bleu"]), found["interval"], fmt="o", color=style.BLUE, capsize=5, markersize=7
            )
            axes.plot([place + 0.12] * len(found["bleu"]), found["bleu"], ".", color=style.GREY)
        axes.set_xticks(range(len(results)), list(results))
        axes.set_xlim(-0.5, len(results) - 0.5)
        axes.set_ylabel("test BLEU")
        style.title(axes, "Mean and 95% interval over three seeds")
        style.save(figure, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
