"""`seq2seq augment`: pairs that the models' own translations make, each step made once."""

from pathlib import Path

import pytest

from seq2seq import Translator
from seq2seq.bundle.format import fingerprint
from seq2seq.cli import translate_file
from seq2seq.cli.main import main
from seq2seq.corpora import Parallel
from seq2seq.inference.request import TaggedRequest
from seq2seq.text import WhitespaceTokenizer
from tests.bundles import WORDS, save

SOURCES = ["a man sleeps", "", "the red dog runs", "a small house", "the old woman sees a dog"]
EN_DE = {"source_language": "en", "target_language": "de"}
DE_EN = {"source_language": "de", "target_language": "en"}


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three bundles and a corpus, of which the first model has one pair already."""
    monkeypatch.chdir(tmp_path)
    for seed, (name, provenance) in enumerate({"a": EN_DE, "b": EN_DE, "c": DE_EN}.items()):
        save(tmp_path / name, seed=seed, provenance=provenance)
    targets = ["runs", "dog", Translator.load("a").translate([SOURCES[2]])[0], "small man", "house in the house"]
    for language, texts in (("en", SOURCES), ("de", targets)):
        (tmp_path / f"train.{language}").write_text("".join(f"{text}\n" for text in texts), "utf-8")
    return tmp_path


def augment(how: str, *bundles: str, output: str = "out", more: tuple[str, ...] = ()) -> int:
    files = ["--source", "train.en", "--target", "train.de", "--output", output]
    return main(["augment", "--how", how, *bundles, *files, *more])


def read(name: str) -> list[str]:
    return Path(name).read_text("utf-8").split("\n")[:-1]


def made(output: str = "out") -> list[tuple[str, str]]:
    return list(zip(read(f"{output}/pairs.en"), read(f"{output}/pairs.de"), strict=True))


def new(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Without empty ones, those of the corpus and repetitions, by the rule."""
    corpus = set(zip(read("train.en"), read("train.de"), strict=True))
    return [pair for pair in dict.fromkeys(pairs) if all(pair) and pair not in corpus]


def test_forward_and_backward(given: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert augment("forward", "a", "b") == 0
    translated = [Translator.load(name).translate(SOURCES) for name in "ab"]
    expected = new([(x, y) for each in translated for x, y in zip(SOURCES, each, strict=True)])
    assert made() == expected
    assert 2 < len(expected) < 2 * len(SOURCES) - 2
    assert f"{len(expected)} pairs: out/pairs.{{en,de}}" in capsys.readouterr().out
    assert augment("backward", "c", output="back") == 0
    targets = read("train.de")
    assert made("back") == new(list(zip(Translator.load("c").translate(targets), targets, strict=True)))


def test_a_tag_is_read_before_each_source(given: Path) -> None:
    tokenizer = WhitespaceTokenizer(WORDS, symbols=["<de>"])
    save(Path("tagged"), provenance=EN_DE, tokenizer=tokenizer)
    assert augment("forward", "tagged") == 0
    assert augment("forward", "tagged", output="with", more=("--tag", "<de>")) == 0
    requests = [TaggedRequest(source, tag="<de>") for source in SOURCES]
    assert made("with") == new(list(zip(SOURCES, Translator.load("tagged").translate(requests), strict=True)))
    assert made("with") != made()
    assert "--output with --tag '<de>'" in Path("with/README.md").read_text("utf-8")


@pytest.mark.parametrize("sampled", [True, False])
def test_back_translation_of_text_without_translations(given: Path, sampled: bool) -> None:
    news = ["a red house", "", "the dog runs", "a red house"]
    Path("news.de").write_text("".join(f"{line}\n" for line in news), "utf-8")
    more = ["--sample", "--temperature", "0.7", "--seed", "3"] if sampled else ["--beam-size", "2"]
    command = ["augment", "--how", "back-translate", "c", "--target", "news.de", "--output", "out", *more]
    assert main(command) == 0
    reverse = Translator.load("c")
    chosen = {"sample": True, "temperature": 0.7, "seed": 3} if sampled else {"beam_size": 2}
    found = [best[0].text for best in reverse.translate_full(news, reverse.options(n_best=1, **chosen))]
    assert made() == list(dict.fromkeys((x, y) for x, y in zip(found, news, strict=True) if x and y))
    (step,) = Path("out/steps").iterdir()
    before = step.stat().st_mtime_ns
    assert main(command) == 0
    assert step.stat().st_mtime_ns == before  # not translated again
    card = Path("out/README.md").read_text("utf-8")
    assert '[CORPUS, {files: out/pairs, tag: "<BT>"}]' in card
    assert "4 lines of news.de" in card
    assert ("--sample --seed 3" in card) == sampled
    list(Parallel("en", "de", [{"files": "out/pairs", "tag": "<BT>"}], "out/pairs").pairs("train"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["back-translate", "c", "--source", "train.en"], "--how back-translate has no use for --source"),
        (["backward", "c"], "--how backward needs --source FILE"),
        (["back-translate", "c", "--temperature", "2"], "--temperature 2.0: is for sampling; add --sample"),
        (["back-translate", "c", "--sample", "--beam-size", "2"], "--beam-size 2: is of a search"),
    ],
)
def test_what_does_not_go_together(
    given: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["augment", "--how", *arguments, "--target", "train.de", "--output", "out"]) == 2
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


