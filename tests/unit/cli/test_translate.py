"""The prompt of `seq2seq translate`: translations, settings, attention as text, mistakes, and history."""

import io
import sys

import pytest

from seq2seq import Translator
from seq2seq.cli.main import main
from seq2seq.cli.translate import SHADES, drawn
from seq2seq.inference.request import TaggedRequest
from seq2seq.text import WhitespaceTokenizer
from tests.bundles import WORDS, save


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    save(folder := tmp_path_factory.mktemp("prompt") / "b", context="additive")
    return folder


class Terminal(io.StringIO):
    def isatty(self):
        return True


def enter(bundle, text, monkeypatch, capsys, *, terminal=False):
    monkeypatch.setattr(sys, "stdin", (Terminal if terminal else io.StringIO)(text))
    code = main(["translate", str(bundle)])
    return code, *capsys.readouterr()


def test_lines_are_translated_as_by_the_translator(bundle, monkeypatch, capsys):
    lines = ["a man sleeps", "", "the dog runs"]
    assert enter(bundle, "\n".join(lines) + "\n", monkeypatch, capsys) == (
        0,
        "".join(f"{text}\n" for text in Translator.load(bundle).translate(lines)),
        "",
    )


def test_settings_change_the_search_and_a_list_widens_the_beam(bundle, monkeypatch, capsys):
    translator = Translator.load(bundle)
    wide = translator.translate_full(["a dog"], translator.options(beam_size=7, n_best=7, length_penalty=2.0))
    code, out, _ = enter(bundle, ":n-best 7\n:length-penalty 2\na dog\n:beam 1\na dog\n:quit\nx\n", monkeypatch, capsys)
    expected = [f"{each.hypothesis.score:8.3f}  {each.text}" for each in wide[0]]
    greedy = translator.translate(["a dog"], beam_size=1)
    assert (code, out.splitlines()) == (0, [*expected, *greedy])


def test_attention_is_drawn_below_the_translation(bundle, monkeypatch, capsys):
    shown = Translator.load(bundle).show("a man")
    _, out, _ = enter(bundle, ":attention\na man\n:attention\na man\n", monkeypatch, capsys)
    text, *rows, again = out.splitlines()
    assert text == again == shown.text
    assert "\n".join(rows) == drawn(shown.source, shown.target, shown.weights)
    assert len(rows) == len("</s>") + len(shown.target)


def test_shades_are_of_the_weights():
    picture = drawn(["ab", "犬"], ["x", "</s>"], [[0.0, 1.0], [0.5, 0.3]])
    assert picture.split("\n") == ["     a", "     b 犬", "x      ██", "</s> ▒▒░░"]
    assert len(SHADES) == 5


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (":bean 3", ":bean: is no setting; did you mean :beam?"),
        (":beam x", ":beam x: needs a number, such as :beam 5"),
        (":beam", ":beam: needs a number, such as :beam 5"),
        (":", "a colon alone: is no setting; see :help"),
        (":beam 0", "search.beam_size=0: must be a whole number of at least 1"),
        (":nothing", ":nothing: is no setting; see :help"),
    ],
)
def test_a_mistake_is_one_line_and_ends_a_pipe_but_not_a_prompt(bundle, line, message, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path))
    code, out, err = enter(bundle, f"{line}\na man\n", monkeypatch, capsys)
    assert (code, out, err) == (2, "", f"seq2seq: error: {message}\n")
    code, out, err = enter(bundle, f"{line}\na man\n", monkeypatch, capsys, terminal=True)
    assert (code, err) == (0, f"seq2seq: {message}\n")
    assert Translator.load(bundle)("a man") in out


def test_a_tag_is_read_before_each_line_until_another(tmp_path, monkeypatch, capsys):
    save(tmp_path / "b", tokenizer=WhitespaceTokenizer(WORDS, symbols=["<de>", "<fr>"]), context="additive")
    translator = Translator.load(tmp_path / "b")
    lines = [TaggedRequest("a man sleeps", tag=tag) for tag in ("<fr>", None)]
    _, out, _ = enter(tmp_path / "b", ":tag <fr>\na man sleeps\n:tag\na man sleeps\n", monkeypatch, capsys)
    assert out.splitlines() == translator.translate(lines)
    code, _, err = enter(tmp_path / "b", ":tag <xx>\n", monkeypatch, capsys)
    assert code == 2
    assert ":tag <xx>: '<xx>' is no symbol of the tokenizer; it has <de>, <fr>" in err


def test_help_lists_every_setting(bundle, monkeypatch, capsys):
    from seq2seq.cli.translate import COMMANDS

    _, out, _ = enter(bundle, ":help\n", monkeypatch, capsys)
    assert all(f":{name}" in out for name in COMMANDS)


def test_attention_of_a_model_without_it_is_refused(tmp_path, monkeypatch, capsys):
    save(tmp_path / "b")
    assert "no attention" in enter(tmp_path / "b", ":attention\n", monkeypatch, capsys)[2]


def test_a_terminal_confirms_settings_and_goes_on_after_ctrl_c(bundle, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("SEQ2SEQ_CACHE", str(tmp_path))
    typed = iter([":n-best 4", ":n-best 4", KeyboardInterrupt, "a man", ":attention", "", EOFError])

    def read(prompt):
        line = next(typed)
        if isinstance(line, str):
            return line
        raise line

    monkeypatch.setattr("builtins.input", read)
    translated, calls = Translator.translate_full, []

    def translate_full(translator, lines, options):
        calls.append(lines)
        if len(calls) == 1:
            raise KeyboardInterrupt  # while the search goes on
        return translated(translator, lines, options)

    monkeypatch.setattr(Translator, "translate_full", translate_full)
    code, out, err = enter(bundle, "", monkeypatch, capsys, terminal=True)
    settings = "beam 4, n-best 4, length penalty 0.6, attention"
    assert (code, err, len(calls)) == (0, "", 2)
    assert out.split("\n")[1:] == [f"{settings} off", "", "", f"{settings} on", "   0.000  ", "", ""]
