"""Sample text from a language model: each token from p(x_{t+1} | x_{≤t}), after temperature and truncation as in
`search.sampling`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from seq2seq.bundle.format import Bundle, load_bundle
from seq2seq.errors import UserError
from seq2seq.search import check_sampling, truncated
from seq2seq.text import BOS, EOS, PAD, UNK, Tokenizer

NEVER = (PAD, UNK, BOS)
INCOMPLETE = "\ufffd"  # what a character decodes to while some of its byte tokens are missing


@dataclass(frozen=True)
class SamplingOptions:
    """Options of sampling; `length` is the number of tokens, line feeds included. Raises `UserError` for a value out of
    range."""

    length: int = 500
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.length < 1:
            raise UserError(f"length={self.length} must be at least 1")
        check_sampling(self.temperature, self.top_k, self.top_p)


class Sampler:
    """Samples text with a language model's bundle. Raises `UserError` for a bundle of another task."""

    def __init__(self, bundle: Bundle) -> None:
        if bundle.task != "language_modeling":
            raise UserError(
                f"the bundle is of task={bundle.task}, which writes no text of its own; use a bundle of "
                "task=language_modeling"
            )
        self.model = bundle.model
        self.tokenizer = bundle.tokenizers.target

    @classmethod
    def load(cls, folder: Path | str, device: str = "cpu", trusted: Sequence[str] = ()) -> Sampler:
        """Load a bundle from a folder; `trusted` and what is raised are those of `load_bundle`."""
        return cls(load_bundle(folder, trusted=trusted, device=device))

    def __call__(self, prompt: str = "", options: SamplingOptions = SamplingOptions(), *, seed: int = 0) -> str:
        """Sample a text that continues `prompt`; the same seed gives the same text, on the same device."""
        return "".join(self.stream(prompt, options, seed=seed))

    def check_prompt(self, prompt: str) -> None:
        """Raise `UserError` for a prompt with unknown characters or words."""
        self._encode(prompt.replace("\r\n", "\n"))

    @torch.inference_mode()
    def stream(self, prompt: str, options: SamplingOptions, *, seed: int) -> Iterator[str]:
        """The same text as a stream of parts. Raises `UserError` for a prompt with unknown characters or words."""
        prompt = prompt.replace("\r\n", "\n")  # as in the files of the training text
        read = self._encode(prompt)
        weight = self.model.head.weight
        generator = torch.Generator(weight.device).manual_seed(seed)
        state, text = (
            self.model.init_state(1),
            Transcript(self.tokenizer, self.tokenizer.encode(prompt.split("\n")[-1])),
        )
        features, state = self.model(torch.tensor([read], device=weight.device), state)
        logits = self.model.head.logits(features[:, -1])
        for _ in range(options.length):
            logits[:, NEVER] = -math.inf
            probabilities = truncated(logits, options.temperature, options.top_k, options.top_p)
            drawn = torch.multinomial(probabilities[0], 1, generator=generator)
            yield text.add(int(drawn))
            logits, state = self.model.step(drawn, state)
        yield text.rest()

    def _encode(self, prompt: str) -> list[int]:
        """The ids of the prompt, with eos first (as before every text) and between lines, but not after the last."""
        ids = [EOS]
        for number, line in enumerate(prompt.split("\n")):
            encoded = self.tokenizer.encode(line)
            if UNK in encoded:
                raise UserError(f"prompt: {self._unseen(line)!r} was never in the model's training text; leave it out")
            ids += [EOS] * (number > 0) + encoded
        return ids

    def _unseen(self, line: str) -> str:
        """The first unknown character, or else word, of a line."""
        candidates = [*line, *line.split(" ")]
        return next((part for part in candidates if UNK in self.tokenizer.encode(part)), line)


class Transcript:
    """Decodes a growing list of ids to text in parts: eos is a line feed, and an incomplete character (of several byte
    tokens) is held back until it is complete. `line` are the ids of the current line that are already returned.

    A part is the difference between decoding the previous token with and without the new one, because a token may be
    decoded differently at the beginning of a line.
    """

    def __init__(self, tokenizer: Tokenizer, line: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._line = list(line)
        self._before = 0
        self._returned = len(self._line)

    def add(self, token: int) -> str:
        """The text that `token` adds; empty while a character is incomplete."""
        if token == EOS:
            part = self.rest()
            self._line = []
            self._before = 0
            self._returned = 0
            return part + "\n"
        self._line.append(token)
        part = self.rest()
        if part.endswith(INCOMPLETE):
            return ""
        self._before = self._returned
        self._returned = len(self._line)
        return part

    def rest(self) -> str:
        """The text that is held back."""
        returned = self._tokenizer.decode(self._line[self._before : self._returned])
        return self._tokenizer.decode(self._line[self._before :])[len(returned) :]
