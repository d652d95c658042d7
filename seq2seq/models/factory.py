"""Configurations to models: the parts that a configuration names (components.py), put together for each task.

Sizes that follow from other parts are in no configuration: the model passes them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from seq2seq.errors import UserError
from seq2seq.models import Classifier, EncoderDecoder, LanguageModel, Regressor, Tagger
from seq2seq.models.components import GIVEN, component, resolve
from seq2seq.models.inputs import MoreInputs
from seq2seq.models.options import RANGES, check_key, check_options, fits, options_of
from seq2seq.models.source_factors import OPTIONS as FACTOR_OPTIONS
from seq2seq.models.source_factors import PLACE, TRIAL_VALUES, refuse_factors, source_factors, take_factors
from seq2seq.models.standardized import StandardizedInput
from seq2seq.models.task_descriptors import TASKS
from seq2seq.nn.bridges import Bridge
from seq2seq.nn.character_embedding import CharacterEncoder, WordEmbedding
from seq2seq.nn.contexts import Context, SeveralContexts
from seq2seq.nn.decoder import Decoder
from seq2seq.nn.embedding import Embedding
from seq2seq.nn.encoders import Encoder, RecurrentEncoder, RecurrentStack
from seq2seq.nn.heads import Head
from seq2seq.text import BOS, BYTES, EOS, UNK
from seq2seq.text.vocabulary import SPECIALS

__all__ = ["check_key", "check_options", "component", "fits", "model", "resolve", "trial_model"]

# Options of the embedding that say where training begins, and nothing of the model.
OF_TRAINING = ("vectors", "freeze_vectors")
EMBEDDING_OPTIONS = ("size", "dropout", "word_dropout", "variational", "share", *OF_TRAINING, *FACTOR_OPTIONS)


def model(task: str, config: Mapping[str, Any], sizes: Mapping[str, int], trusted: Sequence[str] = ()) -> nn.Module:
    """The model of a task, for training and for bundles alike. `sizes` are those that follow from the data: of the
    vocabularies (`source`, `target`), or the width of float inputs (`features`)."""
    made: nn.Module = TASKS[task].build(config, sizes, trusted)
    return made


def trial_model(task: str, config: Mapping[str, Any], trusted: Sequence[str] = ()) -> nn.Module:
    """A model that is only built to check its configuration, of small vocabularies; an image has the size that its
    encoder reads."""
    sizes = dict(TASKS[task].trial_sizes)
    sides = [config["encoder"].get(side) for side in ("height", "width")]
    if "features" in sizes and all(isinstance(side, int) for side in sides):
        sizes["features"] = math.prod(sides)
    factors = config["embedding"].get("factors") if isinstance(config.get("embedding"), Mapping) else None
    if "source" in sizes and isinstance(factors, Mapping):
        sizes |= {f"{PLACE}{name}": TRIAL_VALUES for name in factors}
    return model(task, config, sizes, trusted)


def encoder_decoder(config: Mapping[str, Any], sizes: Mapping[str, int], trusted: Sequence[str] = ()) -> EncoderDecoder:
    """The model of translation; with a size `features`, of captioning: then its sources are numbers."""
    parts = ("encoder", "bridge", "context", "decoder", "head")
    make = {name: component(config[name], name, GIVEN[name], trusted) for name in parts}
    source_size, target_size = sizes.get("source"), sizes["target"]
    options = _embedding_options(config)
    widths, combine = take_factors(options)
    share, size = options.pop("share", False), options.pop("size")
    if source_size is None and (share or widths):
        key, what = (
            ("share=true", "to share; set it to false") if share else ("factors", "with factors; set it to null")
        )
        raise UserError(f"embedding.{key}: the source is numbers and has no vectors {what}")
    if share and source_size != target_size:
        raise UserError(
            f"embedding.share=true needs one vocabulary for both sides, but the source has {source_size} tokens and "
            f"the target {target_size}; set tokenizer.joint=true or embedding.share=false"
        )
    source = None if source_size is None else Embedding(source_size, size, **options)
    target = Embedding(target_size, size, weight=source.weight if source and share else None, **options)
    factors = source_factors(widths, combine, sizes, **options)
    width = size + (factors.size if factors is not None else 0)
    encoder: Encoder = make["encoder"](sizes["features"] if source is None else width)
    extra = {} if source is None else _extra_encoders(config, size, trusted)
    context = make["context"]
    if extra:
        context = functools.partial(SeveralContexts, context, {name: each.output_size for name, each in extra.items()})
    decoder: Decoder = make["decoder"](target.weight, encoder.output_size, context=context, head=make["head"])
    sees_all = config["bridge"].get("inputs") == "all"
    further = {"more": tuple(each.output_size for each in extra.values())} if sees_all else {}
    bridge: Bridge = make["bridge"](encoder.output_size, encoder.state_shapes, decoder.state_shapes, **further)
    if extra and widths:
        raise UserError("embedding.factors: are of a source that is one text; set it to null with extra_encoders")
    more = MoreInputs(extra, EOS) if extra else None
    inputs: dict[str, Any] = {"features": sizes.get("features"), "more_inputs": more, "source_factors": factors}
    made = EncoderDecoder(source, target, encoder, bridge, decoder, bos=BOS, **inputs)
    if made.copies:
        made.read_unseen_as(UNK)
    return made


def _extra_encoders(config: Mapping[str, Any], size: int, trusted: Sequence[str]) -> dict[str, Encoder]:
    """The encoders of a source's inputs after the first, by name; without a cell of its own, one has the encoder's."""
    made: dict[str, Encoder] = {}
    nodes = config.get("extra_encoders") or {}
    if not isinstance(nodes, Mapping):
        raise UserError(f"extra_encoders={nodes!r}: must be encoders by name, or null")
    for name, node in nodes.items():
        place = f"extra_encoders.{name}"
        if not str(name).isidentifier():
            raise UserError(f"{place}: {name!r} must be a name of letters and digits")
        if isinstance(node, Mapping) and "cell" not in node and "cell" in config["encoder"]:
            kind = resolve(node.get("_target_"), place, trusted, Encoder)
            node = {**node, "cell": config["encoder"]["cell"]} if "cell" in options_of(kind) else node
        made[name] = component(node, place, GIVEN["encoder"], trusted, Encoder)(size)
        if made[name].reads_images or made[name].carries_state:
            raise UserError(f"{place}: {type(made[name]).__name__} reads no further input of a source; use recurrent")
    return made


def _embedding_options(config: Mapping[str, Any], *more: str) -> dict[str, Any]:
    """What the tables are made with."""
    for key in config["embedding"]:
        check_key(key, (*EMBEDDING_OPTIONS, *more), "embedding", "embedding")
    return {key: value for key, value in config["embedding"].items() if key not in OF_TRAINING}


def tagger(config: Mapping[str, Any], sizes: Mapping[str, int], trusted: Sequence[str] = ()) -> Tagger:
    """The model of tagging."""
    words, encoder = _reader(config, sizes, trusted)
    head = _head(config, trusted)(encoder.output_size, 0, _no_vectors(sizes))
    return Tagger(words, encoder, head, many=_many(config["labels"], ("many", "separator", "none")))


def classifier(config: Mapping[str, Any], sizes: Mapping[str, int], trusted: Sequence[str] = ()) -> Classifier:
    """The model of classification, whose context pools the memory; with a size `features` its sources are numbers."""
    many = _many(config["labels"], ("many",))
    read = _numbers if "features" in sizes else _reader
    embedding, encoder = read(config, sizes, trusted)
    return Classifier(embedding, encoder, *_pooled(config, encoder, _no_vectors(sizes), trusted), many=many)


def regressor(config: Mapping[str, Any], sizes: Mapping[str, int], trusted: Sequence[str] = ()) -> Regressor:
    """The model of regression, from sequences of `features` columns to as many numbers as `outputs`."""
    embedding, encoder = _numbers(config, sizes, trusted)
    rows = nn.Parameter(torch.empty(sizes["outputs"], 0))
    return Regressor(embedding, encoder, *_pooled(config, encoder, rows, trusted), sizes["outputs"])


def _pooled(
    config: Mapping[str, Any], encoder: Encoder, rows: nn.Parameter, trusted: Sequence[str]
) -> tuple[Context, int, Head]:
    """The context that pools a memory, the size of its query, and a head with an output for each of the `rows`."""
    size = encoder.output_size
    pooling: Context = component(config["context"], "context", GIVEN["context"], trusted)(size, size)
    head: Head = _head(config, trusted)(pooling.size, 0, rows)
    return pooling, size, head


def _numbers(
    config: Mapping[str, Any], sizes: Mapping[str, int], trusted: Sequence[str]
) -> tuple[StandardizedInput, Encoder]:
    """What reads float sequences."""
    encoder: Encoder = component(config["encoder"], "encoder", GIVEN["encoder"], trusted)(sizes["features"])
    return StandardizedInput(sizes["features"]), encoder


def _reader(
    config: Mapping[str, Any], sizes: Mapping[str, int], trusted: Sequence[str]
) -> tuple[WordEmbedding, Encoder]:
    """Word vectors, with characters where the configuration has them, and the encoder above."""
    options = _embedding_options(config, "characters")
    refuse_factors(options, "labels are of words without factors")
    if options.pop("share", False):
        raise UserError("embedding.share=true: labels have no vectors to share; set it to false")
    spelling, size = options.pop("characters", None), options.pop("size")
    table = Embedding(sizes["source"] - (len(BYTES) if spelling else 0), size, **options)
    words = WordEmbedding(table, _characters(config, spelling, trusted) if spelling else None, BYTES)
    encoder: Encoder = component(config["encoder"], "encoder", GIVEN["encoder"], trusted)(words.size)
    return words, encoder


def _characters(config: Mapping[str, Any], options: Mapping[str, Any], trusted: Sequence[str]) -> CharacterEncoder:
    for key in options:
        check_key(key, ("size", "hidden_size", "dropout"), "embedding.characters", "characters")
    for key in ("size", "hidden_size"):
        if not fits(options.get(key), int) or not 1 <= options[key] <= RANGES[key]:
            raise UserError(
                f"embedding.characters.{key}={options.get(key)!r}: must be a whole number from 1 to {RANGES[key]:,}"
            )
    cell = config["encoder"].get("cell")
    if cell is None:
        raise UserError("embedding.characters: there is no encoder.cell to read words with; set it to null")
    made = component(cell, "encoder.cell", GIVEN["cell"], trusted)
    reader = RecurrentEncoder(options["size"], options["hidden_size"], made)
    return CharacterEncoder(len(BYTES), options["size"], reader, dropout=options.get("dropout", 0.0))


def _head(config: Mapping[str, Any], trusted: Sequence[str]) -> Callable[..., Head]:
    """The head of a model without a decoder, and so without source words to attend to, or to copy."""
    if isinstance(config["head"], Mapping) and config["head"].get("lexical"):
        raise UserError("head.lexical=true: reads the source words that a decoder attends to; set it to false here")

    def make(*arguments: Any) -> Head:
        head: Head = component(config["head"], "head", GIVEN["head"], trusted)(*arguments)
        if head.copies:
            raise UserError("head=pointer: copies source tokens to a target, and this task has none; use head=linear")
        return head

    return make


def _no_vectors(sizes: Mapping[str, int]) -> nn.Parameter:
    """The table of labels, which have no vectors; the special tokens are no labels."""
    return nn.Parameter(torch.empty(sizes["target"] - len(SPECIALS), 0))


def _many(options: Mapping[str, Any], known: Sequence[str]) -> bool:
    for key in options:
        check_key(key, known, "labels", "labels")
    if not isinstance(many := options.get("many", False), bool):
        raise UserError(f"labels.many={many!r} must be true or false")
    return many


def language_model(config: Mapping[str, Any], sizes: Mapping[str, int], trusted: Sequence[str] = ()) -> LanguageModel:
    """The model of language modelling."""
    encoder_of = component(config["encoder"], "encoder", GIVEN["encoder"], trusted)
    options = _embedding_options(config)
    refuse_factors(options, "a language model has no source")
    if options.pop("share", False):
        raise UserError("embedding.share=true: a language model has one side only; set it to false (or use head=tied)")
    embedding = Embedding(sizes["target"], **options)
    encoder: Encoder = encoder_of(embedding.size)
    if not encoder.carries_state:
        raise UserError(
            f"encoder: a language model resumes from the state it left, which {type(encoder).__name__} cannot; "
            "use encoder=stack"
        )
    stack = cast(RecurrentStack, encoder)
    return LanguageModel(embedding, stack, _head(config, trusted)(encoder.output_size, 0, embedding.weight))
