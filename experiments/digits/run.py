"""Digits to words: the image at the first step only, as c at every step, or attended.

    python experiments/digits/run.py [FOLDER]

Writes results.json, digits.png and attention.png into this folder (or FOLDER).
"""

from __future__ import annotations

import sys
from pathlib import Path
from shutil import copyfile
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from machine import write_results
from study import RUNS, table, train

VARIANTS = {
    "first": ["decoder.context_to=first"],
    "fixed": ["decoder.context_to=cell"],
    "attended": ["decoder.context_to=cell", "context=additive"],
}
SHOWN = 12  # strips in the picture: as many wrong ones, if there are, as right ones


def main(folder: Path) -> None:
    """Train, score by the number of digits, draw."""
    from seq2seq.corpora.datasets.digits import Digits

    records = train("digits", {name: ["experiment=digits", *options] for name, options in VARIANTS.items()})
    strips, references = zip(*Digits().examples("test"), strict=True)
    captions = {
        name: (RUNS / "digits" / name / "test.captions.txt").read_text(encoding="utf-8").split("\n")[:-1]
        for name in VARIANTS
    }
    results: dict[str, Any] = {}
    for name, record in records.items():
        exact = {
            count: [
                said == meant for said, meant, strip in zip(captions[name], references, strips) if len(strip) == count
            ]
            for count in range(1, 5)
        }
        results[name] = {
            "parameters": record["parameters"],
            "val_exact": record["val_exact"],
            "test": record["test"],
            "exact_by_digits": {count: 100 * sum(right) / len(right) for count, right in exact.items()},
        }
    write_results(folder / "results.json", results, indent=2)
    draw(strips, references, captions, folder / "digits.png")
    copyfile(RUNS / "digits" / "attended" / "attention.png", folder / "attention.png")
    header = ["the image", "parameters", "val exact", "test exact", *(f"{n} digits" for n in range(1, 5)), "BLEU"]
    print(table(header, [_row(name, found) for name, found in results.items()]))


def _row(name: str, found: dict[str, Any]) -> list[str]:
    digits = [f"{share:.1f}" for share in found["exact_by_digits"].values()]
    exact, bleu = found["test"]["Exact"]["value"], found["test"]["BLEU"]["value"]
    return [name, f"{found['parameters']:,}", f"{found['val_exact']:.1f}", f"**{exact:.1f}**", *digits, f"{bleu:.1f}"]


def draw(strips: Any, references: Any, captions: dict[str, list[str]], path: Path) -> None:
    """Test strips, and what the attended model says of them; what is wrong is red, with the truth below."""
    import numpy as np
    from matplotlib.figure import Figure

    from seq2seq.reporting import style

    said = captions["attended"]
    wrong = [i for i in range(len(strips)) if said[i] != references[i]][: SHOWN // 2]
    right = [i for i in range(len(strips)) if said[i] == references[i]][: SHOWN - len(wrong)]
    with style.house_style():
        figure = Figure(figsize=(9.0, 4.6), layout="constrained")
        for axes, i in zip(figure.subplots(4, 3).flat, right + wrong, strict=True):
            axes.imshow(np.hstack([region.reshape(8, 8) for region in strips[i]]), cmap="gray_r", aspect="equal")
            axes.set_axis_off()
            truth = f"\n(is: {references[i]})" if i in wrong else ""
            axes.set_title(said[i] + truth, fontsize=7, color="firebrick" if i in wrong else "black")
        style.save(figure, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
