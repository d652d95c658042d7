"""The embedded corpus: German is a function of English, and right by independent tables; mistakes are explained."""

import importlib.util
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import ModuleType

import pytest

from seq2seq.corpora.datasets.grammar import Example, Grammar, Node, checksum, corpus_files, generate, write_embedded
from seq2seq.corpora.datasets.grammar_card import statistics
from seq2seq.errors import UserError
from seq2seq.runtime.paths import PACKAGE, packaged

CHECKSUM = "e5b4362f438292239ba362ba032bbef7afa4e12ac5e8aa9229fc43f1789f8ce9"  # update on purpose

# Checked word by word; at least one for each thing that is hard.
PAIRS = {
    "Ben has tried to invite the man.": "Ben hat versucht, den Mann einzuladen.",
    "Ben said that Ida arrived last year.": "Ben sagte, dass Ida letztes Jahr ankam.",
    "Emma said that Emil helped him yesterday.": "Emma sagte, dass Emil ihm gestern half.",
    "Yesterday we closed the window.": "Gestern machten wir das Fenster zu.",
    "Yesterday she closed the suitcase.": "Gestern machte sie den Koffer zu.",
    "Ben has followed my sister.": "Ben ist meiner Schwester gefolgt.",
    "Whom did the man follow?": "Wem ist der Mann gefolgt?",
    "I must not talk to the child.": "Ich darf nicht mit dem Kind sprechen.",
    "Anna calls her, but she must not help her.": "Anna ruft sie an, aber sie darf ihr nicht helfen.",
    "I did not find a key.": "Ich fand keinen Schlüssel.",
    "I did not find a book.": "Ich fand kein Buch.",
    "Their angry friend hears that Anna likes to sing.": "Ihr wütender Freund hört, dass Anna gern singt.",
    "There are 17 books in the city.": "In der Stadt gibt es 17 Bücher.",
    "Why did I sell thirty-two keys?": "Warum habe ich zweiunddreißig Schlüssel verkauft?",
    "Tim found the bank because he saw the river.": "Tim fand das Ufer, weil er den Fluss sah.",
    "A boy who saw the money found the bank.": "Ein Junge, der das Geld sah, fand die Bank.",
    "The spring that Paul has looked for reminds him of the mountain.": (
        "Die Quelle, die Paul gesucht hat, erinnert ihn an den Berg."
    ),
    "He looked for the car, but he did not find it.": "Er suchte das Auto, aber er fand es nicht.",
    "The dog ate the apple because it was happy.": "Der Hund fraß den Apfel, weil er glücklich war.",
    "Ida forgot the word when she ate the apple, but she did not look for the letter.": (
        "Ida vergaß das Wort, als sie den Apfel aß, aber sie suchte den Buchstaben nicht."
    ),
    "The old man waited in Berlin for two years.": "Der alte Mann wartete zwei Jahre lang in Berlin.",
    "I brought along the lamp of the clever doctor.": "Ich brachte die Lampe des klugen Arztes mit.",
    "Please send me her keys.": "Bitte schicken Sie mir ihre Schlüssel.",
    "Anna does not know when Paul danced.": "Anna weiß nicht, wann Paul tanzte.",
    "Because the tired woman buys two keys, Peter has waited behind the church.": (
        "Weil die müde Frau zwei Schlüssel kauft, hat Peter hinter der Kirche gewartet."
    ),
    "Peter has called the tired doctors that David listened to.": (
        "Peter hat die müden Ärzte angerufen, denen David zuhörte."
    ),
    "Our mother works in Vienna at seven o'clock.": "Unsere Mutter arbeitet um sieben Uhr in Wien.",
}

