"""`seq2seq translate-file`: files and streams, written atomically, one line for a line."""

import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import zstandard

from seq2seq import Translator
from seq2seq.cli.main import main
from seq2seq.inference.files.formats import rounded
from seq2seq.inference.minimum_risk import ExpectedUtility
from seq2seq.inference.request import Request
from seq2seq.runtime.paths import PACKAGE
from tests.bundles import save

LINES = ["a man sleeps", "", "the red\u2028dog runs", "  ", "and\ra small\x85house", "dog", "a woman sees the old man"]
TEXT = "\n".join(LINES)  # the last line lacks its end
OPEN = {
    "": (bytes, bytes),
    ".gz": (gzip.compress, gzip.decompress),
    ".xz": (lzma.compress, lzma.decompress),
    ".zst": (zstandard.compress, lambda data: zstandard.ZstdDecompressor().stream_reader(data).read()),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a bundle and an input; the tests look at everything that is in it."""
    save(tmp_path / "bundle")
    (tmp_path / "in.txt").write_bytes(TEXT.encode())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def piped(monkeypatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.mark.parametrize("suffix", OPEN)
def test_files_of_every_kind(folder, suffix, capsys):
    compress, decompress = OPEN[suffix]
    Path(f"source{suffix}").write_bytes(compress(TEXT.encode()))
    assert main(["translate-file", "bundle", f"source{suffix}", f"out{suffix}", "--batch-size", "2"]) == 0
    lines = decompress(Path(f"out{suffix}").read_bytes()).decode().split("\n")
    assert lines == [*Translator.load("bundle").translate(LINES), ""]
    assert (lines[1], lines[3]) == ("", "")
    printed = capsys.readouterr()
    assert printed.out == ""
    warning, rest = printed.err.split("\n")  # of a random model's outputs; no bar where there is no terminal
    assert (warning.startswith("seq2seq: warning: 4 of 7 outputs were cut off"), rest) == (True, "")
    assert names(folder) == {"bundle", "in.txt", f"source{suffix}", f"out{suffix}"}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_a_bar_of_all_lines(folder, monkeypatch):
    monkeypatch.setattr("sys.stderr", Terminal())
    assert main(["translate-file", "bundle", "in.txt", "out"]) == 0
    assert f"{len(LINES)}/{len(LINES)}" in sys.stderr.getvalue()


def test_compressed_bytes_depend_on_neither_name_nor_time(folder):
    for name in ("one.gz", "other.gz"):
        assert main(["translate-file", "bundle", "in.txt", name]) == 0
    assert Path("one.gz").read_bytes() == Path("other.gz").read_bytes()


@pytest.mark.parametrize(("content", "count"), [(b"", 0), (b"\n", 1), (b"dog\n\n", 2), (b"\n\ndog", 3)])
def test_a_line_for_a_line(folder, content, count):
    Path("in.txt").write_bytes(content)
    assert main(["translate-file", "bundle", "in.txt", "out"]) == 0
    assert Path("out").read_bytes().count(b"\n") == count


def test_options_reach_the_search(folder):
    arguments = ["--beam-size", "4", "--n-best", "2", "--length-penalty", "0", "--max-length", "5", "--threads", "1"]
    assert main(["translate-file", "bundle", "in.txt", "out", *arguments]) == 0
    translator = Translator.load("bundle")
    options = translator.options(beam_size=4, n_best=2, length_penalty=0.0, max_length=5)
    expected = [
        f"{index} ||| {text} ||| {rounded(hypothesis.score)}"
        for index, line in enumerate(translator.translate_full(LINES, options))
        for text, hypothesis in line
    ]
    assert Path("out").read_text().split("\n") == [*expected, ""]
    assert [line for line in expected if line.startswith("1 |||")] == ["1 |||  ||| 0.0"]
    assert sum(line.startswith("5 |||") for line in expected) == 2


def test_every_option_of_the_search_reaches_it(folder):
    given = {
        "beam_size": 6,
        "length_penalty": 0.3,
        "min_length": 2,
        "max_length": 9,
        "no_repeat_ngram": 2,
        "diversity_groups": 3,
        "diversity_penalty": 0.7,
    }
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    assert main(["translate-file", "bundle", "in.txt", "out", *arguments]) == 0
    translator = Translator.load("bundle")
    found = translator.translate_full(LINES, translator.options(**given))
    assert Path("out").read_text() == "".join(f"{line[0].text}\n" for line in found)
    assert found != translator.translate_full(LINES)


def test_draws_and_the_one_of_least_risk(folder):
    translator = Translator.load("bundle")
    ways = {"temperature": 0.9, "top_k": 9, "top_p": 0.95, "seed": 4}
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in ways.items()]
    assert main(["translate-file", "bundle", "in.txt", "out", "--sample", "--n-best", "4", *arguments]) == 0
    drawn = translator.translate_full(LINES, translator.options(sample=True, n_best=4, **ways))
    assert Path("out").read_text().count("\n6 |||") == 4
    assert [line.split(" ||| ")[1] for line in Path("out").read_text().split("\n")[:4]] == [t for t, _ in drawn[0]]
    for metric in ("chrf", "bleu"):
        more = ["--mbr", "4", "--mbr-metric", metric, "--n-best", "2", *arguments]
        assert main(["translate-file", "bundle", "in.txt", "out", *more]) == 0
        expected = ExpectedUtility(metric)([text for text, _ in drawn[0]])
        assert Path("out").read_text().split("\n")[0].endswith(f" ||| {rounded(max(expected))}")


@pytest.mark.parametrize("stream", [False, True])
def test_what_lines_ask_for(folder, stream, monkeypatch, capsys):
    content = b"a man sleeps\tthe dog\tred house\tman\n\nthe dog\na man\t\told\nthe dog\ta\n"
    Path("in.txt").write_bytes(content)
    piped(monkeypatch, content)
    source, both = "-" if stream else "in.txt", ["--prefixes", "--constraints", "--beam-size", "8"]
    assert main(["translate-file", "bundle", source, "out", *both]) == 0
    found = Path("out").read_text().split("\n")
    translator = Translator.load("bundle")
    asked = [Request("a man sleeps", "the dog", ("red house", "man")), "", "the dog"]
    asked += [Request("a man", "", ("old",)), Request("the dog", "a")]
    assert found == [*translator.translate(asked, beam_size=8), ""]
    assert found[0].startswith("the dog")
    assert "red house" in found[0]
    assert "old" in found[3].split(" ")
    assert found[4].startswith("a")


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("a dog\na dog\ta\tman\n", ["--prefixes"], "in.txt:2: has 3 fields, where --prefixes reads two"),
        ("a dog\n" * 9 + "a dog\tDog\n", ["--constraints"], "line 10: the constraint 'Dog' would come out as '⁇'"),
        ("a dog\n" * 9 + "a dog\ta man\n", ["--prefixes", "--max-length", "2"], "line 10: the prefix 'a man' may need"),
        ("a dog\n\tdog\n", ["--constraints"], "line 2: has constraints but no text to translate"),
        ("a dog\tdog\n", ["--constraints", "--sample"], "line 1: constraints belong to beam search"),
        ("", ["--mbr", "1"], "--mbr 1: it must be at least 2"),
        ("", ["--mbr", "8", "--no-sample"], "--no-sample: --mbr draws"),
        ("", ["--mbr-metric", "bleu"], "--mbr-metric bleu: is for --mbr N"),
        ("", ["--temperature", "0.5"], "--temperature 0.5: is for sampling"),
        ("", ["--seed", "0"], "--seed 0: is for sampling"),
        ("", ["--sample", "--top-p", "2"], "search.top_p=2.0 must be above 0"),
        ("", ["--diversity-penalty", "0.5"], "--diversity-penalty 0.5: is for groups"),
        ("", ["--diversity-groups", "2"], "search.diversity_groups=2: does not divide search.beam_size=3"),
        ("", ["--coverage-penalty", "0.2"], "search.coverage_penalty=0.2: the model has no attention"),
        ("", ["--max-length", "3", "--min-length", "3"], "search.min_length=3: with at most 3 tokens"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_translated(
    folder, content, arguments, message, capsys, monkeypatch
):
    Path("in.txt").write_text(content)
    monkeypatch.setattr(Translator, "_decode", None)
    assert main(["translate-file", "bundle", "in.txt", "out", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert names(folder) == {"bundle", "in.txt"}


def test_streams_in_a_process_of_their_own(folder):
    code = (
        "import sys; from seq2seq.cli.main import main; code = main(); print(*sys.modules, file=sys.stderr); exit(code)"
    )
    command = [sys.executable, "-c", code, "translate-file", folder / "bundle", "-", "-"]
    done = subprocess.run(command, input=TEXT.encode(), capture_output=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.decode().split("\n") == [*Translator.load("bundle").translate(LINES), ""]
    libraries = {"pytorch_lightning", "lightning", "hydra", "omegaconf", "matplotlib", "sacrebleu", "wandb", "sympy"}
    assert libraries.isdisjoint(done.stderr.decode().split())


@pytest.mark.parametrize("stream", [False, True])
def test_invalid_utf8_names_its_line_and_writes_nothing(folder, stream, monkeypatch, capsys):
    Path("out").write_text("of yesterday\n")
    content = b"a dog\n" * 3 + b"the \xff dog\n"
    Path("in.txt").write_bytes(content)
    piped(monkeypatch, content)
    assert main(["translate-file", "bundle", "-" if stream else "in.txt", "out"]) == 2
    where = "standard input:4" if stream else "in.txt:4"
    assert capsys.readouterr().err.startswith(f"seq2seq: error: {where}: ")
    assert Path("out").read_text() == "of yesterday\n"
    assert names(folder) == {"bundle", "in.txt", "out"}


@pytest.mark.parametrize("suffix", OPEN)
def test_interrupted_leaves_nothing(folder, suffix, monkeypatch):
    real = Translator._decode
    done = []

    def decode(self, *given):
        done.append(1)
        if len(done) == 3:
            assert names(folder) > {"bundle", "in.txt"}  # it had begun
            raise KeyboardInterrupt
        return real(self, *given)

    monkeypatch.setattr(Translator, "_decode", decode)
    assert main(["translate-file", "bundle", "in.txt", f"out{suffix}"]) == 130
    assert names(folder) == {"bundle", "in.txt"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bundle", "in.txt", "in.txt"], "in.txt: is the input as well"),
        (["bundle", "in.txt", "link.txt"], "link.txt: is the input as well"),
        (["bundle", "nowhere.txt", "out"], "nowhere.txt: no such file"),
        (["bundle", "in.txt", "nowhere/out"], "nowhere/out: is a folder, or in none"),
        (["bundle", "in.txt", "bundle"], "bundle: is a folder, or in none"),
        (["bundle", "bundle", "out"], "bundle: "),
        (["nowhere", "in.txt", "out"], "nowhere: is not a bundle"),
        (["bundle", "in.txt", "out", "--beam-size", "0"], "beam_size=0"),
        (["bundle", "in.txt", "out", "--device", "gpu"], "device 'gpu'"),
        (["bundle", "in.txt", "out", "--batch-size", "0"], "batch_size=0"),
    ],
)
def test_a_mistake_is_one_line_and_no_file(folder, arguments, message, capsys):
    os.symlink("in.txt", "link.txt")
    assert main(["translate-file", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert names(folder) == {"bundle", "in.txt", "link.txt"}
    assert Path("in.txt").read_bytes() == TEXT.encode()


def test_a_pipe_stays_a_pipe_and_a_link_a_link(folder):
    os.mkfifo("pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_bytes()))
    reader.start()
    assert main(["translate-file", "bundle", "in.txt", "pipe"]) == 0
    reader.join(10)
    Path("real").touch()
    os.symlink("real", "out")
    assert main(["translate-file", "bundle", "in.txt", "out"]) == 0
    assert Path("pipe").is_fifo()
    assert Path("out").is_symlink()
    assert read == [Path("real").read_bytes()]
    assert read[0].count(b"\n") == len(LINES)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_a_full_device_is_named(folder, capsys):
    assert main(["translate-file", "bundle", "in.txt", "/dev/full"]) == 2
    assert capsys.readouterr().err == "seq2seq: error: /dev/full: cannot be written (No space left on device)\n"


@pytest.mark.parametrize(("name", "files"), [("stdin", ["-", "out"]), ("stdout", ["in.txt", "-"])])
def test_a_closed_stream_is_named(folder, name, files, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(f"sys.{name}", None)
        assert main(["translate-file", "bundle", *files]) == 2
    assert f"error: standard {name[3:]}put: is closed" in capsys.readouterr().err


def test_a_bundle_of_another_format_is_refused(folder, capsys):
    config = json.loads(Path("bundle/config.json").read_text())
    Path("bundle/config.json").write_text(json.dumps(config | {"format_version": 99}))
    assert main(["translate-file", "bundle", "in.txt", "out"]) == 2
    assert "config.json: format_version=99" in capsys.readouterr().err
