"""`trainer.cuda_graphs`: which trainings may be captured, and the loss that captures (models/graphed_loss.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seq2seq.errors import UserError
from seq2seq.models import EncoderDecoder
from seq2seq.models.graphed_loss import GraphedLoss
from seq2seq.runtime.distributed import current_rank
from seq2seq.training.losses import attention_losses


def made(config: Mapping[str, Any], model: EncoderDecoder) -> GraphedLoss | None:
    """The loss of a run; None where it is not asked for."""
    if not config["trainer"].get("cuda_graphs"):
        return None
    task = config["task"]
    return GraphedLoss(model, label_smoothing=task.get("label_smoothing", 0.0), r_drop=task.get("r_drop", 0.0))


def check(config: Mapping[str, Any], trial: EncoderDecoder) -> None:
    """Raise `UserError` where a training step is no fixed sequence of kernels, which is all that a graph can repeat."""
    if not config["trainer"].get("cuda_graphs"):
        return
    reasons = {
        "task.loss=risk draws translations": config["task"].get("loss") == "risk",
        "attention losses need the links of each batch": any(config["task"].get(k) for k in attention_losses.OPTIONS),
        "the decoder's feedback depends on the step": trial.decoder.feedback.reads_own,
        "trainer.split_out_of_memory=true splits batches": bool(config["trainer"].get("split_out_of_memory")),
        "several processes train together": current_rank().world_size > 1,
    }
    for reason, holds in reasons.items():
        if holds:
            raise UserError(f"trainer.cuda_graphs=true: {reason}, which no graph can repeat; set it to false")
