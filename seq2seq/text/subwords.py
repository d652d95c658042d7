"""sentencepiece tokenizers (Kudo and Richardson 2018): unigram, bpe, char and word, lossless and reproducible."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

from seq2seq.errors import UserError
from seq2seq.text.segmented import Segmenting
from seq2seq.text.tokenizer import PlainFiles, Sampling, check_symbols
from seq2seq.text.vocabulary import BOS, EOS, PAD, SPECIALS, UNK

LONG = 4096  # characters: longer lines are split for training
ALL = 10_000_000  # vocabulary size that no text reaches; the trainer allocates memory for it, so it is not larger
SAMPLED_SIDES = {"source": (True, False), "target": (False, True), "both": (True, True)}

# sentencepiece represents a space as U+2581, so it would decode a U+2581 of the text to a space. Therefore U+2581 is
# escaped as U+E581 "1", and U+E581 (private use) itself as U+E581 "0": every text is decoded unchanged.
SPACE, ESCAPE = "\u2581", "\ue581"


class SentencePieceTokenizer(PlainFiles):
    """A trained sentencepiece model whose ids 0 to 3 are pad, unk, bos, eos.

    With `byte_fallback` and identity normalisation `decode(encode(text)) == text` for every text of one line: leading,
    trailing and repeated spaces, NO-BREAK SPACE, tabs, unseen characters, and U+2581 included.
    Raises UserError if `model` does not parse, or has other ids for the special tokens.
    """

    kind: ClassVar[str] = "sentencepiece"

    def __init__(self, model: bytes) -> None:
        import sentencepiece

        self._model = model
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError:
            raise UserError("not a sentencepiece model (it does not parse)") from None
        ids = tuple(getattr(self._processor, f"{name}_id")() for name in ("pad", "unk", "bos", "eos"))
        if ids != (PAD, UNK, BOS, EOS):
            raise UserError(f"sentencepiece model: ids of pad, unk, bos, eos are {ids}, not {(PAD, UNK, BOS, EOS)}")

    def __len__(self) -> int:
        return int(self._processor.get_piece_size())

    @cached_property
    def symbols(self) -> dict[str, int]:
        """The ids of the symbols, which no text is encoded to and which are decoded to nothing."""
        ids = (i for i in range(len(SPECIALS), len(self)) if self._processor.is_control(i))
        return {str(self._processor.id_to_piece(i)): i for i in ids}

    @property
    def model(self) -> bytes:
        """The serialized model, as sentencepiece's trainer wrote it."""
        return self._model

    def encode(self, text: str) -> list[int]:
        """Ids of one sentence, without bos and eos."""
        return list(self._processor.encode(_escape(text)))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each sentence; sentencepiece's threads do not affect the result."""
        return list(self._processor.encode([_escape(text) for text in texts]))

    def begins(self, text: str) -> tuple[list[int], bytes]:
        """Where in the bytes of a text the text of each token begins; and these bytes, in which some signs are
        escaped."""
        from sentencepiece import sentencepiece_pb2

        protocol: Any = sentencepiece_pb2  # protobuf creates its classes at import, so mypy does not see them
        escaped, spelled = _escape(text), protocol.SentencePieceText()
        spelled.ParseFromString(self._processor.encode(escaped, out_type="serialized_proto"))
        return [piece.begin for piece in spelled.pieces], escaped.encode()

    def sample_batch(self, texts: Sequence[str], sampling: Sampling, seed: int) -> list[list[int]]:
        """The ids of a random segmentation of each sentence: a pure function of texts, sampling and seed (< 2³²)."""
        import sentencepiece

        # sentencepiece has one generator for each thread, so all texts are encoded in this one.
        sentencepiece.set_random_generator_seed(seed)
        return list(
            self._processor.encode(
                [_escape(text) for text in texts],
                enable_sampling=True,
                alpha=sampling.alpha,
                nbest_size=sampling.nbest_size,
                num_threads=1,
            )
        )

    def decode(self, ids: Sequence[int]) -> str:
        """Text on one line: a line feed that a model generates as a byte token becomes a space."""
        return self.decode_batch([ids])[0]

    def decode_batch(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of each sentence, as `decode` gives it."""
        dropped = {PAD, BOS, EOS, *self.symbols.values()}
        kept = [[int(i) for i in sentence if int(i) not in dropped] for sentence in ids]
        # One by one: for a list sentencepiece starts a thread, which takes longer than the text of a sentence.
        return [self._clean(self._processor.decode(sentence), sentence) for sentence in kept]

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The subword token of each id; a leading space is shown as U+2581."""
        return [SPECIALS[i] if i <= EOS else str(self._processor.id_to_piece(int(i))) for i in ids]

    def _clean(self, text: str, ids: list[int]) -> str:
        if (
            SPACE in text
        ):  # with byte tokens (word models), sentencepiece decodes no U+2581, the sentence prefix included
            text = (text.removeprefix(SPACE) if self._processor.is_byte(ids[0]) else text).replace(SPACE, " ")
        if ESCAPE in text:
            text = text.replace(ESCAPE + "1", SPACE).replace(ESCAPE + "0", ESCAPE)
        return text.replace("\n", " ")


@dataclass(frozen=True)
class SentencePieceTrainer(Segmenting):
    """Settings of a sentencepiece model; conf/tokenizer/sentencepiece.yaml explains each."""

    model_type: Literal["bpe", "unigram", "char", "word"] = "bpe"
    vocabulary_size: int | None = 8000
    joint: bool = True
    byte_fallback: bool = True
    character_coverage: float = 1.0
    normalization: Literal["identity", "nfkc", "nfkc_cf", "nmt_nfkc", "nmt_nfkc_cf"] = "identity"
    training_lines: int = 1_000_000
    sampling_alpha: float = 0.0
    sampling_nbest_size: int = -1
    sampling_sides: Literal["source", "target", "both"] = "source"
    symbols: Sequence[str] = ()
    segmenter: str | Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        check_symbols(self.symbols)
        self.check_segmenter()
        if self.vocabulary_size is None and self.model_type not in ("char", "word"):
            raise UserError("tokenizer.vocabulary_size=null means all of them: for model_type char or word only")
        if self.vocabulary_size is not None and self.vocabulary_size <= self._reserved:
            raise UserError(
                f"tokenizer.vocabulary_size={self.vocabulary_size}: {self._reserved} are taken by the special tokens"
                f"{', the symbols' * bool(self.symbols)}"
                f"{' and the 256 bytes of tokenizer.byte_fallback' * self.byte_fallback}; set it higher"
            )
        if self.training_lines < 1:
            raise UserError(f"tokenizer.training_lines={self.training_lines}: must be at least 1")
        if not 0 < self.character_coverage <= 1:
            raise UserError(f"tokenizer.character_coverage={self.character_coverage}: must be above 0 and at most 1")
        self._check_sampling()

    def _check_sampling(self) -> None:
        if self.sampling_alpha < 0 or (self.model_type == "bpe" and self.sampling_alpha >= 1):
            raise UserError(f"tokenizer.sampling_alpha={self.sampling_alpha}: 0 is off; for bpe it is below 1")
        if self.sampling_nbest_size < -1:
            raise UserError(
                f"tokenizer.sampling_nbest_size={self.sampling_nbest_size}: must be at least -1, which is all"
            )
        if self.sampling and self.model_type not in ("bpe", "unigram"):
            raise UserError(
                f"tokenizer.sampling_alpha: model_type={self.model_type} knows one segmentation; set it to 0"
            )
        if self.sampling and self.segmenter:
            raise UserError("tokenizer.sampling_alpha: words of a segmenter are not sampled; set it to 0")
        if self.sampling and not (self.byte_fallback and self.normalization == "identity"):
            raise UserError("tokenizer.sampling_alpha needs byte_fallback=true and normalization=identity")

    @property
    def _reserved(self) -> int:
        return len(SPECIALS) + len(self.symbols) + 256 * self.byte_fallback

    @property
    def sampling(self) -> Sampling | None:
        """How training text is segmented anew in each epoch; None if `sampling_alpha` is 0."""
        if not self.sampling_alpha:
            return None
        return Sampling(self.sampling_alpha, self.sampling_nbest_size, *SAMPLED_SIDES[self.sampling_sides])

    def settings(self) -> dict[str, Any]:
        """All that affects the model: every setting but the sampling, and sentencepiece's version."""
        import sentencepiece

        kept = {
            key: value
            for key, value in asdict(self).items()
            if not key.startswith(("sampling", "symbols", "segmenter"))
        }
        kept |= {"symbols": list(self.symbols)} if self.symbols else {}
        return (
            {"kind": SentencePieceTokenizer.kind, "version": sentencepiece.__version__}
            | kept
            | self.segmenter_settings()
        )

    def train(self, lines: Iterable[str]) -> SentencePieceTokenizer:
        """Train on sentences, in one thread and without file names: the model's bytes depend only on text and settings.

        Raises UserError if the text is empty, or supports fewer or needs more tokens than `vocabulary_size`.
        """
        import sentencepiece

        model = io.BytesIO()
        symbols: dict[str, Any] = {"control_symbols": list(self.symbols)} if self.symbols else {}
        try:
            sentencepiece.SentencePieceTrainer.train(
                # The trainer reserves NUL and U+2585 and would skip a line that has one.
                sentence_iterator=(
                    _escape(part).replace("\0", " ").replace("\u2585", " ") for line in lines for part in _parts(line)
                ),
                model_writer=model,
                model_type=self.model_type,
                vocab_size=self.vocabulary_size or ALL,
                hard_vocab_limit=self.vocabulary_size is not None,
                byte_fallback=self.byte_fallback,
                character_coverage=self.character_coverage,
                normalization_rule_name=self.normalization,
                remove_extra_whitespaces=False,
                add_dummy_prefix=True,  # a word is the same token at the beginning of a sentence
                max_sentence_length=2**30,  # bytes; the default silently skips lines over 4,192
                pad_id=PAD,
                unk_id=UNK,
                bos_id=BOS,
                eos_id=EOS,
                num_threads=1,
                minloglevel=2,
                **symbols,
            )
        except RuntimeError as error:
            raise UserError(self._explain(str(error))) from None
        tokenizer = SentencePieceTokenizer(model.getvalue())
        if self.vocabulary_size and len(tokenizer) < self.vocabulary_size:  # char models ignore the hard limit
            raise UserError(self._too_large(len(tokenizer)))
        return tokenizer

    def _explain(self, message: str) -> str:
        if match := re.search(r"set it to a value <= (\d+)", message):
            return self._too_large(int(match[1]))
        if match := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
            return (
                f"tokenizer.vocabulary_size={self.vocabulary_size}: the text's characters alone need {match[1]}; "
                f"set at least that, or tokenizer.character_coverage=0.9995"
            )
        if "sentences_.empty()" in message:
            return "tokenizer: the training text has no sentence to learn from"
        return f"tokenizer: sentencepiece cannot train with {self}: {message}"

    def _too_large(self, largest: int) -> str:
        return (
            f"tokenizer.vocabulary_size={self.vocabulary_size}: this text supports at most {largest} tokens "
            f"(model_type={self.model_type}); set tokenizer.vocabulary_size={largest} or less"
        )


def _parts(line: str) -> Iterator[str]:
    """A line in parts of at most LONG characters, split at a space where there is one. Training counts words, not
    lines, and a unigram model's training time grows with the square of a line's length."""
    begin = 0
    while len(line) - begin > LONG:
        space = line.rfind(" ", begin + 1, begin + LONG)
        end = begin + LONG if space < 0 else space
        yield line[begin:end]
        begin = end + (space >= 0)
    if begin < len(line):
        yield line[begin:]


def _escape(text: str) -> str:
    return text.replace(ESCAPE, ESCAPE + "0").replace(SPACE, ESCAPE + "1")
