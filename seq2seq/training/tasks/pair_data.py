"""The pairs of a run, by its configuration: corpus, tokenizers and batches of all tasks from text to text or labels."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from seq2seq.corpora import Corpus, TranslationData
from seq2seq.corpora.tags import check_tags
from seq2seq.models import factory
from seq2seq.text import TokenizerTrainer
from seq2seq.training.start.init_from import starting_tokenizers


def corpus_of(config: Mapping[str, Any]) -> Corpus:
    """The corpus of a configuration, of which nothing is read yet."""
    corpus: Corpus = factory.component(config["data"]["corpus"], "data.corpus", (), config["trust"], Corpus)()
    return corpus


def pair_data(
    config: Mapping[str, Any], make: type[TranslationData] = TranslationData, trainer: TokenizerTrainer | None = None
) -> TranslationData:
    """The pairs of a configuration's `data` and `tokenizer` (or `trainer`); shared by all tasks from text to text or
    labels."""
    options = {key: value for key, value in config["data"].items() if key not in ("corpus", "vocabulary_size", "root")}
    known = [
        name
        for name in inspect.signature(TranslationData).parameters
        if name not in ("corpus", "tokenizer", "tokenizers", "seed")
    ]
    for key in options:
        factory.check_key(key, known, "data", "TranslationData")
    corpus = corpus_of(config)
    trainer = trainer or factory.component(config["tokenizer"], "tokenizer", (), config["trust"], TokenizerTrainer)()
    trainer, tokenizers = starting_tokenizers(config, trainer)
    symbols = getattr(tokenizers.source, "symbols", ()) if tokenizers else trainer.symbols
    check_tags(corpus, symbols, equal_length=bool((config.get("search") or {}).get("equal_length")))
    return make(corpus, trainer, seed=config["seed"], tokenizers=tokenizers, **options)
