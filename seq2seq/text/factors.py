"""Token factors: what is known of each word of a source, such as its part of speech, for all of its tokens.

    the old man sleeps          a text; its words are what is separated by spaces (U+0020)
    DET ADJ NOUN VERB           the factor `pos`: a value for each word

A source with factors is a text, and after a tab the values of each factor. Every token of a word has the values of the
word; where in its word it is, says the factor `subword`, which is derived and not given: B (the first of several), I
(within), E (the last), or O (all of the word). So Sennrich & Haddow 2016, "Linguistic Input Features Improve Neural
Machine Translation", §3.2 and §3.5, for whom it is a factor of its own, too. A factor's ids are those of its own
values: pad for tokens that are of no word (eos, symbols), unk for values that training did not have.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from seq2seq.errors import UserError
from seq2seq.runtime.atomic_files import atomic_write
from seq2seq.runtime.strict_json import read_json
from seq2seq.text.vocabulary import PAD, SPECIALS, UNK

FORMAT = 1
FILE = "factors.json"
SUBWORD, PLACES = "subword", ("B", "I", "E", "O")
TAB, SHOWN_TAB = "\t", "<TAB>"
FIRST = len(SPECIALS)
LIMIT = 64 << 20  # most bytes of the file


class Factors:
    """The factors of a model's sources: the values of each by its name, in the order of a source's columns."""

    def __init__(self, values: Mapping[str, Sequence[str]]) -> None:
        self.values = {name: tuple(each) for name, each in values.items()}
        check_names(list(self.values))
        self.given = tuple(name for name in self.values if name != SUBWORD)
        self.ordered = tuple(sorted(self.values))
        self._ids = {name: {value: i for i, value in enumerate(each, FIRST)} for name, each in self.values.items()}
        for name, ids in self._ids.items():
            if len(ids) != len(self.values[name]):
                raise UserError(f"factors: a value of {name} is there twice")

    @property
    def sizes(self) -> dict[str, int]:
        """The number of ids of each, special ones included, by the order of `rows`."""
        return {name: FIRST + len(self.values[name]) for name in self.ordered}

    @property
    def fingerprint(self) -> str:
        """sha256 of all that affects the ids."""
        return hashlib.sha256(self._description().encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write factors.json into a folder, atomically."""
        with atomic_write(folder / FILE) as temporary:
            temporary.write_bytes(self._description().encode())

    def _description(self) -> str:
        listed = [{"name": name, "values": list(values)} for name, values in self.values.items()]
        return json.dumps({"format": FORMAT, "factors": listed}, ensure_ascii=False, indent=1) + "\n"

    def check(self, text: str, where: str) -> None:
        """Raise UserError, naming `where`, for a source without a value of each factor for each word."""
        if not self.given:
            return
        sentence, *cells = text.split(TAB)
        if len(cells) < len(self.given):
            name = self.given[len(cells)]
            raise UserError(
                f"{where}: has no values of the factor {name}, which this model reads; give {name}=FILE with --factors "
                f"(in Python: factors={{'{name}': [...]}}), or write them after a tab"
            )
        if len(cells) > len(self.given):
            raise UserError(
                f"{where}: has {len(cells) + 1} tab-separated columns, and this model reads {len(self.given) + 1}: "
                f"{SHOWN_TAB.join(('text', *self.given))}"
            )
        for name, cell in zip(self.given, cells, strict=True):
            check_values(sentence, cell, name, where)

    def rows(self, text: str, words: Sequence[int]) -> list[tuple[int, ...]]:
        """The ids of a source's tokens, of each token those of all factors, sorted by name; `words` are the numbers of
        the tokens' words, as `spreading.words_of` gives them."""
        cells = dict(zip(self.given, text.split(TAB)[1:]))  # of a text without words there may be none
        columns = {name: self._column(name, cells.get(name, ""), words) for name in self.given}
        if SUBWORD in self.values:
            columns[SUBWORD] = self._places(words)
        return list(zip(*(columns[name] for name in self.ordered), strict=True))

    def _column(self, name: str, cell: str, words: Sequence[int]) -> list[int]:
        ids = [self._ids[name].get(value, UNK) for value in split(cell)]
        return [ids[word] if word >= 0 else PAD for word in words]

    def _places(self, words: Sequence[int]) -> list[int]:
        """Where in its word each token is."""
        ids = self._ids[SUBWORD]
        before, after = [None, *words][:-1], [*words, None][1:]
        names = {(False, True): "B", (True, True): "I", (True, False): "E", (False, False): "O"}
        return [
            PAD if word < 0 else ids[names[first == word, last == word]]
            for word, first, last in zip(words, before, after, strict=True)
        ]


def train_factors(names: Sequence[str], sources: Iterable[str]) -> Factors:
    """The factors of these names, with all values that the sources have, in code point order."""
    given = [name for name in names if name != SUBWORD]
    values: dict[str, set[str]] = {name: set() for name in given}
    for source in sources if given else ():
        for name, cell in zip(given, source.split(TAB)[1:], strict=True):
            values[name].update(split(cell))
    return Factors({name: PLACES if name == SUBWORD else sorted(values[name]) for name in names})


def read_factors(path: Path) -> Factors:
    """Read the file that `Factors.save` wrote. Raises UserError for a damaged one."""
    description = read_json(path, LIMIT)
    try:
        if description["format"] != FORMAT:
            raise UserError(f"format {description['format']!r}, this version reads {FORMAT}")
        values = {str(each["name"]): [_value(value) for value in each["values"]] for each in description["factors"]}
        if values.get(SUBWORD, list(PLACES)) != list(PLACES):
            raise ValueError(f"{SUBWORD} has the values {', '.join(PLACES)}")
        return Factors(values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is not a description of factors ({type(error).__name__}: {error})") from None


def sentence_of(text: str, factors: Factors | None) -> str:
    """The text of a source without the values of its factors."""
    return text.partition(TAB)[0] if factors is not None and factors.given else text


def split(text: str) -> list[str]:
    """What is separated by spaces (U+0020): the words of a text, or the values of a factor."""
    return [word for word in text.split(" ") if word]


def check_values(sentence: str, cell: str, name: str, where: str) -> None:
    """Raise UserError, naming `where`, unless there is a value for each word."""
    words, values = len(split(sentence)), len(split(cell))
    if words != values:
        raise UserError(
            f"{where}: the factor {name} has {_counted(values, 'value')} for {_counted(words, 'word')}; write one for "
            "each word, with spaces between"
        )


def check_names(names: Sequence[str]) -> None:
    """Raise UserError for a factor that is there twice, or whose name is no word."""
    if not names:
        raise UserError("factors: there is none; leave them out (null)")
    for i, name in enumerate(names):
        if name in names[:i] or not name.isidentifier():
            raise UserError(f"factors: {name!r} is there twice, or is no name of letters and digits; choose another")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _value(text: object) -> str:
    if not isinstance(text, str) or not text or any(sign in text for sign in " \t\n"):
        raise ValueError(f"{text!r} is no value of a factor")
    return text