# English noun phrase: nominative, accusative and dative, from a textbook
DECLENSION = {
    "the old man": ("der alte Mann", "den alten Mann", "dem alten Mann"),
    "an old man": ("ein alter Mann", "einen alten Mann", "einem alten Mann"),
    "the old woman": ("die alte Frau", "die alte Frau", "der alten Frau"),
    "a friendly child": ("ein freundliches Kind", "ein freundliches Kind", "einem freundlichen Kind"),
    "the student": ("der Student", "den Studenten", "dem Studenten"),
    "the neighbour": ("der Nachbar", "den Nachbarn", "dem Nachbarn"),
    "my friend": ("mein Freund", "meinen Freund", "meinem Freund"),
    "her young sister": ("ihre junge Schwester", "ihre junge Schwester", "ihrer jungen Schwester"),
    "the children": ("die Kinder", "die Kinder", "den Kindern"),
    "two old men": ("zwei alte Männer", "zwei alte Männer", "zwei alten Männern"),
    "some women": ("einige Frauen", "einige Frauen", "einigen Frauen"),
    "the new car": ("das neue Auto", "das neue Auto", "dem neuen Auto"),
    "a new car": ("ein neues Auto", "ein neues Auto", "einem neuen Auto"),
    "the big red bag": ("die große rote Tasche", "die große rote Tasche", "der großen roten Tasche"),
    "an expensive table": ("ein teurer Tisch", "einen teuren Tisch", "einem teuren Tisch"),
    "this key": ("dieser Schlüssel", "diesen Schlüssel", "diesem Schlüssel"),
    "all old books": ("alle alten Bücher", "alle alten Bücher", "allen alten Büchern"),
    "many old books": ("viele alte Bücher", "viele alte Bücher", "vielen alten Büchern"),
    "every lamp": ("jede Lampe", "jede Lampe", "jeder Lampe"),
}

# every article that is possible before these forms
ARTICLES = {
    "Lampe": "die der",
    "Auto": "das dem des",
    "Schlüssel": "der den dem die",
    "Tisch": "der den dem",
    "Tische": "die der",
    "Kindern": "den",
    "Kind": "das dem",
    "Frau": "die der",
    "Nachbarn": "den dem des die",
    "Studenten": "den dem des die",
    "Uhr": "die der",
    "Fahrrad": "das dem",
    "Ufer": "das dem",
    "Bank": "die der",
}

TINY = """
settings: {sizes: {train: 2, val: 1, test: 1}, shortest: 2, longest: 9, keep: {9: 1}, zipf: 1, once: []}
patterns: {Statement: 1}
rules:
  Statement: [{parts: {n: Noun, d: Der}, en: "the {n sg} sings.", de: "{d nom n.gender} {n sg} singt."}]
  Der: [{de: {nom: {m: der, f: die}}}]
types: {noun: {en: [sg], de: [sg, gender], has: [gender], forms: {en: {sg: "{sg}"}, de: {sg: "{sg}"}}}}
spelling: {}
lexicon:
  noun: |
    man | Mann m | Noun
    woman | Frau f | Noun
    bird | Vogel m | Noun
    cat | Katze f | Noun
"""


def unchecked(name: str) -> ModuleType:
    """A module of the package loaded past the hook that checks types at every call: here there are millions of them."""
    spec = importlib.util.spec_from_file_location(f"unchecked_{name}", PACKAGE / "corpora" / "datasets" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return unchecked("grammar").Grammar()


@pytest.fixture(scope="module")
def splits(grammar: Grammar) -> dict[str, list[Example]]:
    return {split: [Example(*e) for e in examples] for split, examples in grammar.examples(seed=1).items()}


@pytest.fixture(scope="module")
def corpus(splits: dict[str, list[Example]]) -> dict[str, str]:
    return {example.source: example.target for examples in splits.values() for example in examples}


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Path]:
    def write(old: str = "", new: str = "") -> Path:
        assert old in TINY
        path = tmp_path / "tiny.yaml"
        path.write_text(TINY.replace(old, new, 1) if old else TINY, encoding="utf-8")
        return path

    return write


@pytest.mark.slow
def test_text_is_the_same_on_every_platform(splits: dict[str, list[Example]]) -> None:
    pairs = {split: [(e.source, e.target) for e in examples] for split, examples in splits.items()}
    assert checksum(pairs) == CHECKSUM


def test_sizes_and_no_source_twice(splits: dict[str, list[Example]], corpus: dict[str, str]) -> None:
    assert {split: len(examples) for split, examples in splits.items()} == {"train": 20_000, "val": 500, "test": 500}
    assert len(corpus) == 21_000


