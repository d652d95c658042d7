"""Translation as a task: loss per target token, and scores of a search on the raw references."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from seq2seq.corpora import TranslationData
from seq2seq.errors import UserError
from seq2seq.inference.stepper import check_search, translate_ids
from seq2seq.inference.translator import Translator
from seq2seq.models import EncoderDecoder
from seq2seq.models.graphed_loss import GraphedLoss
from seq2seq.nn.scheduled_sampling import SamplingState
from seq2seq.nn.types import Captions, Pairs, map_tensors
from seq2seq.runtime.distributed import merged
from seq2seq.scoring import DEFAULT, NAMES, Scorer
from seq2seq.scoring.suitability import JUDGED, Weakness, weakness
from seq2seq.search import SearchOptions
from seq2seq.text import Tokenizer
from seq2seq.text.unseen import decode, known
from seq2seq.training.base import Card, Outcome, Scored, Task, common
from seq2seq.training.callbacks.samples import Samples
from seq2seq.training.losses import attention_losses, cuda_graphs
from seq2seq.training.losses.objectives import Objective, check_objective, make_objective
from seq2seq.training.task_module import TaskModule
from seq2seq.training.tasks import by_language, by_tag, length_limits
from seq2seq.training.tasks.by_language import Group
from seq2seq.training.tasks.outputs import bundle, draw_attention, search_options, write_scores
from seq2seq.training.tasks.pair_data import check_columns, check_factors, check_protection, corpus_of, pair_data

SLOW = ("ter",)  # metrics that are left to the test
USE = """\
```python
from seq2seq import Translator

translator = Translator.load("BUNDLE")
translator({example!r})
```

