"""A vocabulary that grows: the tokens of a trained tokenizer keep their ids, those of a new corpus get the next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from seq2seq.errors import UserError
from seq2seq.text.characters import CharacterTokenizer
from seq2seq.text.letters import LetterTokenizer
from seq2seq.text.subwords import SentencePieceTokenizer
from seq2seq.text.tokenizer import Sampling, Tokenizer, Tokenizers, TokenizerTrainer
from seq2seq.text.vocabulary import SPECIALS
from seq2seq.text.words import WhitespaceTokenizer


def extended(old: Tokenizer, new: Tokenizer) -> Tokenizer:
    """`old` with the tokens of `new` that it lacks, in the order of `new`; `old` itself where it has all.

    Raises UserError for tokenizers of different kinds, and of a kind whose tokens cannot be added to.
    """
    known = set(old.tokens(range(len(old))))
    added = [i for i in range(len(SPECIALS), len(new)) if new.tokens([i])[0] not in known]
    if not added and old.kind == new.kind:
        return old
    if isinstance(old, SentencePieceTokenizer) and isinstance(new, SentencePieceTokenizer):
        return SentencePieceTokenizer(_with_tokens(old.model, new.model, added))
    tokens = new.tokens(added)
    if type(old) is WhitespaceTokenizer and type(new) is WhitespaceTokenizer:
        if symbols := [symbol for symbol in new.symbols if symbol not in old.symbols]:
            raise UserError(f"init_vocabulary=extend: whitespace tokens cannot take symbols ({symbols[0]}); use match")
        described, new_words = old.describe(), [token for token in tokens if token not in new.symbols]
        return WhitespaceTokenizer(**described | {"words": [*described["words"], *new_words]})
    for kind in (CharacterTokenizer, LetterTokenizer):
        if type(old) is type(new) is kind:
            return kind(old.describe()["characters"] + "".join(tokens))
    raise UserError(
        f"init_vocabulary=extend: a {old.kind} tokenizer cannot take tokens of a {new.kind} one; use match or replace"
    )


def _with_tokens(old: bytes, new: bytes, added: Iterable[int]) -> bytes:
    """A sentencepiece model with more tokens.

    The score of a token of BPE is minus its rank among the merges: those that are added are merged after all others,
    so that a text whose merges are all old is split as before. Those of a unigram model are log-probabilities and stay.
    """
    from sentencepiece import sentencepiece_model_pb2

    protocol: Any = sentencepiece_model_pb2  # protobuf creates its classes at import, so mypy does not see them
    first, second = protocol.ModelProto(), protocol.ModelProto()
    first.ParseFromString(old)
    second.ParseFromString(new)
    last = min((piece.score for piece in first.pieces), default=0.0)
    ranked = first.trainer_spec.model_type == protocol.TrainerSpec.ModelType.BPE
    for rank, number in enumerate(added, 1):
        piece = first.pieces.add()
        piece.CopyFrom(second.pieces[number])
        if ranked:
            piece.score = last - rank
    first.trainer_spec.vocab_size = len(first.pieces)
    model: bytes = first.SerializeToString(deterministic=True)
    return model


class ExtendingTrainer(TokenizerTrainer):
    """Trains as `trainer` does, and adds the tokens that come out to those of `old`."""

    def __init__(self, trainer: TokenizerTrainer, old: Tokenizers) -> None:
        if trainer.joint != old.joint:
            words = "one vocabulary for both sides" if old.joint else "one vocabulary a side"
            raise UserError(
                f"init_vocabulary=extend: the bundle has {words}; set tokenizer.joint={str(old.joint).lower()}"
            )
        if getattr(trainer, "segmenter", None) is not None:
            raise UserError("init_vocabulary=extend: words of a segmenter cannot be added; use match or replace")
        self.trainer, self.old = trainer, old
        self.joint, self.training_lines = trainer.joint, trainer.training_lines
        self.symbols = list(dict.fromkeys([*getattr(old.source, "symbols", ()), *trainer.symbols]))

    def train(self, lines: Iterable[str]) -> Tokenizer:
        """The extended tokenizer of the source, or of both sides."""
        return extended(self.old.source, self.trainer.train(lines))

    def settings(self) -> dict[str, Any]:
        """What decides the new tokens, and what they are added to."""
        return {"extends": [side.fingerprint for side in self.old[:2]], "by": self.trainer.settings()}

    def for_target(self) -> TokenizerTrainer:
        """The trainer of the target, which adds to the old target's tokens."""
        return ExtendingTrainer(self.trainer.for_target(), self.old._replace(source=self.old.target))

    @property
    def sampling(self) -> Sampling | None:
        """That of the trainer."""
        return self.trainer.sampling