def test_german_is_a_function_of_english(
    grammar: Grammar, corpus: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(grammar.settings, "sizes", {"train": 7_000})
    again = [
        e for examples in grammar.examples(seed=2).values() for e in examples
    ]  # raises if one has two translations
    shared = [example for example in again if example.source in corpus]
    assert len(shared) > 40
    assert all(corpus[example.source] == example.target for example in shared)


def test_sentences_are_well_written(corpus: dict[str, str]) -> None:
    for sentence in (*corpus, *corpus.values()):
        assert re.fullmatch(r"[A-ZÄÖÜ0-9][A-Za-zÄÖÜäöüß0-9' ,-]+[.?]", sentence), sentence
        assert not re.search(r"  | ,| [.?]|,\S|,,|-$", sentence), sentence
    assert all(3 <= len(source.split()) <= 30 for source in corpus)
    assert not any(re.search(r"\b[Aa] [aeiou]|\ban [^aeiou]|\bcan not\b", source) for source in corpus)
    assert not any(re.search(r"\b([Ii]n dem|[Ii]n das|von dem)\b", target) for target in corpus.values())


@pytest.mark.parametrize(("source", "target"), PAIRS.items())
def test_translations_of_chosen_sentences(corpus: dict[str, str], source: str, target: str) -> None:
    assert corpus[source] == target


@pytest.fixture(scope="module")
def noun_phrases(grammar: Grammar) -> dict[str, Node]:
    random = Random(3)
    drawn = [grammar.draw(category, random, []) for category in ("PersonNP", "ThingNP") for _ in range(20_000)]
    return {re.sub(r"\ba (?=[aeiou])", "an ", " ".join(node.write("en", "nom").split())): node for node in drawn}


@pytest.mark.parametrize(("english", "german"), DECLENSION.items())
def test_declension(noun_phrases: dict[str, Node], english: str, german: tuple[str, str, str]) -> None:
    node = noun_phrases[english]
    assert tuple(" ".join(node.write("de", case).split()) for case in ("nom", "acc", "dat")) == german


@pytest.mark.parametrize("noun", ARTICLES)
def test_articles_agree(corpus: dict[str, str], noun: str) -> None:
    pattern = re.compile(rf"\b(d(?:er|ie|as|en|em|es)) {noun}\b", re.IGNORECASE)
    found = {article.lower() for target in corpus.values() for article in pattern.findall(target)}
    assert found
    assert found <= set(ARTICLES[noun].split())


def clauses(corpus: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Subordinate clauses that no relative clause interrupts: conjunction and last word."""
    for target in corpus.values():
        if not re.search(r", (der|die|das|dem|den|denen) ", target):
            for clause in re.split(r"[,.?]| und (?=dass)", target):
                words = clause.split()
                if words and words[0].lower() in ("weil", "dass", "obwohl", "bevor", "während", "ob"):
                    yield clause.strip(), words[-1]


def test_verb_stands_last_in_subordinate_clauses(grammar: Grammar, corpus: dict[str, str]) -> None:
    finite = {"bin", "ist", "sind", "war", "waren", "habe", "hat", "haben", "werde", "wird", "werden"}
    for category in grammar.categories.values():
        for rule in category.options:
            if not isinstance(rule, str) and "de" in rule.sides:
                forms = rule.sides["de"]
                finite |= {str(text[0]) for form, text in forms.items() if re.match(r"end |[13]s$|pl$", form) and text}
    found = list(clauses(corpus))
    assert len(found) > 4_000
    assert [clause for clause, last in found if last not in finite] == []


def test_meaning_is_settled_by_the_cue(corpus: dict[str, str]) -> None:
    for cue, word in {"river": "Ufer", "boat": "Ufer", "money": "Bank", "account": "Bank"}.items():
        found = [target for source, target in corpus.items() if {"bank", cue} <= set(re.findall(r"\w+", source))]
        assert len(found) > 20
        assert all(word in re.findall(r"\w+", target) for target in found)


def test_every_category_is_used(grammar: Grammar) -> None:
    reached, waiting = {"patterns"}, ["patterns"]
    while waiting:
        for option in grammar.categories[waiting.pop()].options:
            new = {option} - reached if isinstance(option, str) else set(option.parts.values()) - reached
            reached |= new
            waiting += new
    assert grammar.categories.keys() - reached == set()


def test_card_is_what_is_measured(splits: dict[str, list[Example]]) -> None:
    card = (packaged("data") / "README.md").read_text(encoding="utf-8")
    assert statistics(splits, seed=1) in card


def test_tiny_grammar(tiny: Callable[..., Path]) -> None:
    splits = generate(tiny(), seed=5)
    assert sorted(pair for pairs in splits.values() for pair in pairs) == [
        ("The bird sings.", "Der Vogel singt."),
        ("The cat sings.", "Die Katze singt."),
        ("The man sings.", "Der Mann singt."),
        ("The woman sings.", "Die Frau singt."),
    ]
    assert generate(tiny(), seed=5) == splits


def test_no_word_twice(tiny: Callable[..., Path]) -> None:
    path = tiny(
        '{parts: {n: Noun, d: Der}, en: "the {n sg} sings."', '{parts: {n: Noun, m: Noun, d: Der}, en: "{n sg} {m sg}."'
    )
    path.write_text(path.read_text(encoding="utf-8").replace("once: []", "once: [Noun]"), encoding="utf-8")
    sources = [source.lower().strip(".").split() for source, _ in generate(path)["train"]]
    assert all(first != second for first, second in sources)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("d: Der}", "d: Das}", r"tiny.yaml: Statement, rule 1: there is no category Das"),
        ("{Statement: 1}", "{Question: 1}", r"tiny.yaml: patterns: there is no category Question"),
        ("once: []", "once: [Verb]", r"tiny.yaml: settings.once: there is no category Verb"),
        ("f: die}", "n: das}", r"tiny.yaml: Der, rule 1: has no form 'nom f' in de; it has nom m, nom n"),
        ("{n sg} sings", "{x sg} sings", r"tiny.yaml: Statement, rule 1: x is not among its parts \(n, d\)"),
        ("n.gender", "x.gender", r"tiny.yaml: Statement, rule 1: x is not among its parts"),
        ("n.gender", "n.number", r"tiny.yaml: Statement, rule 1: .*no such feature"),
        ("{n sg} singt", "{n sg singt", r"tiny.yaml: Statement, rule 1: unbalanced or empty braces"),
        ("{parts: {n", "{part: {n", r"tiny.yaml: Statement, rule 1: unknown key part"),
        ("[{de: {nom", "[{has: {case: x.case}, de: {nom", r"tiny.yaml: Der, rule 1: x is not among its parts"),
        ("Mann m |", "Mann |", r"tiny.yaml: noun .*man.*: Mann has 1 columns; its type needs sg, gender"),
        ("Mann m | Noun", "Mann m", r"tiny.yaml: noun .*man.*: needs English \| German \| categories"),
        ("Frau f | Noun", "Frau f | Noun Der", r"tiny.yaml: noun .*woman.*: the category Der has rules"),
        ('de: {sg: "{sg}"}}}', 'de: {sg: "{pl}"}}}', r"tiny.yaml: noun .*man.*: its type has no 'pl' in de"),
        ("  noun: |", "  verb: |", r"tiny.yaml: lexicon: verb is not among the types \(noun\)"),
        ("bird |", "man |", r"tiny.yaml: Statement: 'The man sings.' has two translations"),
        ("train: 2", "train: 3", r"tiny.yaml: settings.sizes: the grammar has only about 4 sentences"),
        ("spelling: {}", "spelling: {}\nspelling: {}", r"tiny.yaml: cannot be read: the key spelling is there twice"),
        ("spelling: {}", "", r"tiny.yaml: the file needs exactly the keys"),
        ("spelling: {}", "spelling: []", r"tiny.yaml: spelling must map names"),
        ("zipf: 1,", "", r"tiny.yaml: settings needs exactly the keys"),
        ("rules:", "rules: [", r"tiny.yaml: cannot be read"),
    ],
)
def test_mistakes_name_file_and_rule(
    tiny: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str
) -> None:
    monkeypatch.setattr("seq2seq.corpora.datasets.grammar.PATIENCE", 300)
    with pytest.raises(UserError, match=message):
        generate(tiny(old, new))


def test_missing_grammar(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: cannot be read"):
        generate(tmp_path / "none.yaml")


def test_files_are_written_atomically_by_several_at_once(tiny: Callable[..., Path], tmp_path: Path) -> None:
    folder, path, errors = tmp_path / "corpus", tiny(), []

    def write() -> None:
        try:
            write_embedded(folder, path)
        except UserError as error:
            errors.append(error)

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == corpus_files(generate(path))
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def test_another_folder_is_not_overwritten(tiny: Callable[..., Path], tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    write_embedded(folder, tiny())  # an empty folder is filled
    (folder / "val.de").write_text("mine\n")
    with pytest.raises(UserError, match=r"val\.de: is not what the grammar makes"):
        write_embedded(folder, tiny())
    assert (folder / "val.de").read_text() == "mine\n"
