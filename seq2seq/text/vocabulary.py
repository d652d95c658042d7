"""The special tokens and their ids, the same in every tokenizer of the project."""

PAD, UNK, BOS, EOS = 0, 1, 2, 3
SPECIALS = ("<pad>", "<unk>", "<s>", "</s>")
"""The tokens of the ids 0 to 3, as text to show."""

UNKNOWN = "⁇"
"""The text of a decoded unk: U+2047, as in sentencepiece."""
