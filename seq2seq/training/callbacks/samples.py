"""Translations of a few validation sentences after each validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger


class Samples(Callback):
    """Writes the same few validation sentences' translations after each validation: into samples.tsv, and as a table
    into TensorBoard's or wandb's log. They are `count` of `lines`, the rows that validation translates."""

    def __init__(
        self, folder: Path, sources: Sequence[str], references: Sequence[str], lines: Sequence[int], count: int
    ) -> None:
        self.rows = list(lines[:: max(1, len(lines) // count)])[:count]
        self.path, self.sources, self.references = folder / "samples.tsv", sources, references

    def on_validation_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Read the task's last translations; of several processes, one writes."""
        if not trainer.is_global_zero:
            return
        table = [
            [trainer.global_step, self.sources[i], self.references[i], module.validation_texts[i]]
            for i in self.rows
            if i in module.validation_texts
        ]
        new = not self.path.exists()
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            if new:
                file.write("step\tsource\treference\ttranslation\n")
            file.writelines("\t".join(_cell(cell) for cell in row) + "\n" for row in table)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_table("samples", ["step", "source", "reference", "translation"], table)
            elif isinstance(logger, TensorBoardLogger):
                rows = ["| source | reference | translation |", "|---|---|---|"]
                rows += ["| " + " | ".join(_cell(cell).replace("|", "\\|") for cell in row[1:]) + " |" for row in table]
                logger.experiment.add_text("samples", "\n".join(rows), trainer.global_step)


def _cell(value: object) -> str:
    return str(value).replace("\t", " ").replace("\n", " ").replace("\r", " ")
