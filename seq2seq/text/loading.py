"""Load tokenizers from plain files; the JSON description names the class. Nothing is unpickled."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from seq2seq.errors import UserError
from seq2seq.runtime.strict_json import read_json
from seq2seq.text.characters import CharacterTokenizer
from seq2seq.text.columns import ColumnsTokenizer, TagTokenizer
from seq2seq.text.factors import FILE as FACTORS
from seq2seq.text.factors import read_factors
from seq2seq.text.label_tokenizer import LabelTokenizer
from seq2seq.text.letters import LetterTokenizer
from seq2seq.text.numbers import NumberTokenizer
from seq2seq.text.segmented import SegmentedTokenizer
from seq2seq.text.spelling import SpellingTokenizer
from seq2seq.text.subwords import SentencePieceTokenizer
from seq2seq.text.tokenizer import FORMAT, Tokenizer, Tokenizers
from seq2seq.text.words import WhitespaceTokenizer

LIMIT = 64 << 20
"""Most bytes of a description or a model: enough for a million words."""


def load_tokenizers(folder: Path) -> Tokenizers:
    """Read the tokenizers that `Tokenizers.save` wrote. Raises UserError where a file is missing or damaged."""
    factors = read_factors(folder / FACTORS) if (folder / FACTORS).exists() else None
    if (folder / "joint.json").exists():
        both = load_tokenizer(folder, "joint")
        return Tokenizers(both, both, joint=True, factors=factors)
    source, target = load_tokenizer(folder, "source"), load_tokenizer(folder, "target")
    return Tokenizers(source, target, joint=False, factors=factors)


def load_tokenizer(folder: Path, name: str) -> Tokenizer:
    """Read NAME.json and NAME.model from `folder`; nothing is unpickled. Raises UserError if they do not parse."""
    path, model_path = folder / f"{name}.json", folder / f"{name}.model"
    try:
        description, model = read_json(path, LIMIT), _model(model_path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); a tokenizer is NAME.json and NAME.model") from None
    try:
        if description["format"] != FORMAT:
            raise UserError(f"format {description['format']!r}, this version reads {FORMAT}")
        if hashlib.sha256(model).hexdigest() != description["model_sha256"]:
            raise UserError(f"{model_path.name} is damaged or missing (its checksum is not the one in {path.name})")
        return _described(description, model)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"{path}: is not a tokenizer's description ({type(error).__name__}: {error})") from None


def _described(description: dict[str, Any], model: bytes) -> Tokenizer:
    """The tokenizer of a description. Raises UserError, KeyError, TypeError or ValueError where it describes none."""
    kind = description["kind"]
    if kind == SentencePieceTokenizer.kind:
        return SentencePieceTokenizer(model)
    if kind == WhitespaceTokenizer.kind:
        return WhitespaceTokenizer(**_words(description))
    if kind == CharacterTokenizer.kind:
        return CharacterTokenizer(_line(description["characters"]))
    if kind == LetterTokenizer.kind:
        return LetterTokenizer(_line(description["characters"]))
    if kind == SpellingTokenizer.kind:
        return SpellingTokenizer(WhitespaceTokenizer(**_words(description)))
    if kind == LabelTokenizer.kind:
        signs = (_line(description[key]) for key in ("form", "separator", "none"))
        return LabelTokenizer([_line(label) for label in description["labels"]], *signs)
    if kind == TagTokenizer.kind:
        return TagTokenizer([_line(tag) for tag in description["tags"]], _line(description["separator"]))
    if kind == ColumnsTokenizer.kind:
        return _columns(description, model)
    if kind == SegmentedTokenizer.kind:
        inner = description["inner"]
        if inner["kind"] == kind:
            raise ValueError("a segmented tokenizer within another")
        return SegmentedTokenizer(_described(inner, model), _line(description["segmenter"]))
    if kind == NumberTokenizer.kind:
        return NumberTokenizer(*([float(value) for value in description[key]] for key in ("means", "deviations")))
    raise UserError(
        f"kind {kind!r} is none of sentencepiece, whitespace, characters, letters, spelling, labels, columns, numbers, "
        "segmented"
    )


def _columns(description: dict[str, Any], model: bytes) -> ColumnsTokenizer:
    """The tokenizer of several columns; each has its share of the model's bytes."""
    tokenizers, begin = [], 0
    for column in description["columns"]:
        if column["kind"] == ColumnsTokenizer.kind:
            raise ValueError("a column has no columns of its own")
        end = begin + int(column["model_bytes"])
        tokenizers.append(_described(column, model[begin:end]))
        begin = end
    if not tokenizers or not isinstance(description["ends"], bool):
        raise ValueError("columns must be a list that is not empty, and ends true or false")
    return ColumnsTokenizer(
        [_line(column["name"]) for column in description["columns"]], tokenizers, ends=description["ends"]
    )


def _model(path: Path) -> bytes:
    if not path.exists():
        return b""
    if not path.is_file() or path.stat().st_size > LIMIT:
        raise UserError(f"{path}: is no file, or has more than {LIMIT:,} bytes, which no tokenizer has")
    return path.read_bytes()


def _words(description: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a `WhitespaceTokenizer`."""
    lowercase = description.get("lowercase", False)
    if not isinstance(lowercase, bool) or not isinstance(description["words"], list):
        raise ValueError("words must be a list, and lowercase true or false")
    more = {key: [_line(symbol) for symbol in description[key]] for key in ("symbols",) if key in description}
    return {"words": [_line(word) for word in description["words"]], "lowercase": lowercase, **more}


def _line(text: object) -> str:
    """Check that `text` is a string of one line: a decoded sentence must never contain a line feed."""
    if not isinstance(text, str) or "\n" in text:
        raise ValueError(f"{text!r} is not text of one line")
    return text
