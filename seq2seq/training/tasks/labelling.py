"""What tagging and classification share: a loss over words or texts, and scores on the raw labels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from seq2seq.corpora import Corpus, LabelCorpus, TranslationData
from seq2seq.errors import UserError
from seq2seq.inference.predictor import Predictor, written
from seq2seq.models import factory
from seq2seq.models.label_model import LabelModel, padded_sets, sets
from seq2seq.nn.character_embedding import without_last
from seq2seq.nn.types import Captions, Pairs, Tokens, unpadded_ids
from seq2seq.reporting.label_pictures import label_figures
from seq2seq.runtime.atomic_files import write_lines
from seq2seq.runtime.distributed import merged
from seq2seq.scoring import INTERVALS
from seq2seq.scoring.label_metrics import LabelScorer
from seq2seq.text import (
    BOS,
    EOS,
    LabelTokenizer,
    LabelTrainer,
    SourceAndTarget,
    SpellingTrainer,
    TokenizerTrainer,
    WhitespaceTrainer,
)
from seq2seq.training.base import Card, Outcome, Scored, Task, common
from seq2seq.training.callbacks.samples import Samples
from seq2seq.training.task_module import TaskModule
from seq2seq.training.tasks.outputs import bundle
from seq2seq.training.tasks.pair_data import pair_data

USE = """\
```python
from seq2seq import Predictor

predictor = Predictor.load("BUNDLE")
predictor({example!r})
```

