"""From trained tokenizers back to the configuration node that would train them: for a bundle's own tokenizers."""

from __future__ import annotations

from typing import Any

from seq2seq.text.characters import CharacterTokenizer
from seq2seq.text.label_tokenizer import LabelTokenizer
from seq2seq.text.letters import LetterTokenizer
from seq2seq.text.spelling import SpellingTokenizer
from seq2seq.text.subwords import SentencePieceTokenizer
from seq2seq.text.tokenizer import Tokenizer, Tokenizers
from seq2seq.text.words import WhitespaceTokenizer

TRAINERS = {
    SentencePieceTokenizer.kind: "SentencePieceTrainer",
    WhitespaceTokenizer.kind: "WhitespaceTrainer",
    SpellingTokenizer.kind: "WhitespaceTrainer",
    CharacterTokenizer.kind: "CharacterTrainer",
    LetterTokenizer.kind: "LetterTrainer",
}


def description(tokenizers: Tokenizers) -> dict[str, Any]:
    """The `tokenizer` node for both sides. Where the target is labels, it describes the source only, as in conf."""
    source, target = tokenizers.source, tokenizers.target
    if source.kind == target.kind or target.kind == LabelTokenizer.kind:
        return _node(source) | {"joint": tokenizers.joint}
    return {"_target_": "seq2seq.text.SourceAndTarget", "source": _node(source), "target": _node(target)}


def _node(tokenizer: Tokenizer) -> dict[str, Any]:
    node: dict[str, Any] = {"_target_": f"seq2seq.text.{TRAINERS[tokenizer.kind]}"}
    if isinstance(tokenizer, SentencePieceTokenizer):
        return node | _trained(tokenizer.model) | {"vocabulary_size": len(tokenizer)}
    if tokenizer.kind in (WhitespaceTokenizer.kind, SpellingTokenizer.kind):
        node["lowercase"] = bool(tokenizer.describe().get("lowercase", False))
    return node


def _trained(model: bytes) -> dict[str, Any]:
    """The training options that a sentencepiece model records: model_type, normalization, byte_fallback."""
    from sentencepiece import sentencepiece_model_pb2

    protocol: Any = sentencepiece_model_pb2  # protobuf creates its classes at import, so mypy does not see them
    proto = protocol.ModelProto()
    proto.ParseFromString(model)
    return {
        "model_type": protocol.TrainerSpec.ModelType.Name(proto.trainer_spec.model_type).lower(),
        "normalization": proto.normalizer_spec.name,
        "byte_fallback": bool(proto.trainer_spec.byte_fallback),
    }
