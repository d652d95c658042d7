"""The pairs of a run, by its configuration: corpus, tokenizers and batches of all tasks from text to text or labels."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from seq2seq.corpora import Corpus, TranslationData
from seq2seq.corpora.protection import check_protecting, with_symbols
from seq2seq.corpora.tags import check_tags
from seq2seq.errors import UserError
from seq2seq.models import factory
from seq2seq.text import Tokenizers, TokenizerTrainer, columns_of, with_columns
from seq2seq.training.start.init_from import starting_tokenizers


def corpus_of(config: Mapping[str, Any]) -> Corpus:
    """The corpus of a configuration, of which nothing is read yet."""
    corpus: Corpus = factory.component(config["data"]["corpus"], "data.corpus", (), config["trust"], Corpus)()
    return corpus


def check_columns(config: Mapping[str, Any], corpus: Corpus) -> None:
    """Raise `UserError` unless each column of a source after the first has an encoder; tags may be without."""
    encoders = list(config.get("extra_encoders") or ())
    columns = [column for column in corpus.columns[1:] if encoders or column.separator is None]
    if len(columns) > len(encoders):
        raise UserError(
            f"data.corpus: a source has {len(corpus.columns)} texts, and each after the first needs an encoder; add "
            f"+encoder@extra_encoders.{columns[len(encoders)].name}=recurrent"
        )
    if len(columns) < len(encoders):
        raise UserError(
            f"extra_encoders.{encoders[len(columns)]}: a source of {corpus.name} has nothing for it to read; set "
            "data.corpus.features_column or data.corpus.source_languages, or leave it out"
        )


def check_factors(config: Mapping[str, Any], corpus: Corpus) -> None:
    """Raise `UserError` unless the factors of a corpus have tables and the other way round, and for what does not know
    of factors."""
    names, widths = list(corpus.factors), list((config.get("embedding") or {}).get("factors") or ())
    if names and config["task"]["name"] != "translation":
        raise UserError(f"data.corpus.factors={names}: are for task=translation; set it to null")
    for name in names:
        if name not in widths:
            raise UserError(
                f"data.corpus.factors: {name} has no vectors; set embedding.factors={{{name}: 16}}, with all of "
                f"{', '.join(names)}"
            )
    for name in widths:
        if name not in names:
            raise UserError(
                f"embedding.factors.{name}: the sources of {corpus.name} have no such factor; set data.corpus.factors "
                "(data=parallel and tsv have it), or leave it out"
            )
    for key, value in {
        "data.protect": config["data"].get("protect"),
        "tokenizer.sampling_alpha": (config.get("tokenizer") or {}).get("sampling_alpha"),
        "init_vocabulary": config.get("init_vocabulary"),
    }.items():
        if names and value:
            raise UserError(f"{key}={value}: makes other tokens than those that factors are of; leave it out")


def _check_given(tokenizers: Tokenizers, corpus: Corpus, *, ends: bool) -> None:
    """Raise `UserError` where a bundle's tokenizers are for sources of other columns or factors."""
    factors = tuple(tokenizers.factors.values) if tokenizers.factors else ()
    if sorted(factors) != sorted(corpus.factors):
        raise UserError(
            f"init_from: the bundle reads {', '.join(factors) or 'no'} factors, and data.corpus.factors has "
            f"{', '.join(corpus.factors) or 'none'}; use those of the bundle"
        )
    given = columns_of(tokenizers.source)
    names = tuple(column.name for column in corpus.columns)
    if (given.names if given else ()) != names or (given is not None and given.ends != ends):
        raise UserError(
            f"init_from: the bundle reads {' and '.join(given.names) if given else 'one text'}, and a source of "
            f"{corpus.name} is {' and '.join(names) or 'one text'}; use data and features that it was trained with"
        )


def check_protection(config: Mapping[str, Any], copies: bool) -> None:
    """Raise `UserError` for `data.protect` with a model that copies, or a tokenizer that has no symbols, before data
    are read."""
    protect = config["data"].get("protect") or 0
    if protect and copies:
        raise UserError(f"data.protect={protect}: moves what head=pointer copies; set it to 0, or use head=linear")
    if protect and config.get("init_from") is None:
        trainer = factory.component(config["tokenizer"], "tokenizer", (), config["trust"], TokenizerTrainer)()
        with_symbols(trainer, protect)


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
    check_columns(config, corpus)
    check_factors(config, corpus)
    protect = config["data"].get("protect") or 0
    if protect and config["task"]["name"] != "translation":
        raise UserError(f"data.protect={protect}: is for task=translation; set it to 0")
    if protect and corpus.columns:
        raise UserError(
            f"data.protect={protect}: is for sources of one text, and {corpus.name} has columns; set it to 0"
        )
    if protect and (config["init_from"] is None or config.get("init_vocabulary") is not None):
        trainer = with_symbols(trainer, protect)
    trainer = with_columns(trainer, corpus.columns, ends=bool(config.get("extra_encoders")))
    trainer, tokenizers = starting_tokenizers(config, trainer)
    if tokenizers:
        _check_given(tokenizers, corpus, ends=bool(config.get("extra_encoders")))
    if protect and tokenizers:
        check_protecting(tokenizers, protect)
    symbols = getattr(tokenizers.source, "symbols", ()) if tokenizers else trainer.symbols
    equal_length = bool((config.get("search") or {}).get("equal_length"))
    check_tags(corpus, symbols, equal_length=equal_length, learnt_before=config["init_from"] is not None)
    return make(corpus, trainer, seed=config["seed"], tokenizers=tokenizers, **options)
