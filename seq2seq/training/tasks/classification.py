"""Classification as a task: a label, or any number of them, for a whole text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seq2seq.scoring.label_metrics import LabelScorer
from seq2seq.text import LabelTokenizer, LabelTrainer
from seq2seq.training.tasks.labelling import Labelling


class Classification(Labelling):
    """N-to-1, a text to labels."""

    name = "classification"
    options: tuple[str, ...] = ("label_smoothing",)
    hub_task = "text-classification"
    remedy = "use data=snips data.corpus.labels=intents, or data=labelled"

    def labels(self, config: Mapping[str, Any]) -> LabelTrainer:
        """One, or a set."""
        return LabelTrainer("set" if config["labels"]["many"] else "one")

    def scorer(self, config: Mapping[str, Any], labels: LabelTokenizer) -> LabelScorer:
        """Accuracy, and micro-F1 of all labels (which is the same where each text has one)."""
        return LabelScorer(labels, unit=self.unit)
