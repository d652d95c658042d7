"""Labels of words and of texts over HTTP."""

from __future__ import annotations

from typing import Any, ClassVar

from seq2seq.bundle.format import Bundle
from seq2seq.inference.predictor import Predictor
from seq2seq.serving.hosted import Hosted, Work, texts_of
from seq2seq.serving.limits import Limits
from seq2seq.serving.scheduler import Group
from seq2seq.serving.schemas import LabelBody, PredictBody
from seq2seq.text import check_text


class HostedPredictor(Hosted[LabelBody]):
    """A bundle of task=tagging or task=classification, for POST /label."""

    endpoint: ClassVar[str] = "/label"

    def __init__(self, name: str, bundle: Bundle, limits: Limits) -> None:
        super().__init__(name, bundle, limits)
        self.predictor = Predictor(bundle)

    def describe(self) -> dict[str, Any]:
        """The entry, with all labels of the model."""
        return super().describe() | {"labels": list(self.predictor.labels.labels)}

    def work(self, body: LabelBody) -> Work:
        """One item a text."""
        self.check_count("texts", body.texts)
        for number, text in enumerate(body.texts, 1):
            check_text(text, f"line {number}")
        key = (self.name, body.probabilities)
        group = Group(key, self.limits.batch, lambda items: self._compute(items, body.probabilities))
        return Work(group, body.texts)

    def predict(self, body: PredictBody) -> LabelBody:
        """The texts, without probabilities."""
        return LabelBody(model=body.model, texts=texts_of(body))

    def text(self, result: Any) -> str:
        """The labels as predict-file writes them."""
        return str(result["text"])

    def _compute(self, items: list[str], probabilities: bool) -> list[dict[str, Any]]:
        results = []
        for predicted in self.predictor.predict_stream(items):
            described: dict[str, Any] = {"text": predicted.text, "labels": predicted.labels}
            if probabilities:
                described = predicted.as_dict(self.predictor.labels.labels) | described
            results.append(described)
        return results
