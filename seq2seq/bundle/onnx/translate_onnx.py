"""Translate lines with ONNX Runtime: greedy search over encoder.onnx and decoder.onnx, without torch.

    pip install numpy onnxruntime sentencepiece
    python translate_onnx.py < input.txt > output.txt

It writes one line for each input line, in order (an empty line stays empty): the same text as `seq2seq translate-file
--beam-size 1`. It is an example to read and to change, and needs only the files next to it (networks, tokenizers,
export.json).
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
SPACE, ESCAPE = "\u2581", "\ue581"  # sentencepiece's space; a SPACE of the text is escaped as ESCAPE "1"


class SentencePiece:
    """Text to ids and back with a sentencepiece model."""

    def __init__(self, path: Path) -> None:
        import sentencepiece

        self.processor = sentencepiece.SentencePieceProcessor(model_file=str(path))

    def encode(self, text: str) -> list[int]:
        """The token ids of a line."""
        return list(self.processor.encode(text.replace(ESCAPE, ESCAPE + "0").replace(SPACE, ESCAPE + "1")))

    def decode(self, ids: list[int]) -> str:
        """The text of token ids."""
        text = str(self.processor.decode(ids))
        if SPACE in text:  # with byte tokens (word models), sentencepiece does not decode it, at the beginning neither
            text = (text.removeprefix(SPACE) if self.processor.is_byte(ids[0]) else text).replace(SPACE, " ")
        return text.replace(ESCAPE + "1", SPACE).replace(ESCAPE + "0", ESCAPE).replace("\n", " ")


class Words:
    """Text to ids and back with a list of words, whose ids begin at `first`; unknown words have the id 1.

    Symbols, which have the ids before `first`, are not text."""

    def __init__(self, words: Sequence[str], lowercase: bool, first: int = 4) -> None:
        self.words = words
        self.lowercase = lowercase
        self.first = first
        self.ids = {word: i for i, word in enumerate(words, first)}

    def encode(self, text: str) -> list[int]:
        """The token ids of a line."""
        return [self.ids.get(word, 1) for word in self.split(text)]

    def split(self, text: str) -> list[str]:
        """The text of each token."""
        return [word for word in (text.lower() if self.lowercase else text).split(" ") if word]

    def join(self, tokens: Sequence[str]) -> str:
        """The text of tokens."""
        return " ".join(tokens)

    def __len__(self) -> int:
        return self.first + len(self.words)

    def decode(self, ids: list[int]) -> str:
        """The text of token ids."""
        kept = (i for i in ids if i == 1 or i >= self.first)
        return " ".join("⁇" if i == 1 else self.words[i - self.first] for i in kept)


class Characters:
    """Text to ids and back with a list of characters, which have the ids 4, 5, …; `letters` decomposes them (NFD)."""

    def __init__(self, characters: str, letters: bool) -> None:
        self.characters = characters
        self.letters = letters
        self.ids = {character: i for i, character in enumerate(characters, 4)}

    def encode(self, text: str) -> list[int]:
        """The token ids of a line."""
        return [self.ids.get(character, 1) for character in self.split(text)]

    def split(self, text: str) -> list[str]:
        """The text of each token."""
        return list(unicodedata.normalize("NFD", text) if self.letters else text)

    def join(self, tokens: Sequence[str]) -> str:
        """The text of tokens."""
        return unicodedata.normalize("NFC", "".join(tokens)) if self.letters else "".join(tokens)

    def __len__(self) -> int:
        return 4 + len(self.characters)

    def decode(self, ids: list[int]) -> str:
        """The text of token ids."""
        text = "".join("⁇" if i == 1 else self.characters[i - 4] for i in ids if i != 0)
        return unicodedata.normalize("NFC", text) if self.letters else text


def tokenizer(folder: Path, side: str) -> SentencePiece | Words | Characters:
    """Load the tokenizer of `source` or `target`, which is the same if it is joint."""
    name = "joint" if (folder / "joint.json").exists() else side
    description = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    if description["kind"] == "sentencepiece":
        return SentencePiece(folder / f"{name}.model")
    if description["kind"] == "whitespace":
        first = 4 + len(description.get("symbols", []))
        return Words(description["words"], description.get("lowercase", False), first)
    if description["kind"] in ("characters", "letters"):
        return Characters(description["characters"], description["kind"] == "letters")
    raise SystemExit(f"translate_onnx: tokenizers of kind {description['kind']} ({name}.json) are not supported")


def extended(tokenizer: Words | Characters, text: str, ids: list[int], limit: int) -> tuple[list[int], list[str]]:
    """The ids of a source with ids after the vocabulary for its first `limit` different unknown tokens, and these."""
    strings, unseen = tokenizer.split(text), list[str]()
    for i, string in enumerate(strings[: len(ids)]):
        if ids[i] == 1:
            if string not in unseen and len(unseen) < limit:
                unseen.append(string)
            ids[i] = len(tokenizer) + unseen.index(string) if string in unseen else 1
    return ids, unseen


def decoded(tokenizer: Words | Characters, ids: list[int], unseen: list[str]) -> str:
    """The text of ids, some of which are those of the `unseen` tokens."""
    size = len(tokenizer)
    strings = [unseen[i - size] if i >= size else tokenizer.decode([i]) for i in ids]
    return tokenizer.join([string for string in strings if string])


class Model:
    """The networks of a folder, with greedy search."""

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
        """The translations of lines; that of a line without text is empty."""
        special = self.settings["special"]
        sources = [self.source.encode(line)[:MAX_SOURCE] if line.strip() else [] for line in lines]
        unseen: dict[int, list[str]] = {}
        if (limit := self.settings.get("unseen", 0)) and not isinstance(self.source, SentencePiece):
            for i, source in enumerate(sources):
                sources[i], unseen[i] = extended(self.source, lines[i], source, limit)
        given = [i for i, source in enumerate(sources) if source]
        outputs = self.greedy([[*sources[i], special["eos"]] for i in given]) if given else []
        texts = [""] * len(lines)
        for i, ids in zip(given, outputs, strict=True):
            if unseen.get(i) and not isinstance(self.target, SentencePiece):
                texts[i] = decoded(self.target, ids, unseen[i])
            else:
                texts[i] = self.target.decode(ids)
        return texts

    def greedy(self, sources: list[list[int]]) -> list[list[int]]:
        """Greedy search: the most likely token at every step, until eos or the limit."""
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
        """The most steps for a source of `length` tokens, with eos."""
        search = self.settings["search"]
        if search["equal_length"]:
            return max(1, length - 1)
        steps: int = math.ceil(length * search["max_length_ratio"] - 1e-9) + search["max_length_extra"]
        return max(1, steps)


def forbid_repeats(log_probs: npt.NDArray[Any], written: list[int], n: int) -> None:
    """Set log-probabilities to −∞ for tokens that would repeat an n-gram, unless no other token is possible."""
    if not 0 < n <= len(written):
        return
    end = written[len(written) - n + 1 :]
    repeats = [written[i + n - 1] for i in range(len(written) - n + 1) if written[i : i + n - 1] == end]
    if np.isfinite(np.delete(log_probs, repeats)).any():
        log_probs[repeats] = -np.inf


def run(session: Any, values: dict[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """Run a network on the values that are its inputs; the output next_x is renamed to x."""
    wanted = {each.name for each in session.get_inputs()}
    outputs = session.run(None, {name: value for name, value in values.items() if name in wanted})
    return {each.name.removeprefix("next_"): value for each, value in zip(session.get_outputs(), outputs, strict=True)}


def lines(stream: Iterable[bytes]) -> Iterator[str]:
    """The lines of UTF-8 text, without line ends and byte-order mark."""
    for number, line in enumerate(stream, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise SystemExit(f"translate_onnx: line {number} is not UTF-8; convert the input first") from None


def batches(lines: Iterator[str]) -> Iterator[list[str]]:
    """The lines in batches of BATCH_SIZE."""
    while batch := list(islice(lines, BATCH_SIZE)):
        yield batch


def main() -> None:
    """Translate standard input to standard output."""
    model = Model(Path(__file__).resolve().parent)
    for batch in batches(lines(sys.stdin.buffer)):
        sys.stdout.buffer.write("".join(f"{text}\n" for text in model.translate(batch)).encode())


if __name__ == "__main__":
    main()
