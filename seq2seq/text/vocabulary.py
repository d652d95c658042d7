"""The ids that mean the same in every tokenizer of the project."""

PAD, UNK, BOS, EOS = 0, 1, 2, 3
SPECIALS = ("<pad>", "<unk>", "<s>", "</s>")
"""The pieces of ids 0 to 3, as they are shown."""

UNKNOWN = "⁇"
"""What an unknown piece is decoded to (sentencepiece's own choice, U+2047)."""