```sh
seq2seq translate-file BUNDLE input.{source} output.{target}
```
"""


class TranslationModule(TaskModule):
    """Trains an `EncoderDecoder` on `Pairs`; `references` are the validation split's raw target lines, found by
    `Pairs.rows`, and `scorer` (by default of BLEU and chrF) compares translations with them."""

    def __init__(
        self,
        model: EncoderDecoder,
        *,
        optimizer: Mapping[str, Any],
        scheduler: Mapping[str, Any],
        search: SearchOptions,
        objective: Objective,
        target_tokenizer: Tokenizer,
        references: Sequence[str],
        scorer: Scorer | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(model, optimizer=optimizer, scheduler=scheduler)
        self.search, self.objective = search, objective
        self.target_tokenizer, self.references = target_tokenizer, references
        self.scorer, self.seed = scorer or Scorer(("bleu", "chrf")), seed
        self.validation_texts: dict[int, str] = {}
        self.unseen: Mapping[int, Sequence[str]] = {}
        self.groups: Mapping[str, Group] = {}
        self.searched: frozenset[int] | None = None  # rows of val to translate; None: all
        self.attention_losses: attention_losses.AttentionLosses | None = None
        self.graphed_loss: GraphedLoss | None = None

    def loss(self, batch: Pairs | Captions, *, training: bool) -> tuple[Tensor, Tensor]:
        """Σ −log p(token) over the batch's target tokens, in training with what the `objective` adds and the decoder's
        feedback; or in training the risk, over its sentences."""
        model: Any = self.model
        if not training:
            return model.loss(batch.source, batch.target), batch.target.lengths.sum()
        sampling = SamplingState(self.seed, self.trainer.global_step, self.trainer.global_rank)
        smoothing, r_drop, risk = self.objective
        if risk:
            count = batch.target.lengths.new_full((), len(batch.target.ids))
            return risk(model, batch.source, batch.target, sampling), count
        if self.attention_losses is not None:
            total = self.attention_losses(model, batch, label_smoothing=smoothing, r_drop=r_drop)
        elif self.graphed_loss is not None:
            total = self.graphed_loss(batch.source, batch.target)
        else:
            total = model.loss(batch.source, batch.target, sampling, label_smoothing=smoothing, r_drop=r_drop)
        return total, batch.target.lengths.sum()

    def tokens(self, batch: Pairs | Captions, count: Tensor) -> Tensor:
        """Target tokens, also where the loss is a sum over sentences (risk); none of a batch that does not count."""
        return batch.target.lengths.sum() * (count > 0) if self.objective.risk else count

    def on_validation_epoch_start(self) -> None:
        """Reset the sums of the last validation."""
        super().on_validation_epoch_start()
        self.validation_texts = {}

    def validate(self, batch: Pairs | Captions) -> None:
        """Translate the batch by a search, or its lines that are `searched`."""
        source, rows = batch.source, batch.rows.tolist()
        if self.searched is not None:
            chosen = [i for i, row in enumerate(rows) if row in self.searched]
            if not chosen:
                return
            index = torch.tensor(chosen, device=source.lengths.device)
            source, rows = map_tensors(lambda tensor: tensor[index], source), [rows[i] for i in chosen]
        translations = translate_ids(self.model, source, self.search)  # type: ignore[arg-type]
        tokenizer, tokens = self.target_tokenizer, [hypotheses[0].tokens for hypotheses in translations]
        texts = tokenizer.decode_batch([known(tokenizer, ids) for ids in tokens])
        for i, row in enumerate(rows):
            if row in self.unseen:
                texts[i] = decode(tokenizer, tokens[i], self.unseen[row])
        self.validation_texts.update(zip(rows, texts, strict=True))

    def validated(self) -> dict[str, float]:
        """Perplexity a target token, and the scores; the translations are those of all processes."""
        self.validation_texts = merged(self.validation_texts)
        order = sorted(self.validation_texts)
        scores = self.scorer([self.validation_texts[i] for i in order], [self.references[i] for i in order])
        loss = float(self._validation[0] / self._validation[1])
        overall = {f"val_{name}": scores[NAMES[name]].value for name in self.scorer.metrics}
        groups = by_language.scores(self.groups, self.validation_texts, self.references, self.scorer.metrics)
        return {"val_perplexity": math.exp(min(loss, 700.0)), **overall, **groups}


class Translation(Task):
    """N-to-M, text to text."""

    name = "translation"
    options: tuple[str, ...] = (
        *("loss", "label_smoothing", "r_drop", "risk", "validation_beam_size", "metrics"),
        *attention_losses.OPTIONS,
    )
    metrics: tuple[str, ...] = ("val_loss", "val_perplexity", "val_bleu", "val_chrf")

    def logged(self, config: Mapping[str, Any]) -> tuple[str, ...]:
        """The losses, and the scores of `task.metrics` where it is given."""
        if "metrics" not in config["task"]:
            return self.metrics
        return ("val_loss", "val_perplexity", *(f"val_{name}" for name in quick_metrics(config)))

    def best_by(self, config: Mapping[str, Any]) -> str:
        """BLEU, or else the first score that is logged."""
        scores = [name for name in self.logged(config) if name not in ("val_loss", "val_perplexity")]
        default = self.descriptor.val_metric
        return default if default in scores else next(iter(scores), "val_loss")

    def weakness(self, metric: str, data: Any) -> Weakness | None:
        """Judge the scores by the references of val."""
        name = metric.removeprefix("val_")
        language = data.corpus.target_language  # of others val is not read for nothing
        return weakness(name, data.text("val")[1], language) if name in JUDGED else None

    def reporting(self, config: Mapping[str, Any], metric: str) -> Mapping[str, Any]:
        """`task.metrics`, with that of `metric` first."""
        name = metric.removeprefix("val_")
        if name not in NAMES:
            return super().reporting(config, metric)
        return {**config["task"], "metrics": [name, *(other for other in test_metrics(config) if other != name)]}

    def check(self, config: Mapping[str, Any], trial: EncoderDecoder) -> None:
        """Raise `UserError` for metrics, a search, losses and symbols that cannot be had with this model."""
        Scorer(test_metrics(config))
        check_objective(config, trial)
        check_protection(config, trial.copies)
        check_search(trial, search_options(config["search"]))
        corpus = corpus_of(config)
        check_columns(config, corpus)
        check_factors(config, corpus)
        if config.get("extra_encoders") and config["task"].get("guided_alignment"):
            raise UserError("task.guided_alignment: links are of a single source; set it to 0 with extra_encoders")
        attention_losses.check_options(config, trial, corpus)
        cuda_graphs.check(config, trial)

    def data(self, config: Mapping[str, Any]) -> TranslationData:
        """Read the pairs; a language that cannot be scored is refused before its text is read."""
        data = pair_data(config)
        Scorer(test_metrics(config), language=data.corpus.target_language)
        return data

    def remark(self, config: Mapping[str, Any], data: Any) -> str | None:
        """Warn of references that are longer than outputs can be."""
        return length_limits.remark(data, search_options(config["search"]))

    def module(self, config: Mapping[str, Any], model: EncoderDecoder, data: Any) -> TranslationModule:
        """Make the module that trains translation."""
        module = TranslationModule(
            model,
            **common(config),
            search=validation_search(config),
            objective=make_objective(config["task"], search_options(config["search"]), data.tokenizers.target),
            target_tokenizer=data.tokenizers.target,
            references=data.text("val")[1],
            scorer=Scorer(quick_metrics(config), language=data.corpus.target_language),
            seed=config["seed"],
        )
        if model.copies:
            data.copy_unseen(model.decoder.head.unseen)
            module.unseen = data.unseen("val")
        module.groups = by_language.groups(data.divided("val"), data.corpus)
        if lines := config["trainer"].get("validation_lines"):
            module.searched = frozenset(spread(len(module.references), lines))
        module.attention_losses = attention_losses.made(config, data)
        module.graphed_loss = cuda_graphs.made(config, model)
        return module

    def callbacks(self, config: Mapping[str, Any], data: Any, folder: Path) -> Sequence[Callback]:
        """Sample translations at each validation."""
        count = config["callbacks"].get("samples")
        sources, references = data.text("val")
        lines = spread(len(sources), config["trainer"].get("validation_lines") or len(sources))
        return [Samples(folder, sources, references, lines, count)] if count else []

    def search(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """The options of the group `search`."""
        options: Mapping[str, Any] = config["search"]
        return options

    def score(self, outcome: Outcome, folder: Path) -> dict[str, Scored]:
        """Translations, scores and BLEU by length of each test split; heat maps where there is attention."""
        translator = Translator(bundle(outcome), unknown_tags=True)
        corpus, tests = outcome.data.corpus, {}
        for split in corpus.splits[2:]:
            divided = outcome.data.divided(split)
            scorer = Scorer(test_metrics(outcome.config), language=by_language.language_of(divided, corpus))
            sources, references = outcome.data.text(split)
            translations = translator.translate_full(by_language.tagged(sources, divided))
            texts = [best[0].text for best in translations]
            length_limits.report_cut_off(split, (best[0].hypothesis for best in translations), translator.bundle.search)
            scores = write_scores(split, folder, sources, references, texts, scorer, outcome.data.sentence)
            tests[split] = scores.as_dict()
            source = outcome.data.tokenizers.source
            for line in by_tag.write_table(split, (sources, references, texts), source, scorer.metrics, folder):
                print(line)
        for line in by_language.write_table({split: corpus.parts(split) for split in tests}, tests, corpus, folder):
            print(line)
        if translator.bundle.model.decoder.context.attends:
            shown = by_language.tagged(outcome.data.text("val")[0], outcome.data.divided("val"))
            draw_attention(translator, shown, folder / "attention.png")
        return tests

    def card(self, outcome: Outcome) -> Card:
        """From language to language, with a sentence of val to try."""
        corpus = outcome.data.corpus
        source, target = corpus.source_language, corpus.target_language
        example = next((sentence for sentence in outcome.data.text("val")[0] if sentence.strip()), "")
        use = USE.format(example=example, source=source, target=target)
        return Card(f"Translates {source} to {target}.", "translation", use)


def spread(total: int, count: int) -> list[int]:
    """So many of the rows 0 … total − 1, evenly spread; all of them where there are not more."""
    return [i * total // count for i in range(count)] if count < total else list(range(total))


def validation_search(config: Mapping[str, Any]) -> SearchOptions:
    """That of the group `search`, as a plain beam (or greedy) search of `task.validation_beam_size`."""
    size = config["task"]["validation_beam_size"]
    return search_options(config["search"], beam_size=size, n_best=1, diversity_groups=1, sample=False)


def test_metrics(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The metrics of a test."""
    return tuple(config["task"].get("metrics", DEFAULT))


def quick_metrics(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The metrics of a validation."""
    return tuple(name for name in test_metrics(config) if name not in SLOW)
