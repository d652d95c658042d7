"""What the documents tell a reader to type works, in their order, at a tiny size."""

import re
import shlex
from pathlib import Path

import pytest

from seq2seq.cli.main import main

ROOT = Path(__file__).parents[2]
TINY = [
    "embedding.size=8",
    "encoder.hidden_size=8",
    "decoder.hidden_size=16",
    "trainer.max_steps=2",
    "trainer.val_check_interval=2",
    "trainer.limit_val_batches=2",
    "trainer.log_every_n_steps=1",
    "trainer.enable_progress_bar=false",
    "trainer.threads=1",
    "trainer.accelerator=cpu",
    "search.beam_size=1",
    "search.max_length_ratio=0",
    "search.max_length_extra=3",
]
# What a task has of the options above, by its experiment.
LABELS = [option for option in TINY[3:] if not option.startswith("search")]
EXPERIMENTS = {
    "digits": [*TINY[2:], "decoder.hidden_size=8", "data.corpus.train=60", "data.corpus.val=10", "data.corpus.test=10"],
    "snips_slots": LABELS,
    "snips_intents": LABELS,
    "g2p": [*TINY[3:], "encoder.hidden_size=8", "decoder.hidden_size=16"],
    "inflection": [*TINY[3:], "encoder.hidden_size=8", "decoder.hidden_size=16"],
    "couplets": [*(o for o in TINY[3:] if "max_length" not in o), "embedding.size=8", "head.size=4"],
    "shakespeare": [*LABELS, "encoder.hidden_size=8", "data.corpus.test_share=0.001", "data.corpus.val_share=0.001"],
}
PAGES = ("README.md", "conf/TRAINING.md", "conf/TRANSLATING.md", "conf/INSTALLING.md")  # in their order
FILES = {
    "multi30k": "multi30k",
    "snips_slots": "snips",
    "snips_intents": "snips",
    "g2p": "g2p",
    "inflection": "inflection",
    "couplets": "couplets",
    "shakespeare": "tinyshakespeare",
}  # the folder of real data that a command needs
PRESET = ["embedding.size=8", *TINY[3:], "head.size=4"]  # a preset's own sizes fit each other

pytestmark = pytest.mark.slow
DRAWN = [["seq2seq", "train", "hydra.run.dir=runs/first"], *(["seq2seq", name] for name in ("report", "plot"))]


def blocks(name: str, kind: str) -> list[str]:
    """The fenced blocks of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", (ROOT / name).read_text(encoding="utf-8"), re.M | re.S)


def commands(name: str) -> list[list[str]]:
    lines = "".join(blocks(name, "sh")).replace("\\\n", " ").split("\n")
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def all_commands() -> list[list[str]]:
    """Those of all pages, each once."""
    found = dict.fromkeys(tuple(command) for page in PAGES for command in commands(page) if command[0] == "seq2seq")
    return [[*command] for command in found]


@pytest.fixture(scope="module", autouse=True)
def _folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.chdir(folder)
        yield


def choice(command: list[str], group: str) -> str:
    """The option of a group that a command chooses."""
    return next((word.partition("=")[2] for word in command if word.startswith(f"{group}=")), "")


def missing(folder: str) -> bool:
    """Whether real data are neither where a user has them nor next to the checkout."""
    from seq2seq.runtime.paths import data_root

    return not any((root / folder).is_dir() for root in (data_root(), ROOT.parent / "shared" / "data"))


def tiny(arguments: list[str]) -> list[str]:
    """A command of the documents at a tiny size."""
    if arguments[0] != "train":
        return arguments
    small = EXPERIMENTS.get(choice(arguments, "experiment"), PRESET if choice(arguments, "model") else TINY)
    vocabulary = ["tokenizer.vocabulary_size=400"] if choice(arguments, "data") == "multi30k" else []
    return [*arguments, *small, *vocabulary]


@pytest.mark.parametrize("command", all_commands(), ids=" ".join)
def test_readme(command, monkeypatch, request):
    if not any(command[: len(drawn)] == drawn for drawn in DRAWN):
        request.getfixturevalue("quick_runs")
    if needed := FILES.get(choice(command, "data") or choice(command, "experiment")):
        if missing(needed):
            pytest.skip(f"{needed} is not there")
        if (shared := ROOT.parent / "shared" / "data").is_dir():
            monkeypatch.setenv("SEQ2SEQ_DATA", str(shared))
    if command[1] in ("predict-file", "sample") and not Path(command[2]).exists():
        pytest.skip("trained on real data that are not there")
    Path("utterances.txt").write_text("play some jazz\nbook a table for two in Bonn\n", encoding="utf-8")
    assert main(tiny(command[1:])) == 0


def test_what_the_commands_left_is_what_the_readme_says():
    folder = Path("runs/first")
    named = re.findall(r"^      ([a-z_.]+/?)  ", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)
    assert len(named) >= 5
    for name in named:
        assert (folder / name).exists(), name
    assert Path("runs/first/again.txt").read_text().count("\n") == 500
    assert Path("sweeps/cells/leaderboard.md").exists()


def test_readme_python():
    (code,) = blocks("README.md", "python")
    exec(compile(code, "README.md", "exec"), {})


def test_chinese_readme_has_the_same_commands():
    for page in PAGES:
        for kind in ("sh", "python"):
            assert blocks(page.replace(".md", ".zh.md"), kind) == blocks(page, kind)


def test_the_front_page_is_short():
    for name in ("README.md", "README.zh.md"):
        assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= 150


def test_make_targets_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    named = re.findall(r"^make ([a-z-]+)", "".join(blocks("README.md", "sh")), re.M)
    assert named
    assert set(named) <= set(targets)


def test_links_of_the_documents_lead_somewhere():
    chinese = [page.replace(".md", ".zh.md") for page in PAGES]
    others = ("CONTRIBUTING.md", "conf/README.md", "data/README.md", "experiments/serving/README.md")
    for name in (*PAGES, *chinese, *others):
        page = ROOT / name
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{name}: {target}"


def test_contributing_a_cell_of_your_own():
    """Both files of the guide, written where a reader would, trained and translated with."""
    (code,), (yaml,) = blocks("CONTRIBUTING.md", "python"), blocks("CONTRIBUTING.md", "yaml")
    Path("my_cells.py").write_text(code, encoding="utf-8")
    Path("my_conf/cell").mkdir(parents=True)
    Path("my_conf/cell/leaky.yaml").write_text(yaml, encoding="utf-8")
    for command in commands("CONTRIBUTING.md"):
        assert main(tiny(command[1:])) == 0
    assert Path("runs/leaky/again.txt").read_text().count("\n") == 500