```sh
seq2seq predict-file BUNDLE input.txt {output}.txt
```
"""
FIRST = EOS + 1  # the id of label 0


class LabelModule(TaskModule):
    """Trains a `LabelModel` on `Pairs` of a text and its labels; `references` are the raw labels of val, found by
    `Pairs.rows`. A loss counts words, or texts."""

    def __init__(
        self,
        model: LabelModel,
        *,
        optimizer: Mapping[str, Any],
        scheduler: Mapping[str, Any],
        label_smoothing: float,
        scorer: LabelScorer,
        references: Sequence[str],
        reads_eos: bool,
    ) -> None:
        super().__init__(model, optimizer=optimizer, scheduler=scheduler)
        self.label_smoothing, self.scorer = label_smoothing, scorer
        self.references, self.reads_eos = references, reads_eos
        self.validation_texts: dict[int, str] = {}

    def loss(self, batch: Pairs | Captions, *, training: bool) -> tuple[Tensor, Tensor]:
        """Σ −log p(labels) over words or texts; smoothed in training, where each has one label."""
        model: Any = self.model
        features = model(self._source(batch))
        smoothing = self.label_smoothing if training else 0.0
        total = model.loss(features, self._targets(batch.target, len(features)), label_smoothing=smoothing)
        return total, self._count(batch.target, len(features))

    def _source(self, batch: Pairs | Captions) -> Any:
        source: Any = batch.source  # rows of numbers have no eos
        return source if self.reads_eos else without_last(source)

    def _targets(self, target: Tokens, count: int) -> Tensor:
        """The targets of `count` rows of features; on other devices than a CPU some of them are pads."""
        on_cpu, size = target.ids.device.type == "cpu", len(self.scorer.labels.labels)
        width = target.ids.size(1) if on_cpu else count // max(len(target.ids), 1)
        if self.scorer.labels.form == "one":
            return unpadded_ids(Tokens(target.ids[:, :width] - FIRST, target.lengths - 1))
        return sets(target, BOS, FIRST, size) if on_cpu else padded_sets(target, BOS, FIRST, size, width)

    def _count(self, target: Tokens, count: int) -> Tensor:
        """The number of words (or texts) among `count` rows of features."""
        form = self.scorer.labels.form
        if target.ids.device.type == "cpu" or form == "set":
            return target.lengths.new_full((), count)
        return ((target.ids == BOS) & target.mask).sum() if form == "sets" else (target.lengths - 1).sum()

    def on_validation_epoch_start(self) -> None:
        """Reset the sums of the last validation."""
        super().on_validation_epoch_start()
        self.validation_texts = {}

    def validate(self, batch: Pairs | Captions) -> None:
        """Predict the labels, as text."""
        model: Any = self.model
        predictions = written(model.predict(self._source(batch)), self.scorer.labels)
        self.validation_texts.update(zip(batch.rows.tolist(), (each.text for each in predictions), strict=True))

    def validated(self) -> dict[str, float]:
        """F1 and accuracy in percent, of the labels of all processes."""
        self.validation_texts = merged(self.validation_texts)
        order = sorted(self.validation_texts)
        scores = self.scorer([self.validation_texts[i] for i in order], [self.references[i] for i in order])
        return {f"val_{name.lower()}": score.value for name, score in scores.items()}


class LabelData(TranslationData):
    """Texts and labels; mistakes in labels are reported before anything is encoded."""

    def prepare_data(self) -> None:
        """Check all labels, then prepare the data as `TranslationData` does."""
        self.corpus.prepare()
        assert isinstance(self.corpus, LabelCorpus)
        assert isinstance(self.tokenizers.target, LabelTokenizer)
        self.corpus.check_labels(self.tokenizers.target)
        super().prepare_data()


class Labelling(Task):
    """A task whose output is labels: of each word, or of the text (`unit`)."""

    metrics: tuple[str, ...] = ("val_loss", "val_f1", "val_accuracy")
    hub_task: str
    remedy: str
    """What to set where the corpus does not fit."""

    @abstractmethod
    def labels(self, config: Mapping[str, Any]) -> LabelTrainer:
        """How labels are written."""

    @abstractmethod
    def scorer(self, config: Mapping[str, Any], labels: LabelTokenizer) -> LabelScorer:
        """How labels are scored."""

    @property
    def unit(self) -> str:
        """What each label is for: word or text."""
        assert self.descriptor.label_unit is not None
        return self.descriptor.label_unit

    def check(self, config: Mapping[str, Any], trial: LabelModel) -> None:
        """Raise `UserError` for parts that do not fit each other; the model labels one text of five words."""
        smoothing = config["task"]["label_smoothing"]
        if config["labels"]["many"] and smoothing:
            raise UserError(f"task.label_smoothing={smoothing}: labels.many=true knows no smoothing; set it to 0")
        self.corpus_check(config)
        self.trainer(config)
        ids = torch.full((1, 5), FIRST)
        on_cpu = trial.to_empty(device="cpu") if next(trial.parameters()).is_meta else trial
        on_cpu.eval()(Tokens(ids, torch.tensor([5])))

    def corpus_check(self, config: Mapping[str, Any]) -> None:
        """Raise `UserError` for a corpus whose target is no labels, or not of this task's shape."""
        corpus = config["data"]["corpus"]
        kind = factory.resolve(corpus.get("_target_"), "data.corpus", config["trust"], Corpus)
        if not issubclass(kind, LabelCorpus):
            raise UserError(f"data.corpus: {kind.__name__} has sentences for targets, not labels; {self.remedy}")
        if factory.component(corpus, "data.corpus", (), config["trust"], LabelCorpus)().unit != self.unit:
            raise UserError(f"data.corpus: {kind.__name__} has no labels of each {self.unit} here; {self.remedy}")

    def trainer(self, config: Mapping[str, Any]) -> TokenizerTrainer:
        """The trainer of both sides."""
        text = factory.component(config["tokenizer"], "tokenizer", (), config["trust"], TokenizerTrainer)()
        if config["embedding"].get("characters"):
            if not isinstance(text, WhitespaceTrainer):
                raise UserError("embedding.characters: spells words; use tokenizer=whitespace, or set it to null")
            text = SpellingTrainer(text, training_lines=text.training_lines)
        labels = self.labels(config)
        return SourceAndTarget(lambda: text, lambda: labels)

    def data(self, config: Mapping[str, Any]) -> LabelData:
        """Read the texts and labels."""
        data = pair_data(config, LabelData, self.trainer(config))
        assert isinstance(data, LabelData)
        return data

    def describe(self, data: Any) -> str:
        """Describe for the terminal how many texts are trained on."""
        counts = data.statistics
        return (
            f"{data.corpus.name}, {counts['pairs']:,} texts to train on ({counts['dropped_empty']:,} empty and "
            f"{counts['dropped_long']:,} over-long ones dropped), {len(data.tokenizers.target.labels):,} labels"
        )

    def module(self, config: Mapping[str, Any], model: LabelModel, data: Any) -> LabelModule:
        """Make the module that trains labels."""
        return LabelModule(
            model,
            **common(config),
            label_smoothing=config["task"]["label_smoothing"],
            scorer=self.scorer(config, data.tokenizers.target),
            references=data.text("val")[1],
            reads_eos=self.unit == "text",
        )

    def callbacks(self, config: Mapping[str, Any], data: Any, folder: Path) -> Sequence[Callback]:
        """Labels of a few texts at each validation."""
        count = config["callbacks"].get("samples")
        sources, references = data.text("val")
        return [Samples(folder, sources, references, range(len(sources)), count)] if count else []

    def score(self, outcome: Outcome, folder: Path) -> dict[str, Scored]:
        """Labels, scores, and a picture of each test split."""
        scorer = self.scorer(outcome.config, outcome.data.tokenizers.target)
        tests = {}
        for split in outcome.data.corpus.splits[2:]:
            sources, references = outcome.data.text(split)
            predictions = self.predictions(outcome, split, sources)
            for name, lines in (("sources", sources), ("references", references), ("labels", predictions)):
                write_lines(lines, folder / f"{split}.{name}.txt")
            label_figures(scorer, predictions, references, folder, split)
            tests[split] = scorer(predictions, references, INTERVALS).as_dict()
        return tests

    def predictions(self, outcome: Outcome, split: str, sources: Sequence[str]) -> list[str]:
        """The labels of the sources of a test split."""
        return Predictor(bundle(outcome)).predict(sources)

    def card(self, outcome: Outcome) -> Card:
        """What is labelled, with a text of val to try."""
        corpus, names = outcome.data.corpus, outcome.data.tokenizers.target.labels
        example = next((text for text in outcome.data.text("val")[0] if text.strip()), "")
        summary = f"Gives each {self.unit} its {corpus.target_language}: {len(names)} labels."
        return Card(summary, self.hub_task, USE.format(example=example, output=corpus.target_language))
