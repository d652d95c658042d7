"""Classification as a task: a label, or any number of them, for a whole text, or for a float sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seq2seq.corpora import Corpus
from seq2seq.corpora.feature_data import FeatureData
from seq2seq.errors import UserError
from seq2seq.inference.feature_predictor import FeaturePredictor
from seq2seq.models import factory
from seq2seq.scoring.label_metrics import LabelScorer
from seq2seq.text import LabelTokenizer, LabelTrainer
from seq2seq.text.label_tokenizer import unknown
from seq2seq.training.base import Card, Outcome
from seq2seq.training.tasks import regression
from seq2seq.training.tasks.labelling import Labelling, LabelModule
from seq2seq.training.tasks.outputs import bundle
from seq2seq.training.tasks.pair_data import pair_data


class FeatureLabelData(FeatureData):
    """Float sequences and their labels; mistakes in labels are reported before anything is encoded."""

    def prepare_data(self) -> None:
        """Check all labels, then prepare the data as `FeatureData` does."""
        self.corpus.prepare()
        labels: Any = self.tokenizers.target
        for split in self.corpus.splits:
            for number, (_, text) in enumerate(self.corpus.examples(split), 1):
                where = f"{split}, sequence {number}"
                if labels.form == "one" and len(text.split()) != 1:
                    raise UserError(f"{where}: {text!r} is not exactly one label; for any number set labels.many=true")
                if label := next(unknown(labels, text), None):
                    raise UserError(f"{where}: label {label!r} was never seen in training")
        super().prepare_data()


class Classification(Labelling):
    """N-to-1, a text or a float sequence to labels."""

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

    def corpus_check(self, config: Mapping[str, Any]) -> None:
        """Raise `UserError` for a corpus whose target is no labels; those of float sequences are checked as they are
        read."""
        if not _reads_numbers(config):
            super().corpus_check(config)

    def data(self, config: Mapping[str, Any]) -> Any:
        """Read the texts, or the sequences, and the labels."""
        if _reads_numbers(config):
            return pair_data(config, FeatureLabelData, self.trainer(config))
        return super().data(config)

    def sizes(self, data: Any) -> dict[str, int]:
        """The width of the rows where sources are numbers, and the labels."""
        if not isinstance(data, FeatureData):
            return super().sizes(data)
        return {"features": data.width, "target": len(data.tokenizers.target)}

    def module(self, config: Mapping[str, Any], model: Any, data: Any) -> LabelModule:
        """Make the module; a model that reads numbers gets the scale of the training data."""
        if isinstance(data, FeatureData) and config["init_from"] is None:
            model.embedding.fit(*data.scale)
        return super().module(config, model, data)

    def predictions(self, outcome: Outcome, split: str, sources: Sequence[str]) -> list[str]:
        """The labels of a test split."""
        if not isinstance(outcome.data, FeatureData):
            return super().predictions(outcome, split, sources)
        frames = (frames for frames, _ in outcome.data.corpus.examples(split))
        return list(FeaturePredictor(bundle(outcome)).predict(frames))

    def card(self, outcome: Outcome) -> Card:
        """What is labelled, and how the bundle is used."""
        card = super().card(outcome)
        if not isinstance(outcome.data, FeatureData):
            return card
        use = regression.USE.format(width=outcome.data.width)
        return card._replace(hub_task="time-series-classification", use=use)


def _reads_numbers(config: Mapping[str, Any]) -> bool:
    kind: Any = factory.resolve(config["data"]["corpus"].get("_target_"), "data.corpus", config["trust"], Corpus)
    return bool(kind.has_features)
