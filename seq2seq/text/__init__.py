"""Text: vocabulary, tokenizers, and their training. Nothing here imports torch."""

from seq2seq.text.subwords import SentencePieceTokenizer, SentencePieceTrainer
from seq2seq.text.tokenizer import (
    Sampling,
    Tokenizer,
    Tokenizers,
    TokenizerTrainer,
    load_tokenizer,
    load_tokenizers,
    train_tokenizers,
)
from seq2seq.text.vocabulary import BOS, EOS, PAD, UNK
from seq2seq.text.words import WhitespaceTokenizer, WhitespaceTrainer

__all__ = [
    "BOS",
    "EOS",
    "PAD",
    "UNK",
    "Sampling",
    "SentencePieceTokenizer",
    "SentencePieceTrainer",
    "Tokenizer",
    "TokenizerTrainer",
    "Tokenizers",
    "WhitespaceTokenizer",
    "WhitespaceTrainer",
    "load_tokenizer",
    "load_tokenizers",
    "train_tokenizers",
]
