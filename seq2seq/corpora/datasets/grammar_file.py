"""Reader of grammar files: rules, words and texts with slots (data/grammar.yaml explains the notation)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from seq2seq.errors import UserError

LANGUAGES = ("en", "de")
SECTIONS = {"settings", "patterns", "rules", "types", "spelling", "lexicon"}
SETTINGS = {"sizes", "shortest", "longest", "keep", "zipf", "once"}


class Slot(NamedTuple):
    """`{part form…}` in a text: where the text of a part of the rule is inserted, and in which form.

    `fixed` is the form if it does not depend on the derivation (it has neither a feature nor @).
    """

    part: str
    form: tuple[str, ...]
    fixed: str | None


Text = tuple[str | Slot, ...]
Forms = dict[str, Text]


@dataclass(frozen=True)
class Rule:
    """A rule of the grammar (a word is a rule without parts): its text in each language and form. `texts` caches the
    results of `text`."""

    label: str
    sides: dict[str, Forms]
    has: dict[str, str]
    shows: tuple[str, ...] = ()
    parts: dict[str, str] = field(default_factory=dict)
    texts: dict[tuple[str, str], tuple[Text, list[str]]] = field(default_factory=dict)

    def text(self, language: str, form: str) -> tuple[Text, list[str]]:
        """The text under the longest key that is a prefix of `form`, else under "*"; and the rest of `form`."""
        if (language, form) not in self.texts:
            words, forms = form.split(), self.sides.get(language, {})
            n = max((n for n in range(1, len(words) + 1) if " ".join(words[:n]) in forms), default=0)
            key = " ".join(words[:n]) or "*"
            if key not in forms:
                raise UserError(
                    f"{self.label}: has no form {form!r} in {language}; it has {', '.join(forms) or 'none'}"
                )
            self.texts[language, form] = forms[key], words[n:]
        return self.texts[language, form]


class _Loader(yaml.SafeLoader):
    """Loads YAML; a repeated key is an error and does not overwrite the first."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys = [key.value for key, _ in node.value]
        for n, key in enumerate(keys):
            if key in keys[:n]:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key} is there twice", problem_mark=node.value[n][0].start_mark
                )
        return node


def read(path: Path) -> dict[str, Any]:
    """The sections of a grammar file. Raises UserError if it cannot be read, or has missing or unknown sections."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    for name, needed in (("", SECTIONS), ("settings", SETTINGS)):
        part = raw.get(name) if name else raw
        if not isinstance(part, dict) or part.keys() != needed:
            raise UserError(f"{path}: {name or 'the file'} needs exactly the keys {', '.join(sorted(needed))}")
    for name, section in raw.items():
        if not isinstance(section, dict):
            raise UserError(f"{path}: {name} must map names to what they mean, not be {section!r}")
    return dict(raw)


def rule_of(label: str, raw: Mapping[str, Any]) -> tuple[Rule, float]:
    """A rule and its weight, its slots checked against its parts."""
    if not isinstance(raw, dict):
        raise UserError(f"{label}: must be a mapping (parts, en, de, …), not {raw!r}")
    if unknown := raw.keys() - {"parts", "en", "de", "has", "shows", "weight"}:
        raise UserError(f"{label}: unknown key {', '.join(sorted(map(str, unknown)))}")
    sides = {language: _forms(raw[language], label) for language in LANGUAGES if language in raw}
    has = {key: str(value) for key, value in raw.get("has", {}).items()}
    slots = [s for forms in sides.values() for text in forms.values() for s in text if isinstance(s, Slot)]
    atoms = [atom for slot in slots for atom in slot.form] + list(has.values())
    parts = dict(raw.get("parts", {}))
    for part in [slot.part for slot in slots] + [atom.partition(".")[0] for atom in atoms if "." in atom]:
        if part not in parts:
            raise UserError(f"{label}: {part} is not among its parts ({', '.join(parts) or 'none'})")
    return Rule(label, sides, has, _shows(raw), parts), raw.get("weight", 1)


def _shows(raw: Mapping[str, Any]) -> tuple[str, ...]:
    shows = raw.get("shows", [])
    return (shows,) if isinstance(shows, str) else tuple(shows)


def words_of(label: str, kind: Mapping[str, Any], lines: str) -> Iterator[tuple[Rule, list[str]]]:
    """The words of one type, each with the categories it belongs to. Raises UserError for a malformed line."""
    for line in lines.split("\n"):
        if line.strip() and not line.startswith("#"):
            cells = [cell.split() for cell in line.split("|")]
            if len(cells) != 3 or not cells[2]:
                raise UserError(f"{label} {line!r}: needs English | German | categories")
            yield _word(f"{label} {line!r}", kind, cells), cells[2]


def _word(label: str, kind: Mapping[str, Any], cells: list[list[str]]) -> Rule:
    columns = {lang: _columns(label, kind[lang], cell) for lang, cell in zip(LANGUAGES, cells, strict=False)}
    sides: dict[str, Forms] = {}
    for language, values in columns.items():
        try:
            forms = _forms(kind["forms"][language], label).items()
            sides[language] = {
                form: ("".join(s if isinstance(s, str) else values[s.part] for s in text),) for form, text in forms
            }
        except KeyError as missing:
            raise UserError(f"{label}: its type has no {missing} in {language}") from None
    everything = columns["en"] | columns["de"]
    return Rule(label, sides, {name: everything[name] for name in kind.get("has", [])}, _shows(kind))


def _columns(label: str, names: list[str], cells: list[str]) -> dict[str, str]:
    """The cells of a word by column; a column `a=b` may be left out, and then has the value of column b."""
    columns = [name.partition("=") for name in names]
    least = sum(not default for _, _, default in columns)
    if not least <= len(cells) <= len(columns):
        raise UserError(f"{label}: {' '.join(cells)} has {len(cells)} columns; its type needs {', '.join(names)}")
    values = {name: cell.replace("_", " ") for (name, _, _), cell in zip(columns, cells, strict=False)}
    return values | {name: values[default] for name, _, default in columns[len(cells) :]}


def _forms(side: Any, label: str, prefix: str = "") -> Forms:
    """Flatten nested tables of forms: {nom: {m: der}} becomes {"nom m": der}; a text alone is the form "*"."""
    if not isinstance(side, dict):
        matches = re.split(r"\{\s*([^{}\s]+)([^{}]*)\}", str(side))  # text, part, form, text, part, form, …, text
        text: list[str | Slot] = [matches[0]]
        for part, form, literal in zip(matches[1::3], matches[2::3], matches[3::3], strict=True):
            fixed = None if "." in form or "@" in form else " ".join(form.split())
            text += [Slot(part, tuple(form.split()), fixed), literal]
        if any("{" in element or "}" in element for element in text if isinstance(element, str)):
            raise UserError(f"{label}: unbalanced or empty braces in {side!r}")
        return {prefix or "*": tuple(element for element in text if element != "")}
    nested = (_forms(value, label, f"{prefix} {key}".strip()) for key, value in side.items())
    return {form: text for forms in nested for form, text in forms.items()}
