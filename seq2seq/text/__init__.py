"""Text: vocabulary, tokenizers, and their training. Nothing here imports torch."""

from seq2seq.text.characters import CharacterTokenizer, CharacterTrainer
from seq2seq.text.columns import Column, ColumnsTokenizer, ColumnsTrainer, with_columns
from seq2seq.text.description import description
from seq2seq.text.factors import Factors, sentence_of
from seq2seq.text.from_bundle import BundleTokenizer
from seq2seq.text.label_tokenizer import LabelTokenizer, LabelTrainer
from seq2seq.text.letters import LetterTokenizer, LetterTrainer
from seq2seq.text.loading import load_tokenizer, load_tokenizers
from seq2seq.text.numbers import NumberTokenizer, NumberTrainer
from seq2seq.text.segmented import SegmentedTokenizer
from seq2seq.text.sides import SourceAndTarget
from seq2seq.text.spelling import BYTES, SpellingTokenizer, SpellingTrainer
from seq2seq.text.subwords import SentencePieceTokenizer, SentencePieceTrainer
from seq2seq.text.tokenizer import (
    LINE_END,
    TOKENIZER_FILES,
    Sampling,
    Tokenizer,
    Tokenizers,
    TokenizerTrainer,
    check_text,
    columns_of,
    difference,
    train_tokenizers,
)
from seq2seq.text.vocabulary import BOS, EOS, PAD, UNK
from seq2seq.text.words import WhitespaceTokenizer, WhitespaceTrainer

__all__ = [
    "BOS",
    "BYTES",
    "EOS",
    "LINE_END",
    "PAD",
    "TOKENIZER_FILES",
    "UNK",
    "BundleTokenizer",
    "CharacterTokenizer",
    "CharacterTrainer",
    "Column",
    "ColumnsTokenizer",
    "ColumnsTrainer",
    "Factors",
    "LabelTokenizer",
    "LabelTrainer",
    "LetterTokenizer",
    "LetterTrainer",
    "NumberTokenizer",
    "NumberTrainer",
    "Sampling",
    "SegmentedTokenizer",
    "SentencePieceTokenizer",
    "SentencePieceTrainer",
    "SourceAndTarget",
    "SpellingTokenizer",
    "SpellingTrainer",
    "Tokenizer",
    "TokenizerTrainer",
    "Tokenizers",
    "WhitespaceTokenizer",
    "WhitespaceTrainer",
    "check_text",
    "columns_of",
    "description",
    "difference",
    "load_tokenizer",
    "load_tokenizers",
    "sentence_of",
    "train_tokenizers",
    "with_columns",
]
