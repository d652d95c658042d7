"""Folders of finished runs, as training leaves them, without the training."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from seq2seq.scoring import Scorer
from tests import bundles

SOURCES = ["the old man sleeps in the house", "a red dog runs and a man sees the dog", "a dog", "the woman runs"]
REFERENCES = ["a b c d e.", "b c d e f g h", "c d e f", "d e f g"]
OUTPUTS = ["a b x d e.", "b c d e f g h", "c d e f e", "d e f"]


def write(
    folder: Path,
    *,
    outputs: Sequence[str] = OUTPUTS,
    sources: Sequence[str] = SOURCES,
    references: Sequence[str] = REFERENCES,
    seed: int = 1,
    overrides: Sequence[str] = (),
    bundle: dict[str, Any] | None = None,
    **config: Any,
) -> Path:
    """A translation run: record, settings, metrics, test texts; with `bundle` also a model of these changes."""
    folder.mkdir(parents=True)
    record = {"status": "finished", "error": None, "name": folder.name, "seed": seed, "overrides": list(overrides)}
    record |= {"test": Scorer(("bleu", "chrf"))(list(outputs), list(references)).as_dict(), "val_loss": 2.0 + seed}
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    settings = {"name": folder.name, "seed": seed, "task": {"name": "translation"}, **config}
    (folder / "hparams.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    rows = ["epoch,learning_rate,step,train_loss,val_bleu,val_loss"]
    for step in range(0, 100, 10):
        rows += [f"0,0.001,{step},{9 - step / 20 + seed},,", f"0,,{step},,{step / 4 * seed},{8 - step / 20}"]
    (folder / "metrics.csv").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    for name, lines in (("sources", sources), ("references", references), ("translations", outputs)):
        (folder / f"test.{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    if bundle is not None:
        bundles.save(folder / "bundle", seed=seed, **bundle)
    return folder
