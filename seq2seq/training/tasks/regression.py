"""Regression as a task: numbers for a float sequence, such as the next value of a series."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seq2seq.corpora import Corpus
from seq2seq.corpora.feature_data import FeatureData
from seq2seq.errors import UserError
from seq2seq.inference.feature_predictor import FeaturePredictor
from seq2seq.models import factory
from seq2seq.models.regressor import Regressor
from seq2seq.nn.types import Captions
from seq2seq.runtime.atomic_files import write_lines
from seq2seq.runtime.distributed import merged
from seq2seq.scoring import INTERVALS
from seq2seq.scoring.number_metrics import Numbers, NumberScorer, as_rows
from seq2seq.text.numbers import NumberTokenizer, NumberTrainer, parsed, written
from seq2seq.training.base import Card, Outcome, Scored, Task, common
from seq2seq.training.task_module import TaskModule
from seq2seq.training.tasks.outputs import bundle
from seq2seq.training.tasks.pair_data import pair_data

USE = """\
```python
from pathlib import Path
from seq2seq.corpora.features import read_features
from seq2seq.inference.feature_predictor import FeaturePredictor

predictor = FeaturePredictor.load("BUNDLE")
list(predictor.predict(read_features(Path("features.npz"))))  # rows of {width} numbers
```

```sh
seq2seq predict-file BUNDLE features.npz numbers.txt
```
"""


class RegressionModule(TaskModule):
    """Trains a `Regressor` on `Captions` whose texts are numbers. A loss counts numbers, in units of σ."""

    def __init__(
        self,
        model: Regressor,
        *,
        optimizer: Mapping[str, Any],
        scheduler: Mapping[str, Any],
        numbers: NumberTokenizer,
        references: Numbers,
    ) -> None:
        super().__init__(model, optimizer=optimizer, scheduler=scheduler)
        self.numbers, self.references = numbers, references
        self.predictions: dict[int, list[float]] = {}

    def loss(self, batch: Captions, *, training: bool) -> tuple[Tensor, Tensor]:
        """Σ of the squared errors, over the numbers of a batch."""
        model: Any = self.model
        targets = self._targets(batch)
        return model.loss(batch.source, targets), torch.tensor(targets.numel(), device=targets.device)

    def _targets(self, batch: Captions) -> Tensor:
        ids = batch.target.ids[:, : 2 * len(self.numbers.means)]  # the rest is eos
        return torch.from_numpy(self.numbers.values(ids.cpu().numpy())).to(batch.source.values)

    def on_validation_epoch_start(self) -> None:
        """Reset the sums of the last validation."""
        super().on_validation_epoch_start()
        self.predictions = {}

    def validate(self, batch: Captions) -> None:
        """Predict the numbers of a batch."""
        model: Any = self.model
        rows = model.predict(batch.source).cpu().tolist()
        self.predictions.update(zip(batch.rows.tolist(), rows, strict=False))

    def validated(self) -> dict[str, float]:
        """The scores of the numbers of all processes."""
        self.predictions = merged(self.predictions)
        order = sorted(self.predictions)
        scores = NumberScorer()(as_rows([self.predictions[i] for i in order]), self.references[order])
        return {f"val_{name.lower()}": score.value for name, score in scores.items()}


class Regression(Task):
    """N-to-1, float sequences to numbers."""

    name = "regression"
    options: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("val_loss", "val_mse", "val_mae", "val_r2")

    def check(self, config: Mapping[str, Any], trial: Regressor) -> None:
        """Raise `UserError` for a corpus of text, and for a tokenizer of text."""
        target = config["data"]["corpus"].get("_target_")
        kind: Any = factory.resolve(target, "data.corpus", config["trust"], Corpus)
        if not kind.has_features:
            raise UserError(
                f"data.corpus: {kind.__name__} holds text, and task=regression reads numbers; use data=series"
            )
        if not str(config["tokenizer"].get("_target_")).endswith(".NumberTrainer"):
            raise UserError("tokenizer: task=regression has numbers for targets; use tokenizer=numbers")

    def data(self, config: Mapping[str, Any]) -> FeatureData:
        """Read the sequences and their numbers."""
        data = pair_data(config, FeatureData, NumberTrainer())
        assert isinstance(data, FeatureData)
        return data

    def sizes(self, data: FeatureData) -> dict[str, int]:
        """The width of the rows, and how many numbers an output has."""
        numbers: Any = data.tokenizers.target
        return {"features": data.width, "outputs": len(numbers.means)}

    def describe(self, data: FeatureData) -> str:
        """Describe for the terminal how many sequences are trained on."""
        counts = data.statistics
        return (
            f"{data.corpus.name}, {counts['pairs']:,} sequences of rows of {data.width:,} numbers to train on "
            f"({counts['dropped_long']:,} over-long ones dropped)"
        )

    def module(self, config: Mapping[str, Any], model: Any, data: FeatureData) -> RegressionModule:
        """Make the module that trains regression; the model gets the scale of the training data."""
        numbers: Any = data.tokenizers.target
        if config["init_from"] is None:
            model.embedding.fit(*data.scale)
            model.fit(torch.tensor(numbers.means), torch.tensor(numbers.deviations))
        references = _targets(data, "val")
        return RegressionModule(model, **common(config), numbers=numbers, references=references)

    def score(self, outcome: Outcome, folder: Path) -> dict[str, Scored]:
        """Predictions and scores of each test split; those of the training mean and, of a series, of the last value are
        printed next to them, and written to baselines.tsv."""
        predictor, corpus, scorer, tests = FeaturePredictor(bundle(outcome)), outcome.data.corpus, NumberScorer(), {}
        table = ["split\tprediction\tMSE\tMAE\tR2"]
        for split in corpus.splits[2:]:
            references = _targets(outcome.data, split)
            predicted = list(predictor.outputs(frames for frames, _ in corpus.examples(split)))
            write_lines([written(row) for row in references], folder / f"{split}.references.txt")
            write_lines([written(row) for row in predicted], folder / f"{split}.numbers.txt")
            tests[split] = scorer(as_rows(predicted), references, INTERVALS).as_dict()
            for name, rows in {"model": as_rows(predicted), **_baselines(outcome.data, split, references)}.items():
                scores = scorer(rows, references)
                table.append("\t".join([split, name, *(f"{score.value:.6g}" for score in scores.values())]))
        write_lines(table, folder / "baselines.tsv")
        print("\n".join(table))
        return tests

    def card(self, outcome: Outcome) -> Card:
        """From rows of numbers to numbers."""
        corpus = outcome.data.corpus
        summary = f"Predicts {corpus.target_language} from {corpus.source_language}."
        return Card(summary, "time-series-forecasting", USE.format(width=outcome.data.width))


def _targets(data: FeatureData, split: str) -> Numbers:
    return as_rows([parsed(text) for _, text in data.corpus.examples(split)])


def _baselines(data: FeatureData, split: str, references: Numbers) -> dict[str, Numbers]:
    """What a model must be better than: the mean of training, and where the corpus is a series, the last value."""
    numbers: Any = data.tokenizers.target
    mean = {"mean": np.broadcast_to(np.array(numbers.means), references.shape)}
    last = getattr(data.corpus, "last_values", None)
    return mean if last is None else mean | {"last value": as_rows([[value] for value in last(split)])}
