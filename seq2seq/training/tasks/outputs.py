"""What a run makes of its trained model: a bundle in memory, the scores of a split, and pictures of attention."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seq2seq.bundle.format import Bundle
from seq2seq.inference.request import Request
from seq2seq.inference.translator import Translator
from seq2seq.models import factory
from seq2seq.models.task_descriptors import TASKS
from seq2seq.reporting.attention import attention_maps
from seq2seq.reporting.inspection import attention_map
from seq2seq.reporting.lengths import bleu_by_length
from seq2seq.runtime.atomic_files import write_lines
from seq2seq.scoring import INTERVALS, Scorer, Scores
from seq2seq.search import SearchOptions
from seq2seq.text import BOS, EOS, PAD
from seq2seq.training.base import Outcome

ATTENTION_MAPS = 4  # sentences in attention.png


def search_options(config: Mapping[str, Any], **changes: Any) -> SearchOptions:
    """The group `search` as options; raises `UserError` for an unknown key or value."""
    known = list(inspect.signature(SearchOptions).parameters)
    for key in config:
        factory.check_key(str(key), known, "search", "search")
    return SearchOptions(**{"bos": BOS, "eos": EOS, "pad": PAD, **config, **changes})


def bundle(outcome: Outcome) -> Bundle:
    """The trained model as a bundle in memory."""
    task = TASKS[outcome.config["task"]["name"]]
    nodes = task.model_nodes(outcome.config)
    search = search_options(outcome.config.get("search", {}))
    return Bundle(task.name, outcome.module.model, outcome.data.tokenizers, nodes, {}, search, dict(outcome.provenance))


def draw_attention(translator: Translator, sources: Sequence[Request], path: Path) -> None:
    """Heat maps of a few validation sentences of middling length."""
    middling = [request for request in sources if 5 <= len(request.text.split()) <= 14]
    chosen = middling[:ATTENTION_MAPS] or sources[:ATTENTION_MAPS]
    translations = translator.translate_full(chosen, translator.options(n_best=1, return_attention=True))
    maps = [attention_map(translator, each.text, best[0]) for each, best in zip(chosen, translations, strict=True)]
    attention_maps([item for item in maps if item is not None], path)


def write_scores(
    split: str,
    folder: Path,
    sources: Sequence[str],
    references: Sequence[str],
    hypotheses: Sequence[str],
    scorer: Scorer,
    sentence: Callable[[str], str] = str,
) -> Scores:
    """Write sources, references and translations of a split, with BLEU by length; return the scores. `sentence` gives
    the text of a source, without its factors."""
    for name, lines in (("sources", sources), ("references", references), ("translations", hypotheses)):
        write_lines(lines, folder / f"{split}.{name}.txt")
    if "bleu" in scorer.metrics:
        texts, picture = [sentence(source) for source in sources], folder / f"bleu_by_length.{split}.png"
        bleu_by_length(texts, hypotheses, references, picture, scorer.language)
    return scorer(hypotheses, references, INTERVALS)