def test_distillation_is_of_the_ensemble_and_keeps_each_pair(given: Path) -> None:
    assert augment("distill", "a", "b", more=("--beam-size", "2")) == 0
    ensemble = Translator.load([Path("a"), Path("b")])
    found = [best[0].text for best in ensemble.translate_full(SOURCES, ensemble.options(beam_size=2))]
    assert made() == [(x, y) for x, y in zip(SOURCES, found, strict=True) if x and y]
    card = Path("out/README.md").read_text("utf-8")
    assert "Train on these instead of the corpus" in card
    assert "seq2seq augment --how distill a b --source train.en --target train.de --output out --beam-size 2" in card


def test_the_card_says_what_it_is_and_its_pairs_are_a_corpus(given: Path) -> None:
    assert augment("forward", "a", "b") == 0
    card = Path("out/README.md").read_text("utf-8")
    for words in ("Nguyen et al. 2020", "not checked by anyone", fingerprint(given / "a"), fingerprint(given / "b")):
        assert words in card
    entry: list[object] = [["train.en", "train.de"], "out/pairs"]
    assert f"'data.corpus.train={str(entry).replace(chr(39), '')}'" in card
    corpus = Parallel(source_language="en", target_language="de", train=entry, val=["train.en", "train.de"])
    assert list(corpus.pairs("train")) == [*zip(read("train.en"), read("train.de"), strict=True), *made()]


def test_each_step_is_made_once(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed within the second, the same command makes that alone; another way takes what is there."""
    original, calls = translate_file.run, []

    def run(arguments):
        calls.append([str(arguments.bundle), *map(str, arguments.ensemble)])
        if calls == [["a"], ["b"]]:
            raise KeyboardInterrupt
        return original(arguments)

    monkeypatch.setattr(translate_file, "run", run)
    assert augment("forward", "a", "b") == 130
    assert not Path("out/README.md").exists()
    assert augment("forward", "a", "b") == 0
    assert augment("distill", "a") == 0
    assert calls == [["a"], ["b"], ["b"]]
    assert augment("forward", "a", more=("--beam-size", "1")) == 0
    assert calls[3:] == [["a"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("forward", "a", "c"), "a translates en-de, c de-en; give one direction"),
        (("forward", "a", "a"), "a is given twice"),
        (("forward", "d"), "d: is not a bundle"),
        (("sideways", "a"), "invalid choice: 'sideways'"),
    ],
)
def test_refused(given: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert augment(*arguments) == 2
    assert message in capsys.readouterr().err
    assert not (given / "out").exists()


def test_files_that_do_not_fit(given: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("train.de").write_text("runs\n", "utf-8")
    assert augment("forward", "a") == 2
    assert "train.en has 5 lines, train.de 1" in capsys.readouterr().err
    Path("train.de").unlink()
    assert augment("forward", "a") == 2
    assert "train.de: no such file" in capsys.readouterr().err
