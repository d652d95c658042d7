"""Study 5: bidirectional against unidirectional, reversed source, depth, pyramid: BLEU, and what a sentence costs.

    python experiments/encoders/run.py [FOLDER]

Writes results.json and bleu.png into this folder (or FOLDER). All on the embedded corpus with `experiment=study`, for
fewer epochs. The cost is measured afterwards, when nothing else of the study runs: the encoder alone, forwards and
backwards, on 64 sentences of 14 pieces, all variants in alternation, the median of several rounds, one thread.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from machine import write_results
from study import RUNS, alternating, table, train

OVERRIDES = ["experiment=study", "trainer.max_epochs=5", "optimizer.lr=0.002"]
ATTENTION = ["context=additive", "decoder.context_to=cell", "context.attention_size=192"]
VARIANTS = {
    "both directions, 2 × 192": [],
    "forward, 384": ["encoder.direction=forward", "encoder.hidden_size=384"],
    "backward (reversed source), 384": ["encoder.direction=backward", "encoder.hidden_size=384"],
    "both, 2 layers": ["encoder.num_layers=2"],
    "attention, both, 2 layers": [*ATTENTION, "encoder.num_layers=2"],
    "attention, pyramid, 2 layers": [*ATTENTION, "encoder=pyramidal", "encoder.num_layers=2"],
}
SENTENCES, FEW, ROUNDS = 64, 8, 9


def main(folder: Path) -> None:
    """Train, measure, draw."""
    names = {name: f"{number}" for number, name in enumerate(VARIANTS)}
    jobs = {names[name]: [*OVERRIDES, *options] for name, options in VARIANTS.items()}
    records = train("encoders", jobs)
    costs = cost({name: RUNS / "encoders" / names[name] / "bundle" for name in VARIANTS})
    results = {
        name: {
            "parameters": records[names[name]]["parameters"],
            "val_loss": records[names[name]]["val_loss"],
            "bleu": records[names[name]]["test"]["BLEU"]["value"],
            "signature": records[names[name]]["test"]["BLEU"]["signature"],
            "milliseconds_a_sentence": costs[name],
        }
        for name in VARIANTS
    }
    write_results(folder / "results.json", results, indent=2, ensure_ascii=False)
    draw(results, folder / "bleu.png")
    long = long_sequences()
    write_results(folder / "long.json", long, indent=2)
    print(
        table(["encoder of 400 frames", "ms a sequence"], [[name, f"{1e3 * cost:.1f}"] for name, cost in long.items()])
    )
    header = ["encoder", "parameters", "encoder's ms a sentence", "val loss", "test BLEU"]
    rows = [
        [
            name,
            f"{found['parameters']:,}",
            f"{found['milliseconds_a_sentence']:.2f}",
            f"{found['val_loss']:.3f}",
            f"{found['bleu']:.1f}",
        ]
        for name, found in results.items()
    ]
    print(table(header, rows))


def cost(bundles: dict[str, Path]) -> dict[str, float]:
    """Milliseconds a sentence of the encoder in training: forwards and backwards over a batch of validation length."""
    import torch

    from seq2seq.bundle.format import load_bundle
    from seq2seq.nn.types import Tokens

    models = {name: load_bundle(path).model for name, path in bundles.items()}
    source = Tokens(torch.randint(4, 2000, (SENTENCES, 14)), torch.full((SENTENCES,), 14))
    calls = {
        name: (lambda model=model: model.encode(source).outputs.sum().backward()) for name, model in models.items()
    }
    return {name: 1e3 * seconds / SENTENCES for name, seconds in alternating(calls, ROUNDS).items()}


def long_sequences() -> dict[str, float]:
    """Seconds a sequence of 400 frames of 80 numbers, forwards and backwards, of deep encoders of the same width."""
    import torch

    from seq2seq.nn.cells import GRU
    from seq2seq.nn.encoders import PyramidalEncoder, RecurrentEncoder

    frames, mask = torch.randn(FEW, 400, 80), torch.ones(FEW, 400, dtype=torch.bool)
    encoders = {
        "recurrent, 1 layer": RecurrentEncoder(80, 128, GRU),
        "recurrent, 3 layers": RecurrentEncoder(80, 128, GRU, num_layers=3),
        "pyramidal, 3 layers": PyramidalEncoder(80, 128, GRU, num_layers=3),
    }
    calls = {
        name: (lambda encoder=encoder: encoder(frames, mask).outputs.sum().backward())
        for name, encoder in encoders.items()
    }
    return {name: seconds / FEW for name, seconds in alternating(calls, ROUNDS).items()}


def draw(results: dict[str, dict[str, Any]], path: Path) -> None:
    """One bar a variant."""
    from matplotlib.figure import Figure

    from seq2seq.reporting import style

    with style.house_style():
        figure = Figure(figsize=(6.4, 3.0), layout="constrained")
        axes = figure.add_subplot()
        colours = [style.GREEN if name.startswith("attention") else style.BLUE for name in results]
        bars = axes.barh(list(results), [found["bleu"] for found in results.values()], color=colours)
        labels = [
            f"{found['bleu']:.1f}  ({found['milliseconds_a_sentence']:.2f} ms a sentence)" for found in results.values()
        ]
        axes.bar_label(bars, labels, padding=3, fontsize=8)
        axes.invert_yaxis()
        axes.set_xlim(0, 140)
        axes.set_xticks([0, 20, 40, 60, 80, 100])
        axes.grid(False, axis="y")
        axes.set_xlabel("test BLEU")
        style.title(axes, "Encoders on the embedded corpus: BLEU, and cost in training")
        style.save(figure, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
