"""A run that starts from a bundle (`init_from`): its model and its tokenizers are the bundle's.

What no override names is taken from the bundle and recorded in the run's configuration; an override that contradicts it
is refused. Dropout, initialisation and paths are training's own, and may differ. With `init_vocabulary` the tokenizers
are trained on the run's own corpus, as `tokenizer` says, or the bundle's get its tokens in addition.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seq2seq.bundle.format import described, load_bundle
from seq2seq.errors import UserError
from seq2seq.models import equations
from seq2seq.models.equations import TARGET, TRAINING_ONLY, Difference
from seq2seq.runtime.paths import packaged
from seq2seq.text import Tokenizers, TokenizerTrainer, description, load_tokenizers
from seq2seq.text.extension import ExtendingTrainer
from seq2seq.training.configuration.option_catalogue import PLACES, choices, read

EVERYWHERE = ("model", "experiment")  # groups whose files may set any option
DECIDING = (TARGET, "model_type", "normalization", "byte_fallback", "lowercase", "joint", "vocabulary_size", "symbols")
"""Options of a tokenizer that its trained files determine."""
WITH_VOCABULARY = ("translation", "language_modeling")
SHOWN = 8  # differences in one message


def adopted(config: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration with the model and the tokenizers of the bundle `init_from`; as it is where there is none.

    Raises `UserError` where that is no bundle of this task, or an override contradicts it.
    """
    start, task = config.get("init_from"), config.get("task")
    if not isinstance(start, str) or not start or not isinstance(task, Mapping) or "name" not in task:
        return dict(config)  # `schema.check` reports what is wrong with it
    model = _model(config, start)
    typed = list(places(overrides))
    refuse(start, [each for each in _differing(config, model) if _covered(each.key, typed)])
    merged = dict(config) | {name: _merged(config.get(name), node) for name, node in model.items()}
    how = config.get("init_vocabulary")
    if isinstance(config.get("tokenizer"), Mapping) and how == "extend":
        merged["tokenizer"] = _extending(config["tokenizer"], load_tokenizers(Path(start)), start, typed)
    elif isinstance(config.get("tokenizer"), Mapping) and how is None:
        merged["tokenizer"] = _tokenizer(config["tokenizer"], load_tokenizers(Path(start)), start, typed)
    return merged


def check(config: Mapping[str, Any]) -> None:
    """Raise `UserError` where the model is not that of the bundle `init_from`, and for a vocabulary of a new corpus
    (`init_vocabulary`) without a bundle, or in a task whose tokens are labels or numbers."""
    start, how = config.get("init_from"), config.get("init_vocabulary")
    if start is not None:
        refuse(start, _differing(config, _model(config, start)))
    if how is not None and start is None:
        raise UserError(f"init_vocabulary={how}: says what becomes of a bundle's vocabulary; set init_from=BUNDLE too")
    if how is not None and config["task"]["name"] not in WITH_VOCABULARY:
        raise UserError(
            f"init_vocabulary={how}: is for task={' and '.join(WITH_VOCABULARY)}; leave it out, and the bundle's stays"
        )


def starting_tokenizers(
    config: Mapping[str, Any], trainer: TokenizerTrainer
) -> tuple[TokenizerTrainer, Tokenizers | None]:
    """What trains the run's tokenizers, and those of the bundle where nothing is to be trained."""
    start, how = config["init_from"], config.get("init_vocabulary")
    if start is None or how in ("match", "replace"):
        return trainer, None
    tokenizers = load_bundle(Path(start), trusted=config["trust"]).tokenizers
    return (ExtendingTrainer(trainer, tokenizers), None) if how == "extend" else (trainer, tokenizers)


def places(overrides: Iterable[str]) -> Iterable[str]:
    """Where the options are that overrides set, such as `encoder.cell` of `cell@encoder.cell=lstm`."""
    for override in overrides:
        group, _, package = re.sub(r"^[+~]+", "", override.partition("=")[0]).partition("@")
        if group in EVERYWHERE:
            yield from ("encoder", "bridge", "context", "decoder", "head", "embedding", "labels")
        yield from (package,) if package else PLACES.get(group, (group,))


