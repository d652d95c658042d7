"""The embedded corpus: pairs sampled from a synchronous grammar (data/grammar.yaml, which explains its own notation).

A derivation is a tree of rules, sampled once and written in both languages, as in Grammatical Framework (Ranta 2011):
one abstract syntax, two linearisations by tables of forms. The only source of randomness is
`random.Random(seed).random()`, so that the text is the same for every version of Python and on every platform.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect
from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from seq2seq.corpora.datasets.grammar_file import LANGUAGES, Rule, Slot, read, rule_of, words_of
from seq2seq.corpora.folders import atomic_folder
from seq2seq.errors import UserError
from seq2seq.runtime.paths import packaged

PATIENCE = 20_000  # samples in a row without a new sentence, after which the grammar counts as exhausted


class Node(NamedTuple):
    """A node of a derivation: a rule, the derivations of its parts, and its features."""

    rule: Rule
    parts: dict[str, Node]
    features: dict[str, str]

    def write(self, language: str, form: str = "") -> str:
        """The node's text, with spaces and commas that `Grammar.sentence` tidies."""
        text, rest = self.rule.texts.get((language, form)) or self.rule.text(language, form)
        written = []
        for element in text:
            if isinstance(element, str):
                written.append(element)
            else:
                slot_form = self._slot_form(element, rest) if element.fixed is None else element.fixed
                written.append(self.parts[element.part].write(language, slot_form))
        return "".join(written)

    def _slot_form(self, slot: Slot, rest: list[str]) -> str:
        """The form of the part that fills a slot: from words, features of the parts, and the rest of this node's
        form."""
        words: list[str] = []
        try:
            for atom in slot.form:
                part, dot, feature = atom.partition(".")
                if dot:
                    words.append(self.parts[part].features[feature])
                elif atom == "@":
                    words += rest
                else:
                    words.append(rest[int(atom[1:]) - 1] if atom[0] == "@" else atom)
        except (KeyError, IndexError):
            raise UserError(
                f"{self.rule.label}: {{{slot.part} {' '.join(slot.form)}}}: no such feature in "
                f"{', '.join(node.rule.label for node in self.parts.values())}, or in the form {' '.join(rest)!r}"
            ) from None
        return " ".join(words)


class Category(NamedTuple):
    """Alternatives, one of which is sampled by weight: rules, or names of other categories."""

    options: list[Rule | str]
    cumulative: list[float]


class Example(NamedTuple):
    """A sentence pair, its sentence pattern, and the linguistic phenomena in it."""

    source: str
    target: str
    pattern: str
    shows: frozenset[str]


