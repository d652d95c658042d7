"""`seq2seq translate`: a prompt that translates what is typed, or the lines of standard input.

    $ seq2seq translate runs/first/bundle
    > A man sleeps.
    Ein Mann schläft.
    > :beam 10
    beam 10, n-best 1, length penalty 0.6, attention off
    > :attention

In a terminal, lines have a history (arrow keys) that later sessions share, Ctrl-C ends a search or forgets what is
typed, and Ctrl-D ends the prompt. Of a model with tags or token factors a line is text, a tab and these. A line with a
colon first is a setting:

    :beam N             prefixes kept; 1 is greedy search
    :n-best N           translations of each line, with their scores
    :length-penalty A   alpha of Wu et al. 2016, eq. 14
    :tag SYMBOL         a symbol that the model reads before each line, such as <fr>; without one: no longer
    :attention          show the attention weights, or no longer
    :help  :quit
"""

from __future__ import annotations

import math
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

from seq2seq.errors import UserError

if TYPE_CHECKING:
    from seq2seq.inference.translation import Translation
    from seq2seq.inference.translator import Translator
    from seq2seq.search import SearchOptions

PROMPT = "> "
SHADES = " ░▒▓█"
"""The characters of attention weights, from 0 to 1."""

COMMANDS = ("beam", "n-best", "length-penalty", "tag", "attention", "help", "quit")
HISTORY = 1000  # lines that are kept


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of `seq2seq translate`."""
    parser.add_argument("bundle", type=Path, help="the folder of a trained translator")
    parser.add_argument("--beam-size", type=int, metavar="K", help="prefixes kept (default: the bundle's); 1 is greedy")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1, …")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="threads of torch (default: one a CPU that is available)"
    )
    parser.add_argument(
        "--trust", action="append", default=[], metavar="PACKAGE", help="a package whose components the bundle may use"
    )


def run(arguments: Namespace) -> int:
    """Translate until the input ends or `:quit`; return the exit code. Raises `UserError` for a bad bundle."""
    from seq2seq.inference.translator import Translator

    translator = Translator.load(arguments.bundle, arguments.device, arguments.threads, arguments.trust)
    session = Session(translator, translator.options(beam_size=arguments.beam_size, n_best=1))
    if sys.stdin.isatty():
        print("Type a sentence; :help lists the settings, and :quit or Ctrl-D ends.")
        _converse(session)
    else:
        for line in map(str.rstrip, sys.stdin):
            if not session.enter(line):
                break
    return 0


def _converse(session: Session) -> None:
    """Answer what is typed. A mistake or Ctrl-C ends a line, not the prompt; a setting is confirmed."""
    for line in _typed():
        before = session.described()
        try:
            if not session.enter(line):
                break
        except UserError as error:
            print(f"seq2seq: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            print()
        if line.strip() == ":help" or session.described() != before:
            print(session.described())


class Session:
    """The settings of a prompt; `enter` handles one line."""

    def __init__(self, translator: Translator, options: SearchOptions) -> None:
        self.translator = translator
        self.options = options
        self.tag: str | None = None

    def enter(self, line: str) -> bool:
        """Print a line's translation, or change a setting. Returns False for `:quit`.

        Raises `UserError` for an unknown setting, or a value that is invalid.
        """
        if not line.startswith(":"):
            self._translate(line)
            return True
        name, _, value = line[1:].strip().partition(" ")
        if name not in COMMANDS:
            near = get_close_matches(name, COMMANDS, n=1)
            written = f":{name}" if name else "a colon alone"
            raise UserError(f"{written}: is no setting; " + (f"did you mean :{near[0]}?" if near else "see :help"))
        if name == "help":
            assert __doc__ is not None
            print(__doc__.partition("is a setting:\n\n")[2].rstrip())
        elif name == "attention":
            self.translator.aligner()  # refuses a model without attention
            self.options = replace(self.options, return_attention=not self.options.return_attention)
        elif name == "tag":
            self.tag = self._known(value.strip())
        elif name != "quit":
            self._set(name, value.strip())
        return name != "quit"

    def described(self) -> str:
        """The present settings, in one line."""
        beam, listed, penalty = self.options.beam_size, self.options.n_best, self.options.length_penalty
        tag = f", tag {self.tag}" if self.tag else ""
        shown = "on" if self.options.return_attention else "off"
        return f"beam {beam}, n-best {listed}, length penalty {penalty:g}, attention {shown}{tag}"

    def _known(self, tag: str) -> str | None:
        """A tag that the model has; None for no text. Raises `UserError` for another."""
        if tag:
            self.translator.tag_id(tag, self.options.return_attention, f":tag {tag}")
        return tag or None

    def _set(self, name: str, text: str) -> None:
        """Change an option of the search. A beam that is smaller than the n-best list, or a larger list, takes the
        other along."""
        read: Callable[[str], float] = float if name == "length-penalty" else int
        try:
            value = read(text)
        except ValueError:
            raise UserError(f"{f':{name} {text}'.rstrip()}: needs a number, such as :{name} 5") from None
        field = {"beam": "beam_size", "n-best": "n_best"}.get(name, "length_penalty")
        changes: dict[str, Any] = {field: value}
        if name == "beam" and value < self.options.n_best:
            changes["n_best"] = max(1, value)
        elif name == "n-best" and value > self.options.beam_size:
            changes["beam_size"] = value
        self.options = replace(self.options, **changes)

    def _translate(self, line: str) -> None:
        from seq2seq.inference.request import TaggedRequest

        (translations,) = self.translator.translate_full([TaggedRequest(line, tag=self.tag)], self.options)
        for each in translations:
            print(f"{each.hypothesis.score:8.3f}  {each.text}" if self.options.n_best > 1 else each.text)
        if self.options.return_attention and translations[0].hypothesis.attention is not None:
            print(self._attention(line, translations[0]))

    def _attention(self, line: str, translation: Translation) -> str:
        tokenizers, aligner, hypothesis = self.translator.bundle.tokenizers, self.translator.aligner(), translation[1]
        source = [*tokenizers.source.tokens(aligner.source_ids(line)), "</s>"]
        target = tokenizers.target.tokens(hypothesis.tokens) + ["</s>"] * hypothesis.finished
        assert hypothesis.attention is not None
        return drawn(source, target, aligner.by_token(line, hypothesis.attention).tolist())


def drawn(source: Sequence[str], target: Sequence[str], weights: Sequence[Sequence[float]]) -> str:
    """Attention weights as text: a row a target token, a column a source token, whose name is written downwards."""
    left = max(map(_width, target), default=0) + 1
    height = max(map(len, source), default=0)
    heads = [
        " " * left + "".join(_cell(token.rjust(height)[row]) for token in source).rstrip() for row in range(height)
    ]
    rows = [
        token + " " * (left - _width(token)) + "".join(2 * _shade(weight) for weight in row).rstrip()
        for token, row in zip(target, weights, strict=False)
    ]
    return "\n".join([*heads, *rows])


def _shade(weight: float) -> str:
    return SHADES[min(len(SHADES) - 1, math.ceil(weight * (len(SHADES) - 1) - 0.5))]


def _cell(letter: str) -> str:
    """A letter in two columns of the terminal."""
    return letter + " " * (2 - _width(letter))


def _width(text: str) -> int:
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _typed() -> Iterator[str]:
    """The lines typed at the prompt, with the history of earlier sessions where readline is available."""
    from seq2seq.runtime.paths import cached

    try:
        import readline
    except ImportError:  # on Windows
        yield from _lines()
        return
    path = cached("translate_history")
    with suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(HISTORY)
    try:
        yield from _lines()
    finally:
        with suppress(OSError):
            readline.write_history_file(path)


def _lines() -> Iterator[str]:
    while True:
        try:
            line = input(PROMPT)
        except EOFError:
            print()  # what follows begins a line
            return
        except KeyboardInterrupt:
            print()
            continue
        yield line
