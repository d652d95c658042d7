"""`translate-file` on files of any size: killed and resumed, in several processes, in shards, line by line."""

import errno
import gc
import gzip
import io
import json
import lzma
import os
import random
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from seq2seq import Translator
from seq2seq.cli import translate_file
from seq2seq.cli.main import main
from seq2seq.inference.files.input import BEGINNING, Chunk, Place, Shard, chunks
from seq2seq.inference.files.partial import Journal
from seq2seq.inference.files.shards import read_card, signed
from seq2seq.runtime.paths import PACKAGE
from tests.bundles import WORDS, edit, save

DRAW = random.Random(3)
LINES = ["", *(" ".join(DRAW.choices(WORDS, k=DRAW.randint(1, 7))) for _ in range(21)), "   ", "a man sleeps", "dog"]
OPEN = {
    "": bytes,
    ".gz": gzip.decompress,
    ".xz": lzma.decompress,
    ".zst": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}
LISTS = ["--n-best", "2", "--alignments", "links"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a bundle and an input; chunks are small."""
    save(tmp_path / "bundle", context="additive", decoder={"context_to": "both"})
    (tmp_path / "in.txt").write_text("\n".join(LINES))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(translate_file, "CHUNK", 4)
    return tmp_path


def translate(*arguments, source="in.txt", target="out"):
    return main(["translate-file", "bundle", source, target, *map(str, arguments)])


def said(capsys) -> str:
    """What was written to stderr, without the warnings of outputs that a random model does not end."""
    lines = capsys.readouterr().err.split("\n")
    return "\n".join(line for line in lines if not line.startswith("seq2seq: warning: "))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"bundle", "in.txt"}


def interrupt(monkeypatch, after: int) -> list[int]:
    """Let the translating be interrupted after so many lines with text; the lines that it was asked for."""
    real, done = Translator._decode, []

    def decode(self, *given):
        if len(done) == after:
            raise KeyboardInterrupt
        done.append(1)
        return real(self, *given)

    monkeypatch.setattr(Translator, "_decode", decode)
    return done


# Interrupted


@pytest.mark.parametrize("suffix", OPEN)
def test_an_interrupted_file_is_resumed_where_it_ended(folder, suffix, monkeypatch, capsys):
    assert translate(*LISTS, target=f"whole{suffix}") == 0
    links = Path("links").read_bytes()
    Path("links").unlink()
    with monkeypatch.context() as patch:
        interrupt(patch, 10)
        assert translate(*LISTS, target=f"out{suffix}") == 130
    assert re.match(r"seq2seq: 8 lines are done and stay in .*/out.*\.partial; --resume", said(capsys))
    assert names(folder) == {f"whole{suffix}"} | {
        f"out{suffix}.partial",
        f"out{suffix}.partial.journal",
        "links.partial",
    }
    plain = OPEN[suffix](Path(f"whole{suffix}").read_bytes())
    assert plain.startswith(Path(f"out{suffix}.partial").read_bytes())
    done = interrupt(monkeypatch, -1)
    assert translate(*LISTS, "--resume", target=f"out{suffix}") == 0
    assert len(done) == sum(bool(line.strip()) for line in LINES[8:])
    assert Path(f"out{suffix}").read_bytes() == Path(f"whole{suffix}").read_bytes()
    assert Path("links").read_bytes() == links
    assert names(folder) == {f"whole{suffix}", f"out{suffix}", "links"}


def test_interrupted_just_when_the_first_lines_were_done(folder, monkeypatch, capsys):
    real = Journal.append

    def append(self, entry):
        real(self, entry)
        if "lines" in entry:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "append", append)
    assert translate() == 130
    assert said(capsys).startswith("seq2seq: 4 lines are done and stay in ")
    assert translate("--resume") == 130
    assert said(capsys).startswith("seq2seq: 8 lines are done and stay in ")


def test_draws_and_messages_know_the_number_of_a_line(folder, monkeypatch, caplog):
    options = ["--sample", "--temperature", "2", "--max-source", "6"]
    assert translate(*options, target="whole") == 0
    messages = caplog.messages.copy()
    assert len(messages) > 1
    caplog.clear()
    with monkeypatch.context() as patch:
        interrupt(patch, 10)
        translate(*options)
    assert translate(*options, "--resume", "--batch-size", 3) == 0
    assert Path("out").read_text() == Path("whole").read_text()
    assert sorted(set(caplog.messages)) == sorted(messages)
    for number in (1, 2):
        translate(*options, "--shard", f"{number}/2", target="parts")
    assert main(["merge", "parts"]) == 0
    assert Path("parts").read_text() == Path("whole").read_text()


@pytest.mark.parametrize(
    "damage",
    [b'{"lines": 12, "sha', b'{"lines": 12, "sha256": "", "bytes": [0]}\t00000000\n', b"7\n", b"[" * 9999 + b"\n"],
)
def test_a_torn_end_is_cut_off_and_an_unfinished_chunk_done_again(folder, monkeypatch, damage):
    assert translate(target="whole") == 0
    with monkeypatch.context() as patch:
        interrupt(patch, 10)
        translate()
    with open("out.partial", "ab") as file, open("out.partial.journal", "ab") as journal:
        file.write(b"half a li")
        journal.write(damage)
    with monkeypatch.context() as patch:
        interrupt(patch, 6)
        assert translate("--resume") == 130
    assert translate("--resume") == 0
    assert Path("out").read_bytes() == Path("whole").read_bytes()


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda: None, [], "out.partial: an interrupted run has done 8 lines; add --resume to resume it, or delete it"),
        (lambda: None, ["--resume", "--beam-size", 2], "was begun with --beam-size null, not 2"),
        (lambda: None, ["--resume", "--format", "tsv"], 'was begun with --format "text", not "tsv"'),
        (lambda: None, ["--resume", "--alignments", "links"], "was begun with --alignments false, not true"),
        (lambda: edit(Path("bundle"), "metrics.json", b"{}"), ["--resume"], "out.partial: was begun with bundle "),
        (lambda: Path("in.txt").write_text("\n".join(["x", *LINES[1:]])), ["--resume"], "in.txt: does not begin with"),
        (lambda: Path("in.txt").write_text("\n".join(LINES[:7])), ["--resume"], "in.txt: does not begin with the 8"),
        (lambda: os.truncate("out.partial", 3), ["--resume"], "out.partial: has 3 bytes, and its journal says"),
    ],
)
def test_going_on_with_something_else_is_refused(folder, change, arguments, message, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        interrupt(patch, 10)
        translate()
    capsys.readouterr()
    change()
    before = Path("out.partial").read_bytes()
    assert translate(*arguments) == 2
    assert message in said(capsys).split("seq2seq: error: ")[1]
    assert Path("out.partial").read_bytes() == before
    Path("out.partial").unlink()  # what the message said
    Path("in.txt").write_text("\n".join(LINES))
    assert translate(*(option for option in arguments if option != "links"), *["links"] * ("links" in arguments)) == 0
    assert Path("out").is_file()


def test_two_at_the_same_file(folder, monkeypatch, capsys):
    real = Translator._decode

    def decode(self, *given):
        monkeypatch.setattr(Translator, "_decode", real)
        assert translate() == 2  # the second one
        return real(self, *given)

    monkeypatch.setattr(Translator, "_decode", decode)
    assert translate() == 0
    assert "out.partial: another process is writing it" in said(capsys)
    assert Path("out").read_bytes().count(b"\n") == len(LINES)
    assert names(folder) == {"out"}


def test_a_full_disk_keeps_what_is_done(folder, capsys):
    assert translate("--format", "json", target="whole") == 0
    capsys.readouterr()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path("whole").stat().st_size // 2, limits[1]))
    try:
        assert translate("--format", "json") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    kept, error = said(capsys).removesuffix("\n").split("\n")
    assert re.fullmatch(r"seq2seq: (8|12) lines are done and stay in .*", kept)
    assert re.fullmatch(r"seq2seq: error: .*out.partial: cannot be written \(File too large\)", error)
    assert translate("--format", "json", "--resume") == 0
    assert Path("out").read_bytes() == Path("whole").read_bytes()


def test_a_disk_that_is_full_when_the_output_is_packed(folder, monkeypatch, capsys):
    assert translate(target="whole.gz") == 0
    with monkeypatch.context() as patch:

        def copy(plain, stream, size):
            stream.write(plain.read(10))
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(shutil, "copyfileobj", copy)
        assert translate(target="out.gz") == 2
    kept, error = said(capsys).removesuffix("\n").split("\n")
    assert kept.startswith(f"seq2seq: {len(LINES)} lines are done and stay in ")
    assert error.endswith("out.gz.partial: cannot be written (No space left on device)")
    assert names(folder) == {"whole.gz", "out.gz.partial", "out.gz.partial.journal"}
    interrupt(monkeypatch, 0)  # nothing is translated again
    assert translate("--resume", target="out.gz") == 0
    assert Path("out.gz").read_bytes() == Path("whole.gz").read_bytes()


def test_memory_does_not_grow_with_the_file(folder, monkeypatch):
    real, blocks = Journal.append, []
    monkeypatch.setattr(translate_file, "CHUNK", 64)
    Path("in.txt").write_text("a dog\n" * 64 * 11)

    def append(self, entry):
        real(self, entry)
        if entry.get("lines") in (64 * 3, 64 * 10):
            gc.collect()
            blocks.append(sys.getallocatedblocks())

    monkeypatch.setattr(Journal, "append", append)
    assert translate("--beam-size", 1, "--format", "json") == 0
    assert blocks[1] - blocks[0] < 64 * 7  # fewer than one object a line


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [["--kills", "8", "--alignments"], ["--everywhere", "--chunk", "13", "--suffix", ".gz"]]
)
def test_killed_at_any_moment(folder, options):
    """The short form of experiments/reliability/kill_translation.py."""
    command = [sys.executable, "-m", "experiments.reliability.kill_translation", folder / "bundle", folder / "in.txt"]
    done = subprocess.run([*command, *options], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert "nothing lost" in done.stdout, done.stderr


# In several processes


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers")
def test_workers_write_the_same(folder, monkeypatch, capsys):
    assert translate(*LISTS, target="whole") == 0
    links = Path("links").read_bytes()
    assert translate(*LISTS, "--workers", 2) == 0
    assert (Path("out").read_bytes(), Path("links").read_bytes()) == (Path("whole").read_bytes(), links)
    piped = b"a dog\n" * 9 + b"a dog\ta\tman\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(piped)))
    assert translate("--workers", 2, "--prefixes", source="-", target="other") == 2
    kept, error = said(capsys).removesuffix("\n").split("\n")
    assert kept.startswith("seq2seq: 8 lines are done")
    assert error == (
        "seq2seq: error: standard input:10: has 3 fields, where --prefixes reads two, source<TAB>prefix; take the "
        "other tabs out, or add --constraints"
    )


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers")
def test_with_workers_this_process_loads_no_model(folder, monkeypatch, capsys):
    assert translate("--constraints", target="whole") == 0
    monkeypatch.setattr("seq2seq.models.factory.model", None)
    monkeypatch.setattr("seq2seq.inference.translator.load_bundle", None)
    assert translate("--constraints", "--workers", 2) == 0
    assert Path("out").read_bytes() == Path("whole").read_bytes()
    assert translate("--workers", 2, "--device", "nowhere", target="other") == 2
    assert "device 'nowhere' cannot be used" in said(capsys)
    assert translate("--workers", 2, "--temperature", 0.5, target="other") == 2
    assert "--temperature 0.5: is for sampling" in said(capsys)
    assert not {name for name in names(folder) if name.startswith("other")}


# In shards


@pytest.mark.parametrize("options", [[], LISTS, [*LISTS, "--format", "tsv"], ["--format", "json"]])
@pytest.mark.parametrize("of", [1, 3, 9])
def test_shards_merge_to_the_complete_output(folder, options, of):
    Path("in.txt").write_text("\n".join(LINES[:8]))
    assert translate(*options, "--batch-size", 1, target="whole.txt.gz") == 0
    links = Path("links").read_bytes() if "links" in options else b""
    for number in range(1, of + 1):
        assert translate(*options, "--batch-size", 1, "--shard", f"{number}/{of}", target="out.txt.gz") == 0
    assert {f"out.txt.{number}-of-{of}.gz" for number in range(1, of + 1)} <= names(folder)
    assert main(["merge", "out.txt.gz", *(["--alignments", "links"] if links else [])]) == 0
    assert Path("out.txt.gz").read_bytes() == Path("whole.txt.gz").read_bytes()
    if links:
        assert Path("links").read_bytes() == links


def test_a_shard_that_is_there_is_not_made_again(folder, monkeypatch, capsys):
    assert translate("--shard", "2/2") == 0
    monkeypatch.setattr(Translator, "_decode", None)
    assert translate("--shard", "2/2", "--resume") == 0
    assert said(capsys) == "seq2seq: out.2-of-2: is complete\n"
    for change, message in [
        (lambda: Path("in.txt").write_text("\n".join([*LINES, "a"])), "was made of the first 25 lines of the input"),
        (lambda: Path("in.txt").write_text("\n".join(LINES[1:])), "in.txt: does not begin with the 25 lines"),
        (lambda: Path("out.2-of-2").write_text("x"), "out.2-of-2: is not as it was written; delete out.2-of-2.json"),
    ]:
        change()
        assert translate("--shard", "2/2", "--resume") == 2
        assert message in said(capsys)
    assert translate("--shard", "2/2", "--resume", "--n-best", 2) == 2
    assert "is complete, but was made with --n-best 1, not 2; delete" in said(capsys)


def spoil(name: str, key: str, value: object) -> None:
    card = read_card(Path(name))
    changes = {"made": card.made | {key: value}} if key in card.made else {key: value}
    Path(name).write_text(json.dumps(signed(card._replace(**changes))))


def replace(name: str, old: str, new: str) -> None:
    before = Path(name).read_text()
    assert old in before
    Path(name).write_text(before.replace(old, new, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: Path("out.2-of-3.json").unlink(), "out: shards are missing or incomplete: 2/3; run translate-file"),
        (lambda: shutil.copy("out.2-of-3.json", "out.1-of-2.json"), "out: there are shards of 2 and of 3; delete"),
        (lambda: [path.unlink() for path in Path().glob("*.json")], "out: there is no shard of it, as out.1-of-8"),
        (lambda: os.truncate("out.3-of-3", 3), "out.3-of-3: is not as it was written; delete out.3-of-3.json, and run"),
        (lambda: Path("out.1-of-3").unlink(), "out.1-of-3: is not as it was written"),
        *(
            (
                lambda change=change: replace("out.1-of-3.json", *change),
                "out.1-of-3.json: is not what `translate-file -",
            )
            for change in [("}", ""), ("{", "[" * 5000), ('"lines": 25', '"lines": 24'), ('"lines": 25', '"line": 25')]
        ),
        (lambda: spoil("out.2-of-3.json", "--beam-size", 7), "out.2-of-3: was made with --beam-size 7, not null as"),
        (lambda: spoil("out.3-of-3.json", "sha256", "0"), "out.3-of-3: was made with an input of sha256"),
        (lambda: spoil("out.1-of-3.json", "outputs", ["0", "0"]), "out.1-of-3: was made with --alignments"),
    ],
)
def test_what_cannot_be_merged(folder, change, message, capsys):
    for number in (1, 2, 3):
        assert translate("--shard", f"{number}/3", "--max-length", 4) == 0
    change()
    assert main(["merge", "out"]) == 2
    error = said(capsys)
    assert message in error
    assert error.count("\n") == 1
    assert not Path("out").exists()


def test_a_shard_that_is_being_made_is_named(folder, monkeypatch, capsys):
    assert translate("--shard", "1/2") == 0
    interrupt(monkeypatch, 5)
    assert translate("--shard", "2/2") == 130
    assert main(["merge", "out"]) == 2
    assert "incomplete: 2/2; let them end, or resume them with --resume" in said(capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shard", "0/8"], "'0/8' is no shard: 1/8 is the first of eight, 8/8 the last"),
        (["--shard", "9/8"], "'9/8' is no shard"),
        (["--workers", "0"], "--workers 0: must be at least 1"),
        (["--resume"], "--resume: an output is a stream"),
        (["--shard", "1/2"], "--shard 1/2: an output is a stream"),
    ],
)
def test_options_that_cannot_be(folder, arguments, message, capsys):
    assert translate(*arguments, target="-") == 2
    assert message in said(capsys)
    assert names(folder) == set()


# As lines arrive


@pytest.mark.parametrize("of", [1, 2, 3, 7])
@pytest.mark.parametrize("after", [0, 1, 5, 12])
@pytest.mark.parametrize("size", [1, 3, 50])
def test_chunks_by_their_definition(tmp_path, of, after, size):
    lines = [f"{number}" for number in range(12)]
    Path(tmp_path, "in").write_text("\n".join(lines))
    place = Place(after, hash_of(lines[:after]))
    for number in range(1, of + 1):
        found = list(chunks(tmp_path / "in", size, Shard(number, of), place))
        assert [line for chunk in found for line in chunk.texts] == [
            line for index, line in enumerate(lines) if index >= after and index % of == number - 1
        ]
        assert all([lines[index] for index in chunk.numbers] == chunk.texts for chunk in found)
        assert max(len(chunk.texts) for chunk in found) <= size
        assert found[-1].place == Place(12, hash_of(lines))
        for chunk in found:  # and from each place on, the rest
            assert chunk.place.sha256 == hash_of(lines[: chunk.place.lines])


def hash_of(lines: list[str]) -> str:
    import hashlib

    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def test_what_has_arrived_is_a_chunk(monkeypatch):
    reading, writing = os.pipe()
    monkeypatch.setattr("sys.stdin", os.fdopen(reading))
    found = chunks(Path("-"), 3)
    os.write(writing, b"a\nb\nha")
    assert next(found) == Chunk(range(0, 2), ["a", "b"], Place(2, hash_of(["a", "b"])))
    assert next(found) is None
    os.write(writing, b"lf\nc\nd\ne\n")
    assert [next(found).texts for _ in range(2)] == [["half", "c", "d"], ["e"]]
    assert next(found) is None
    os.write(writing, b"end")
    assert next(found) is None
    os.close(writing)
    assert [chunk.texts for chunk in found] == [["end"]]
    assert Place(0, hash_of([])) == BEGINNING


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_line_that_comes_is_translated_before_the_next(folder, workers):
    command = [sys.executable, "-m", "seq2seq", "translate-file", "bundle", "-", "-", "--workers", str(workers)]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    expected = Translator.load("bundle").translate(LINES[:4])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        for line, translation in zip(LINES, expected, strict=False):
            process.stdin.write(f"{line}\n".encode())
            process.stdin.flush()
            assert process.stdout.readline().decode() == f"{translation}\n"
        process.stdin.close()
        assert process.stdout.read() == b""
    assert process.returncode == 0