class Grammar:
    """The grammar of a file (by default the project's). Raises UserError, naming file and rule, for a mistake in it."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or packaged("data") / "grammar.yaml"
        raw = read(self.path)
        self.settings: dict[str, Any] = raw["settings"]
        weighted: dict[str, list[tuple[Rule | str, float]]] = {"patterns": list(raw["patterns"].items())}
        for name, options in raw["rules"].items():
            if isinstance(options, dict):
                weighted[name] = list(options.items())
            else:
                labels = (f"{self.path}: {name}, rule {n}" for n in range(1, len(options) + 1))
                weighted[name] = [rule_of(label, rule) for label, rule in zip(labels, options, strict=True)]
        for kind, lines in raw["lexicon"].items():
            if kind not in raw["types"]:
                raise UserError(f"{self.path}: lexicon: {kind} is not among the types ({', '.join(raw['types'])})")
            for rule, names in words_of(f"{self.path}: {kind}", raw["types"][kind], lines):
                for name in names:
                    if name in raw["rules"]:
                        raise UserError(f"{rule.label}: the category {name} has rules; name another for words")
                    ranked = weighted.setdefault(name, [])
                    ranked.append((rule, 1 / (len(ranked) + 1 + self.settings["zipf"])))
        self.categories = {
            name: Category([option for option, _ in options], list(accumulate(weight for _, weight in options)))
            for name, options in weighted.items()
        }
        self._check()
        self._once = {rule.label for category in self.settings["once"] for rule in self._union(category)}
        self._spelling = {
            lang: [(re.compile(pattern), into) for pattern, into in raw["spelling"].get(lang, [])] for lang in LANGUAGES
        }

    def _check(self) -> None:
        wanted = [(f"{self.path}: settings.once", name) for name in self.settings["once"]]
        for name, (options, _) in self.categories.items():
            for option in options:
                if isinstance(option, str):
                    wanted.append((f"{self.path}: {name}", option))
                else:
                    wanted += [(option.label, part) for part in option.parts.values()]
        for label, category in wanted:
            if category not in self.categories:
                raise UserError(f"{label}: there is no category {category}")

    def _union(self, category: str) -> Iterator[Rule]:
        for option in self.categories[category].options:
            yield from self._union(option) if isinstance(option, str) else (option,)

    def draw(self, category: str, random: Random, rules: list[Rule]) -> Node:
        """Sample a derivation of a category; its rules are appended to `rules`."""
        options, cumulative = self.categories[category]
        option = options[bisect(cumulative, random.random() * cumulative[-1]) if len(options) > 1 else 0]
        if isinstance(option, str):
            return self.draw(option, random, rules)
        rules.append(option)
        parts = {name: self.draw(part, random, rules) for name, part in option.parts.items()}
        features = {}
        for key, value in option.has.items():
            part, dot, feature = value.partition(".")
            if dot and feature not in parts[part].features:
                raise UserError(f"{option.label}: has {key}: {value}, which {parts[part].rule.label} has not")
            features[key] = parts[part].features[feature] if dot else value
        return Node(option, parts, features)

    def sentence(self, node: Node, language: str) -> str:
        """The sentence of a derivation: single spaces and commas, spelling rules applied, the first letter a
        capital."""
        text = re.sub(r"(\s*,)+", ",", " ".join(node.write(language).split()))
        text = re.sub(r",?\s*([.?!])$", r"\1", text)
        for pattern, into in self._spelling[language]:
            text = pattern.sub(into, text)
        return text[:1].upper() + text[1:]

    def examples(self, seed: int) -> dict[str, list[Example]]:
        """Sample the splits; each source sentence occurs once. Raises UserError if one has two translations, or the
        grammar has too few sentences."""
        random, sizes = Random(seed), self.settings["sizes"]
        seen: dict[str, Example] = {}
        fruitless = 0
        while len(seen) < sum(sizes.values()):
            example = self._example(random)
            fruitless = 0 if example and example.source not in seen else fruitless + 1
            if example and seen.setdefault(example.source, example).target != example.target:
                raise UserError(
                    f"{self.path}: {example.pattern}: {example.source!r} has two translations: "
                    f"{seen[example.source].target!r} and {example.target!r}"
                )
            if fruitless > PATIENCE:
                raise UserError(f"{self.path}: settings.sizes: the grammar has only about {len(seen)} sentences")
        shuffled = iter(_shuffled(list(seen.values()), random))
        return {split: [next(shuffled) for _ in range(size)] for split, size in sizes.items()}

    def _example(self, random: Random) -> Example | None:
        """Sample a pair; None if a word of `settings.once` is repeated or the length is rejected."""
        rules: list[Rule] = []
        node = self.draw("patterns", random, rules)
        once = [rule.label for rule in rules if rule.label in self._once]
        if len(once) > len(set(once)):
            return None
        source = self.sentence(node, "en")
        if random.random() >= self._kept(len(source.split())):
            return None
        pattern = node.rule.label.removeprefix(f"{self.path}: ").partition(",")[0]
        return Example(
            source, self.sentence(node, "de"), pattern, frozenset(shown for rule in rules for shown in rule.shows)
        )

    def _kept(self, words: int) -> float:
        if not self.settings["shortest"] <= words <= self.settings["longest"]:
            return 0
        return next((share for limit, share in self.settings["keep"].items() if words <= limit), 0)


def generate(grammar: Path | None = None, seed: int = 1) -> dict[str, list[tuple[str, str]]]:
    """The pairs (English, German) of train, val and test: a pure function of the grammar file and the seed.

    No source sentence is in two splits, or has two translations. Raises UserError for a mistake in the grammar.
    """
    splits = Grammar(grammar).examples(seed)
    return {split: [(example.source, example.target) for example in examples] for split, examples in splits.items()}


def write_embedded(folder: Path, grammar: Path | None = None, seed: int = 1) -> None:
    """Write train.en, train.de, val.en, … into a new folder, atomically, also if other processes write the same.

    Raises UserError for a mistake in the grammar, or if `folder` already holds something else.
    """
    files = corpus_files(generate(grammar, seed))
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    with atomic_folder(folder) as temporary:
        for name, content in files.items():
            (temporary / name).write_bytes(content)
    for name, content in files.items():
        if not (folder / name).is_file() or (folder / name).read_bytes() != content:
            raise UserError(f"{folder / name}: is not what the grammar makes; remove the folder or choose another")


def corpus_files(splits: Mapping[str, list[tuple[str, str]]]) -> dict[str, bytes]:
    """The content of each file of a corpus, by name: UTF-8, one newline after each sentence."""
    return {
        f"{split}.{language}": "".join(f"{pair[side]}\n" for pair in pairs).encode()
        for split, pairs in splits.items()
        for side, language in enumerate(LANGUAGES)
    }


def checksum(splits: Mapping[str, list[tuple[str, str]]]) -> str:
    """SHA-256 of the concatenated train.en, train.de, val.en, val.de, test.en and test.de."""
    return hashlib.sha256(b"".join(corpus_files(splits).values())).hexdigest()


def _shuffled(items: list[Example], random: Random) -> list[Example]:
    """The Fisher-Yates shuffle; `random.shuffle` may give another order in another version of Python."""
    for last in range(len(items) - 1, 0, -1):
        other = int(random.random() * (last + 1))
        items[last], items[other] = items[other], items[last]
    return items
