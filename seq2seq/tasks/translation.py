"""Translation as a Lightning task: loss per target token, and scores from real search on the raw references."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as lightning
import torch
from torch import Tensor

from seq2seq.decoding import translate_ids
from seq2seq.losses import token_cross_entropy
from seq2seq.models import EncoderDecoder
from seq2seq.scoring import Scorer
from seq2seq.search import SearchOptions
from seq2seq.structures import Pairs
from seq2seq.tasks.optimization import make_optimizer, make_scheduler
from seq2seq.text import Tokenizer


class TranslationTask(lightning.LightningModule):
    """Trains an `EncoderDecoder` on `Pairs`.

    The loss is Σ over target tokens / number of target tokens, in training, validation and across accumulated batches,
    so that no number depends on how the sentences were split into batches. `references` are the validation split's
    raw target lines, found by `Pairs.rows`.
    """

    def __init__(
        self,
        model: EncoderDecoder,
        *,
        optimizer: Mapping[str, Any],
        scheduler: Mapping[str, Any],
        search: SearchOptions,
        label_smoothing: float,
        target_tokenizer: Tokenizer,
        references: Sequence[str],
    ) -> None:
        super().__init__()
        self.model = model
        self.optimizer_config, self.scheduler_config = dict(optimizer), dict(scheduler)
        self.search, self.label_smoothing = search, label_smoothing
        self.target_tokenizer, self.references = target_tokenizer, references
        self.scorer = Scorer(("bleu", "chrf"))
        self.validation_texts: dict[int, str] = {}
        self.metrics: dict[str, float | None] = dict.fromkeys(("val_loss", "val_perplexity", "val_bleu", "val_chrf"))
        self._validation = torch.zeros(2, dtype=torch.double)  # Σ loss in nats, number of target tokens
        self._accumulated = 0  # target tokens since the last optimizer step

    def loss(self, batch: Pairs, label_smoothing: float) -> Tensor:
        """Σ −log p(token) over the batch's target tokens, in nats."""
        head, targets = self.model.decoder.head, batch.target.ids[batch.target.mask]
        features = self.model(batch.source, batch.target)
        return token_cross_entropy(features, head.weight, head.bias, targets, label_smoothing=label_smoothing)

    def training_step(self, batch: Pairs, batch_index: int) -> Tensor:
        """The mean loss of a batch; where batches are accumulated, the sum (see `on_before_optimizer_step`)."""
        total = self.loss(batch, self.label_smoothing)
        count = int(batch.target.lengths.sum())
        self.log("train_loss", total.detach() / count, on_step=True, on_epoch=False, prog_bar=True, batch_size=count)
        self.log("learning_rate", self.trainer.optimizers[0].param_groups[0]["lr"])
        if self.trainer.accumulate_grad_batches == 1:
            return total / count
        self._accumulated += count
        return total

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Turn the accumulated gradient of Σ loss / batches into that of the mean over all tokens of the batches."""
        if not self._accumulated:
            return
        scale = self.trainer.accumulate_grad_batches / self._accumulated
        torch._foreach_mul_([p.grad for p in self.model.parameters() if p.grad is not None], scale)
        self._accumulated = 0

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation."""
        self.validation_texts, self._validation = {}, torch.zeros_like(self._validation)

    def validation_step(self, batch: Pairs, batch_index: int) -> None:
        """Loss without smoothing, and translations by real search."""
        self._validation[0] += float(self.loss(batch, 0.0))
        self._validation[1] += int(batch.target.lengths.sum())
        found = translate_ids(self.model, batch.source, self.search)
        texts = self.target_tokenizer.decode_batch([hypotheses[0].tokens for hypotheses in found])
        self.validation_texts.update(zip(batch.rows.tolist(), texts, strict=True))

    def on_validation_epoch_end(self) -> None:
        """Log val_loss (nats a token), val_perplexity, val_bleu and val_chrf."""
        loss = float(self._validation[0] / self._validation[1])
        order = sorted(self.validation_texts)
        scores = self.scorer([self.validation_texts[i] for i in order], [self.references[i] for i in order])
        self.metrics = {
            "val_loss": loss,
            "val_perplexity": math.exp(min(loss, 700.0)),
            "val_bleu": scores["BLEU"].value,
            "val_chrf": scores["chrF"].value,
        }
        for name, value in self.metrics.items():
            self.log(name, float(value or 0.0), prog_bar=name in ("val_bleu", "val_loss"))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The validation metrics go with the weights that had them."""
        checkpoint["seq2seq_metrics"] = self.metrics

    def configure_optimizers(self) -> Any:
        """By the configuration's names."""
        optimizer = make_optimizer(self.parameters(), self.optimizer_config)
        steps = self.trainer.estimated_stepping_batches if self.scheduler_config["name"] == "cosine" else math.inf
        scheduler = make_scheduler(optimizer, self.scheduler_config, steps)
        return {"optimizer": optimizer} | ({"lr_scheduler": scheduler} if scheduler else {})
