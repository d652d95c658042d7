"""From trained tokenizers back to the configuration node that would train them: for a bundle's own tokenizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from seq2seq.text.characters import CharacterTokenizer
from seq2seq.text.label_tokenizer import LabelTokenizer
from seq2seq.text.letters import LetterTokenizer
from seq2seq.text.numbers import NumberTokenizer
from seq2seq.text.segmented import SegmentedTokenizer
from seq2seq.text.spelling import SpellingTokenizer
from seq2seq.text.subwords import SentencePieceTokenizer
from seq2seq.text.tokenizer import Tokenizer, Tokenizers, columns_of
from seq2seq.text.words import WhitespaceTokenizer


def description(tokenizers: Tokenizers) -> dict[str, Any]:
    """The `tokenizer` node for both sides. Where the target is labels, it describes the source only, as in conf."""
    source, target = (_of_text(side) for side in tokenizers[:2])
    if source.kind == target.kind or target.kind == LabelTokenizer.kind:
        joint = tokenizers.joint or (source is not tokenizers.source and source.fingerprint == target.fingerprint)
        return _node(source) | {"joint": joint}
    return {"_target_": "seq2seq.text.SourceAndTarget", "source": _node(source), "target": _node(target)}


def _of_text(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer of text: of several columns, that of the first; the corpus tells the others."""
    columns = columns_of(tokenizer)
    return columns.columns[0] if columns else tokenizer


def _node(tokenizer: Tokenizer) -> dict[str, Any]:
    if isinstance(tokenizer, SegmentedTokenizer):
        return _node(tokenizer.inner) | {"segmenter": tokenizer.segmenter}
    trainer, options = TRAINERS[tokenizer.kind]
    symbols = list(getattr(tokenizer, "symbols", ()))
    return {"_target_": f"seq2seq.text.{trainer}"} | ({"symbols": symbols} if symbols else {}) | options(tokenizer)


def _none(tokenizer: Tokenizer) -> dict[str, Any]:
    return {}


def _words(tokenizer: Tokenizer) -> dict[str, Any]:
    return {"lowercase": bool(tokenizer.describe().get("lowercase", False))}


def _sentencepiece(tokenizer: Tokenizer) -> dict[str, Any]:
    """The training options that a sentencepiece model records: model_type, normalization, byte_fallback."""
    from sentencepiece import sentencepiece_model_pb2

    protocol: Any = sentencepiece_model_pb2  # protobuf creates its classes at import, so mypy does not see them
    proto = protocol.ModelProto()
    proto.ParseFromString(tokenizer.model)
    return {
        "model_type": protocol.TrainerSpec.ModelType.Name(proto.trainer_spec.model_type).lower(),
        "normalization": proto.normalizer_spec.name,
        "byte_fallback": bool(proto.trainer_spec.byte_fallback),
        "vocabulary_size": len(tokenizer),
    }


TRAINERS: dict[str, tuple[str, Callable[[Tokenizer], dict[str, Any]]]] = {
    SentencePieceTokenizer.kind: ("SentencePieceTrainer", _sentencepiece),
    WhitespaceTokenizer.kind: ("WhitespaceTrainer", _words),
    SpellingTokenizer.kind: ("WhitespaceTrainer", _words),
    CharacterTokenizer.kind: ("CharacterTrainer", _none),
    LetterTokenizer.kind: ("LetterTrainer", _none),
    NumberTokenizer.kind: ("NumberTrainer", _none),
}
"""By a tokenizer's kind: the class that trains it, and the function that reports the options it was trained with."""