def refuse(start: str, differences: Sequence[Difference]) -> None:
    """Raise `UserError` where there are differences, with the overrides that remove them."""
    if not differences:
        return
    first, more = differences[0], f" (and {len(differences) - SHOWN} more)" if len(differences) > SHOWN else ""
    wanted = " ".join(_spelled(each.key, each.one) for each in differences[:SHOWN])
    raise UserError(
        f"init_from={start}: its model has {_spelled(first.key, first.one)}, and this run has "
        f"{_spelled(first.key, first.other)}: the same weights would mean something else; use {wanted}{more}, or train "
        "without init_from"
    )


def _model(config: Mapping[str, Any], start: str) -> dict[str, Any]:
    bundle, task = described(Path(start)), config["task"]["name"]
    if bundle["task"] != task:
        raise UserError(f"init_from={start}: is a bundle of task={bundle['task']}, and this run's is task={task}")
    model: dict[str, Any] = bundle["model"]
    return model


def _differing(config: Mapping[str, Any], model: Mapping[str, Any]) -> list[Difference]:
    """The differences; of a component that is another class, the options that the bundle's has."""
    nodes = {name: config.get(name) for name in model}
    differences = list(equations.differences(model, nodes, config["trust"]))
    others = [each.key.removesuffix(TARGET) for each in differences if each.key.endswith(TARGET)]
    return [each for each in differences if each.one is not None or not each.key.startswith(tuple(others))]


def _covered(key: str, typed: Iterable[str]) -> bool:
    key = key.removesuffix(f".{TARGET}")
    return any(place and f"{key}.".startswith(f"{place}.") for place in typed)


def _merged(node: Any, bundle_node: Any) -> Any:
    """The bundle's node, with this run's own options of training where it has them."""
    if not isinstance(bundle_node, Mapping) or not isinstance(node, Mapping):
        return bundle_node
    alike = node.get(TARGET) == bundle_node.get(TARGET)
    own = {key: value for key, value in node.items() if key in TRAINING_ONLY and (alike or key in bundle_node)}
    return {key: _merged(node.get(key), value) for key, value in bundle_node.items()} | own


def _tokenizer(node: Mapping[str, Any], trained: Tokenizers, start: str, typed: Sequence[str]) -> dict[str, Any]:
    """The bundle's tokenizers as a configuration, with this run's sampling of segmentations."""
    true = description(trained)
    asked = "tokenizer" in typed
    for key in DECIDING:
        named = f"tokenizer.{key}" in typed or (asked and key in (TARGET, "model_type"))
        if named and key in true and node.get(key, true[key]) != true[key]:
            raise UserError(
                f"init_from={start}: its tokenizers are kept, which are {_spelled(f'tokenizer.{key}', true[key])}, and "
                f"this run asks for {_spelled(f'tokenizer.{key}', node.get(key))}; leave it out, or train without "
                "init_from"
            )
    subwords = str(true[TARGET]).endswith("SentencePieceTrainer")
    return true | {key: value for key, value in node.items() if subwords and key.startswith("sampling")}


def _extending(node: Mapping[str, Any], trained: Tokenizers, start: str, typed: Sequence[str]) -> dict[str, Any]:
    """The tokenizer that finds the tokens to add: of the bundle's kind, with this run's numbers where it is given as
    such (`vocabulary_size` is that of the new corpus), else as many tokens as the bundle has."""
    own = ("vocabulary_size", "symbols")
    true = _tokenizer(node, trained, start, [place for place in typed if place.removeprefix("tokenizer.") not in own])
    if str(node.get(TARGET)).rpartition(".")[2] != str(true[TARGET]).rpartition(".")[2]:
        return true
    fixed = {key: value for key, value in true.items() if key not in own or key not in node}
    return dict(node) | fixed


def _spelled(key: str, value: Any) -> str:
    """An override: of a class, the option of its group."""
    place, _, last = key.rpartition(".")
    if last == TARGET:
        group = place.rpartition(".")[2]
        at = f"{group}@{place}" if group in ("cell", "feedback") else place
        return f"{at}={_option(group, value)}"
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return f"{key}={text}"


def _option(group: str, target: Any) -> str:
    name = str(target).rpartition(".")[2]
    for option in choices(group):
        if str(read(packaged("conf") / group / f"{option}.yaml").get(TARGET)).rpartition(".")[2] == name:
            return option
    return name
