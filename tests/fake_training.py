"""`seq2seq` with a training that makes up its learning curve: for tests of sweeps and studies, here and in processes.

The best learning rate is 10^-2.5, attention is worth 3, and seed 13 fails. A validation takes `SLEEP` seconds.
"""

import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seq2seq.errors import UserError
from seq2seq.training.callbacks.watch import Watcher
from seq2seq.training.records.run_record import Record

VALIDATIONS = 6


def train(
    config: dict[str, Any],
    folder: Path,
    overrides: list[str],
    *,
    watch: Watcher | None = None,
    options: Sequence[str] = (),
    trial: object = None,
) -> dict[str, Any]:
    """Instead of `seq2seq.training.run.train`."""
    if (folder / "run.json").exists() and not config.get("resume"):
        raise UserError(f"{folder}: already holds a run")
    record = Record(folder, name=config["name"], seed=config["seed"], overrides=list(overrides))
    record.update(status="running", error=None, began=[*record.values.get("began", []), time.time()])
    (folder / "left.txt").open("a").write("x")
    if config["seed"] == 13:
        raise RuntimeError("seed 13 brings no luck")
    goal = 30 - 4 * abs(math.log10(config["optimizer"]["lr"]) + 2.5)
    goal += 3 if "Fixed" not in config["context"]["_target_"] else 0
    value = 0.0
    for number in range(VALIDATIONS):
        time.sleep(float(os.environ.get("SLEEP", 0)))
        value = goal * (1 - math.exp(-(number + 1) / 2))
        if watch and watch(number, value):
            record.update(status="pruned", val_bleu=value)
            return record.values
    score = {"value": value - 1, "signature": "made up"}
    record.update(status="finished", val_bleu=value, val_loss=100 / value, test={"BLEU": score})
    return record.values


if __name__ == "__main__":
    import seq2seq.training.run
    from seq2seq.cli.main import main

    seq2seq.training.run.train = train  # type: ignore[assignment]
    sys.exit(main(sys.argv[1:]))
