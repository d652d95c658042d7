"""Translate lines with ONNX Runtime: greedy search over encoder.onnx and decoder.onnx, without torch.

    pip install numpy onnxruntime sentencepiece
    python translate_onnx.py < input.txt > output.txt

One line for each line, in order; an empty line stays empty: the texts of `seq2seq translate-file --beam-size 1`. It is
an example to read and to change: the files next to it (networks, tokenizers, export.json) are all that it uses.
"""

from __future__ import annotations

import json
import math
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

BATCH_SIZE = 32
MAX_SOURCE = 1024  # tokens; the rest of a line is cut off
SPACE, ESCAPE = "\u2581", "\ue581"  # sentencepiece's space; the text's own one is written as ESCAPE and "1"


class SentencePiece:
    """Text to ids and back with a sentencepiece model."""

    def __init__(self, path: Path) -> None:
        import sentencepiece

        self.processor = sentencepiece.SentencePieceProcessor(model_file=str(path))

    def encode(self, text: str) -> list[int]:
        """The ids of a line."""
        return list(self.processor.encode(text.replace(ESCAPE, ESCAPE + "0").replace(SPACE, ESCAPE + "1")))

    def decode(self, ids: list[int]) -> str:
        """The line of ids."""
        text = str(self.processor.decode(ids))
        if SPACE in text:  # words that are spelt in bytes keep their spaces, the one before the line too
            text = (text.removeprefix(SPACE) if self.processor.is_byte(ids[0]) else text).replace(SPACE, " ")
        return text.replace(ESCAPE + "1", SPACE).replace(ESCAPE + "0", ESCAPE).replace("\n", " ")


class Words:
    """Text to ids and back with a list of words, which have the ids 4, 5, …; others are unknown, 1."""

    def __init__(self, words: Sequence[str], lowercase: bool) -> None:
        self.words = words
        self.lowercase = lowercase
        self.ids = {word: i for i, word in enumerate(words, 4)}

    def encode(self, text: str) -> list[int]:
        """The ids of a line."""
        text = text.lower() if self.lowercase else text
        return [self.ids.get(word, 1) for word in text.split(" ") if word]

    def decode(self, ids: list[int]) -> str:
        """The line of ids."""
        return " ".join("⁇" if i == 1 else self.words[i - 4] for i in ids if i != 0)


class Characters:
    """Text to ids and back with a list of characters, which have the ids 4, 5, …; `letters`: after decomposition."""

    def __init__(self, characters: str, letters: bool) -> None:
        self.characters = characters
        self.letters = letters
        self.ids = {character: i for i, character in enumerate(characters, 4)}

    def encode(self, text: str) -> list[int]:
        """The ids of a line."""
        text = unicodedata.normalize("NFD", text) if self.letters else text
        return [self.ids.get(character, 1) for character in text]

    def decode(self, ids: list[int]) -> str:
        """The line of ids."""
        text = "".join("⁇" if i == 1 else self.characters[i - 4] for i in ids if i != 0)
        return unicodedata.normalize("NFC", text) if self.letters else text


def tokenizer(folder: Path, side: str) -> SentencePiece | Words | Characters:
    """The tokenizer of `source` or `target`; one serves both where it is called joint."""
    name = "joint" if (folder / "joint.json").exists() else side
    description = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    if description["kind"] == "sentencepiece":
        return SentencePiece(folder / f"{name}.model")
    if description["kind"] == "whitespace":
        return Words(description["words"], description.get("lowercase", False))
    if description["kind"] in ("characters", "letters"):
        return Characters(description["characters"], description["kind"] == "letters")
    raise SystemExit(f"translate_onnx: write a tokenizer of kind {description['kind']} here, from {name}.json")


