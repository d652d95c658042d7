"""Tagging as a task: a label, or any number of them, for each word."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.models.label_model import LabelModel
from seq2seq.scoring.label_metrics import LabelScorer
from seq2seq.text import LabelTokenizer, LabelTrainer, TokenizerTrainer, WhitespaceTrainer
from seq2seq.text.label_tokenizer import is_entity_tag
from seq2seq.training.tasks.labelling import Labelling, LabelModule

log = logging.getLogger(__name__)


class Tagging(Labelling):
    """N-to-N, words to labels."""

    name = "tagging"
    options: tuple[str, ...] = ("label_smoothing", "entities")
    hub_task = "token-classification"
    remedy = "use data=snips data.corpus.labels=slots, or data=tagged"

    def check(self, config: Mapping[str, Any], trial: LabelModel) -> None:
        """Raise `UserError` for a tokenizer that splits words, and scores that the labels do not have, too."""
        trainer = factory.component(config["tokenizer"], "tokenizer", (), config["trust"], TokenizerTrainer)()
        if not isinstance(trainer, WhitespaceTrainer):
            raise UserError("tokenizer: a tagger needs exactly one token a word; use tokenizer=whitespace")
        if trainer.segmenter is not None:
            raise UserError("tokenizer.segmenter: a tagger's words are those of its corpus; set it to null")
        self.scorer(config, LabelTokenizer((), self.labels(config).form))
        super().check(config, trial)

    def labels(self, config: Mapping[str, Any]) -> LabelTrainer:
        """One a word, or a set with a sign between them and a sign for none."""
        options = config["labels"]
        form = "sets" if options["many"] else "one"
        return LabelTrainer(form, str(options["separator"]), str(options["none"]))

    def module(self, config: Mapping[str, Any], model: LabelModel, data: Any) -> LabelModule:
        """Make the module; the log says so where F1 counts labels since the tags do not mark entities."""
        odd = next((tag for tag in data.tokenizers.target.labels if not is_entity_tag(tag)), None)
        if odd is not None and config["task"]["entities"]:
            log.warning(
                "task.entities: %r is no tag of entities (O, B-TYPE, …), so F1 counts labels; it is the accuracy where "
                "no label is %r",
                odd,
                config["labels"]["none"],
            )
        return super().module(config, model, data)

    def scorer(self, config: Mapping[str, Any], labels: LabelTokenizer) -> LabelScorer:
        """F1 of entities, or of all labels."""
        return LabelScorer(labels, entities=config["task"]["entities"], unit=self.unit)
