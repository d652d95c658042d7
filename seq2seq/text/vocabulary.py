"""The ids that mean the same in every tokenizer of the project."""

PAD, UNK, BOS, EOS = 0, 1, 2, 3
SPECIALS = ("<pad>", "<unk>", "<s>", "</s>")
"""The tokens of ids 0 to 3, as they are shown."""

UNKNOWN = "⁇"
"""What an unknown token is decoded to (sentencepiece's own choice, U+2047)."""