class Model:
    """The networks of a folder, and greedy search over them."""

    def __init__(self, folder: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only
        self.encoder, self.decoder = (
            onnxruntime.InferenceSession(folder / name, options, providers=["CPUExecutionProvider"])
            for name in ("encoder.onnx", "decoder.onnx")
        )
        self.settings = json.loads((folder / "export.json").read_text(encoding="utf-8"))
        self.source = tokenizer(folder, "source")
        self.target = tokenizer(folder, "target")

    def translate(self, lines: Sequence[str]) -> list[str]:
        """The translation of each line."""
        special = self.settings["special"]
        sources = [self.source.encode(line)[:MAX_SOURCE] if line.strip() else [] for line in lines]
        given = [i for i, source in enumerate(sources) if source]
        outputs = self.greedy([[*sources[i], special["eos"]] for i in given]) if given else []
        texts = [""] * len(lines)
        for i, ids in zip(given, outputs, strict=True):
            texts[i] = self.target.decode(ids)
        return texts

    def greedy(self, sources: list[list[int]]) -> list[list[int]]:
        """The likeliest next token at every step, until the end of the sentence or its limit."""
        special, search = self.settings["special"], self.settings["search"]
        lengths = np.array([len(source) for source in sources])
        padded = np.full((len(sources), lengths.max()), special["pad"])
        for row, source in zip(padded, sources, strict=True):
            row[: len(source)] = source
        values = run(self.encoder, {"ids": padded, "lengths": lengths})
        limits = [self.limit(int(length)) for length in lengths]
        ids = np.full(len(sources), special["bos"])
        outputs: list[list[int]] = [[] for _ in sources]
        done = np.zeros(len(sources), dtype=bool)
        for step in range(max(limits)):
            values |= run(self.decoder, {**values, "ids": ids})
            log_probs = values["log_probs"]
            log_probs[:, [special["pad"], special["bos"]]] = -np.inf
            if search["equal_length"] or step < search["min_length"]:
                log_probs[:, special["eos"]] = -np.inf
            for row, written in zip(log_probs, outputs, strict=True):
                forbid_repeats(row, written, search["no_repeat_ngram"])
            ids = log_probs.argmax(1)
            done |= (ids == special["eos"]) | (step >= np.array(limits))
            for i in np.flatnonzero(~done):
                outputs[i].append(int(ids[i]))
            if done.all():
                break
        return outputs

    def limit(self, length: int) -> int:
        """The most steps for a source of so many tokens, its end counted."""
        search = self.settings["search"]
        if search["equal_length"]:
            return max(1, length - 1)
        steps: int = math.ceil(length * search["max_length_ratio"] - 1e-9) + search["max_length_extra"]
        return max(1, steps)


def forbid_repeats(log_probs: npt.NDArray[Any], written: list[int], n: int) -> None:
    """−∞ for each token that would end n tokens in a row that were written before, unless nothing else is possible."""
    if not 0 < n <= len(written):
        return
    end = written[len(written) - n + 1 :]
    repeats = [written[i + n - 1] for i in range(len(written) - n + 1) if written[i : i + n - 1] == end]
    if np.isfinite(np.delete(log_probs, repeats)).any():
        log_probs[repeats] = -np.inf


def run(session: Any, values: dict[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """Run a network on those of the values that it takes; what it calls next_x becomes x."""
    wanted = {each.name for each in session.get_inputs()}
    outputs = session.run(None, {name: value for name, value in values.items() if name in wanted})
    return {each.name.removeprefix("next_"): value for each, value in zip(session.get_outputs(), outputs, strict=True)}


def lines(stream: Iterable[bytes]) -> Iterator[str]:
    """The lines of UTF-8 without their LF or CR LF, and without a byte-order mark before the first."""
    for number, line in enumerate(stream, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise SystemExit(f"translate_onnx: line {number} is not UTF-8; convert the input first") from None


def batches(lines: Iterator[str]) -> Iterator[list[str]]:
    """The lines, some at a time."""
    while batch := list(islice(lines, BATCH_SIZE)):
        yield batch


def main() -> None:
    """From standard input to standard output."""
    model = Model(Path(__file__).resolve().parent)
    for batch in batches(lines(sys.stdin.buffer)):
        sys.stdout.buffer.write("".join(f"{text}\n" for text in model.translate(batch)).encode())


if __name__ == "__main__":
    main()
