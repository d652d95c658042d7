"""A language model: stochastic gradient descent trains the textbook's network to predict the next character or word.

    python -m seq2seq.reference.language_model --text FILE [--words] [--epochs 10] [--window 25] [--truncate 5]

    L = −Σ_t log ŷ_t[x_{t+1}]        θ ← θ − η g · min(1, clip/‖g‖)

There is one update for each window. The state is carried from window to window, as a constant; within a window each
error is propagated back `truncate` steps, or to the window's beginning. Gradients are clipped to the norm `clip`:
Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks", ICML 2013. Losses are in nats a
token.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from seq2seq.errors import UserError
from seq2seq.reference.losses import softmax_cross_entropy
from seq2seq.reference.network import Gradients, Network, backward, forward, initialise
from seq2seq.reference.squashing import softmax
from seq2seq.reference.truncation import truncated


class Text(NamedTuple):
    """A text as token ids: indices into the sorted `vocabulary`, whose entries are joined by `joint`."""

    ids: Int[np.ndarray, "N"]
    vocabulary: list[str]
    joint: str


def read(text: str, *, words: bool = False) -> Text:
    """Tokenize a text into characters, or words and line ends. Raises `UserError` for less than two tokens."""
    tokens = re.findall(r"\n|[^\s]+", text) if words else list(text)
    if len(tokens) < 2:
        raise UserError(f"language model: the text has {len(tokens)} tokens; give one of two at least")
    vocabulary = sorted(set(tokens))
    numbers = {token: i for i, token in enumerate(vocabulary)}
    return Text(np.array([numbers[token] for token in tokens]), vocabulary, " " if words else "")


class Schedule(NamedTuple):
    """The settings of training. With `truncate` None, errors are propagated back to the beginning of the window."""

    epochs: int = 10
    rate: float = 0.1
    window: int = 25
    truncate: int | None = None
    clip: float = 5.0


def train(network: Network, ids: Int[np.ndarray, "N"], schedule: Schedule) -> Iterator[tuple[float, Network]]:
    """Yield, after each epoch, its mean loss a token in nats, and the network."""
    for _ in range(schedule.epochs):
        summed, state = 0.0, np.zeros_like(network.b)
        for start in range(0, len(ids) - 1, schedule.window):
            part = ids[start : start + schedule.window + 1]
            trace = forward(network, part[:-1], state)
            loss, e = softmax_cross_entropy(trace.o, part[1:])
            k = schedule.truncate
            gradients = backward(network, trace, e) if k is None else truncated(network, trace, e, k)
            network, state, summed = descend(network, gradients, schedule), trace.s[-1], summed + loss
        yield summed / (len(ids) - 1), network


def descend(network: Network, gradients: Gradients, schedule: Schedule) -> Network:
    """The network after one step of gradient descent with clipping."""
    own = gradients[: len(network)]
    norm = np.sqrt(sum((g**2).sum() for g in own))
    step = schedule.rate * min(1.0, schedule.clip / max(norm, 1e-12))
    return Network(*(weight - step * g for weight, g in zip(network, own)))


def sample(network: Network, start: int, length: int, temperature: float, rng: np.random.Generator) -> list[int]:
    """Sample `length` tokens after `start`, each from softmax(o / temperature)."""
    ids, state = [start], np.zeros_like(network.b)
    for _ in range(length):
        trace = forward(network, np.array(ids[-1:]), state)
        state = trace.s[-1]
        ids.append(int(rng.choice(len(network.c), p=softmax(trace.o[-1] / temperature))))
    return ids[1:]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code, which is 2 for a user's mistake, printed as one line."""
    try:
        _run(_parser().parse_args(arguments))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _run(options: argparse.Namespace) -> None:
    _check(options)
    try:
        text = read(Path(options.text).read_text(encoding="utf-8"), words=options.words)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--text {options.text}: {error}; give a file of UTF-8 text") from error
    rng = np.random.default_rng(options.seed)
    network = initialise(len(text.vocabulary), options.hidden, len(text.vocabulary), rng)
    schedule = Schedule(options.epochs, options.rate, options.window, options.truncate, options.clip)
    for epoch, (loss, trained) in enumerate(train(network, text.ids, schedule), 1):
        network = trained
        print(f"epoch {epoch}: {loss:.3f} nats a token, {loss / np.log(2):.3f} bits")
    drawn = sample(network, int(text.ids[0]), options.length, options.temperature, rng)
    print(text.joint.join(text.vocabulary[i] for i in drawn))


def _parser() -> argparse.ArgumentParser:
    parser, default = argparse.ArgumentParser(prog="python -m seq2seq.reference.language_model"), Schedule()
    parser.add_argument("--text", required=True, help="a file of UTF-8 text")
    parser.add_argument("--words", action="store_true", help="predict words, not characters")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=default.epochs)
    parser.add_argument("--rate", type=float, default=default.rate, help="learning rate")
    parser.add_argument("--window", type=int, default=default.window, help="tokens between two updates")
    parser.add_argument("--truncate", type=int, help="steps that each error is propagated back (default: all)")
    parser.add_argument("--clip", type=float, default=default.clip, help="largest norm of a gradient")
    parser.add_argument("--length", type=int, default=200, help="tokens to sample at the end")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _check(options: argparse.Namespace) -> None:
    for name in ("hidden", "epochs", "window", "length"):
        if (count := getattr(options, name)) < 1:
            raise UserError(f"--{name} {count} must be at least 1")
    for name in ("rate", "clip", "temperature"):
        if not (value := getattr(options, name)) > 0:
            raise UserError(f"--{name} {value} must be above 0")
    if options.truncate is not None and options.truncate < 0:
        raise UserError(
            f"--truncate {options.truncate} must be at least 0; leave it out to propagate errors through the window"
        )


if __name__ == "__main__":
    sys.exit(main())
