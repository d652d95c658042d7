"""Every option of every packaged YAML file, mistyped, of wrong types and out of range: one line that names the key,
before Lightning is imported. The cases come from the files themselves, so that a new option is in them."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from seq2seq.errors import UserError
from seq2seq.runtime.paths import packaged
from seq2seq.training.configuration.option_catalogue import catalogue, files, leaves, nearest, read
from seq2seq.training.configuration.option_rules import ELSEWHERE, TRAINER
from seq2seq.training.configuration.schema import check
from tests.configurations import TASKS, Config, composed, copied, get, put

GIVEN = {"source_language": "en", "target_language": "de", "train": "a", "val": "b", "bundle": "c", "name": "d"}
"""What the files leave to the user (???)."""


def merge(config: Config, node: Config) -> None:
    for key, value in node.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            merge(config[key], value)
        else:
            config[key] = copy.deepcopy(value)


def with_file(task: str, path: Path, place: str) -> Config:
    """The task's configuration with one file in its place; parts that other groups fill stay as they are."""
    config, node = copy.deepcopy(composed(task)), copy.deepcopy(below_it(path))
    merge(node, read(path))
    companions(config, path)
    if place:
        nodes = {key: get(config, place)[key] for key in ("cell", "feedback") if key in (_maybe(config, place) or {})}
        nodes = (
            nodes
            if path.parent.name in ("encoder", "decoder")
            and path.stem not in ("image", "projection", "vector", "unordered")
            else {}
        )
        put(config, place, {**nodes, **node})
    else:
        merge(config, node)
    for name, value in list(leaves(config, "")):
        if value == "???":
            put(config, name, GIVEN[name.rpartition(".")[2]])
        elif isinstance(value, str) and value.startswith("${"):
            put(config, name, _maybe(config, value[2:-1]) if value[2:6] != "hydr" else "x")
    if task == "captioning" and path.parent.name == "data":
        config["tokenizer"] = {"_target_": "seq2seq.text.WhitespaceTrainer"}
    return config


def companions(config: Config, path: Path) -> None:
    """Put what a file needs of other groups, and what an experiment chooses of them."""
    if (path.parent.name, path.stem) == ("context", "monotonic"):
        merge(config, {"decoder": {"query": "current", "context_to": "readout"}})
    if (path.parent.name, path.stem) == ("head", "pointer"):
        put(config, "context", read(packaged("conf") / "context" / "additive.yaml"))
    defaults = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("defaults", [])
    for entry in defaults if path.parent.name == "experiment" else ():
        if isinstance(entry, str) and entry != "_self_":
            companions(config, path.with_name(f"{entry}.yaml"))
        for key, name in entry.items() if isinstance(entry, dict) else ():
            if (group := key.removeprefix("override /")) in ("context", "head", "scheduler", "optimizer", "tokenizer"):
                put(config, group, read(packaged("conf") / group / f"{name}.yaml"))


def below_it(path: Path) -> Config:
    """What the file's defaults list takes from another of its group."""
    for name in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("defaults", []):
        if isinstance(name, str) and name != "_self_":
            return read(path.with_name(f"{name}.yaml"))
    return {}


def _maybe(config: Config, place: str) -> Any:
    try:
        return get(config, place)
    except (KeyError, TypeError):
        return None


FILES = [(path, place) for path, places in files() for place in places]


def named(path: Path, place: str) -> str:
    return f"{path.parent.name}/{path.stem}{'@' * bool(place) + place}"


@pytest.fixture(params=FILES, ids=lambda file: named(*file))
def file(request: pytest.FixtureRequest) -> Iterator[tuple[Config, str, Path]]:
    """A configuration that holds the file and has no mistake, the file's place, and the file."""
    path, place = request.param
    if path.parent.name in ("task", "experiment", "model") and not place:
        own = read(path).get("task", {}).get("name")
    else:
        own = None
    told = []
    for task in [own] if own else TASKS:
        try:
            config = with_file(task, path, place)
            check(config)
        except UserError as error:
            told.append(f"{task}: {error}")
        else:
            before = copy.deepcopy(config)
            yield config, place, path
            assert config == before, "a check changes nothing"
            return
    pytest.fail(f"{path} passes in no task: {told}")


def options(path: Path, place: str) -> Iterator[tuple[str, Any]]:
    for name, value in leaves(read(path), place):
        if not name.endswith("._target_"):
            yield name, value


def refused(config: Config, key: str, case: object = "") -> str:
    try:
        check(config)
    except UserError as error:
        told = str(error)
    else:
        pytest.fail(f"{key}: not refused: {case!r}")
    assert key in told, told
    assert "\n" not in told
    return told


def test_a_mistyped_key_is_told_the_nearest(file: tuple[Config, str, Path]) -> None:
    config, place, path = file
    for name, _ in options(path, place):
        parent, _, key = name.rpartition(".")
        for wrong in (f"{key}x", key[:-1] + key[-1] * 2):
            changed, node = copied(config, parent)
            node[wrong] = node[key] if key == "name" else node.pop(key)
            told = refused(changed, wrong)
            assert "did you mean" not in told or key in told.partition("did you mean")[2]
            assert "did you mean" in told or len(key) < 4


NUMBERS = ("abc", [1], {"a": 1}, math.nan, math.inf, True, -(10**9))
WRONG: dict[str, tuple[object, ...]] = {
    "bool": ("yes", 2, None, [True], math.nan),
    "int": (*NUMBERS, 1.5),
    "float": NUMBERS,
    "str": (7, [1], {"a": 1}, True, math.nan),
    "list": ("abc", 7, {"a": 1}, True, [{}]),
    "dict": ("abc", 7, [1], True),
    "NoneType": (math.nan, [{}], -(10**9)),
}


def test_values_of_a_wrong_type(file: tuple[Config, str, Path]) -> None:
    config, place, path = file
    for name, _ in options(path, place):
        parent, _, key = name.rpartition(".")
        for wrong in WRONG[type(get(config, name)).__name__]:
            changed, node = copied(config, parent)
            node[key] = wrong
            if (name.endswith(".forget_bias") and wrong == -(10**9)) or (name == "trainer.devices" and wrong == [1]):
                check(changed)
            else:
                refused(changed, key, wrong)


EDGES: list[tuple[str, str, list[object], list[object]]] = [
    ("translation", "embedding.size", [1], [0, 10**8, 10**30]),
    ("translation", "embedding.dropout", [0, 0.999], [1, -1e-9, 1.5]),
    ("translation", "embedding.word_dropout", [0, 0.999], [1, -1e-9]),
    ("translation", "encoder.hidden_size", [1], [0, 10**7, 10**30]),
    ("translation", "encoder.num_layers", [1, 3], [0, 1001, 10**12]),
    ("translation", "encoder.dropout", [0, 0.999], [1, -0.1]),
    ("translation", "encoder.direction", ["forward"], ["sideways", ""]),
    ("translation", "encoder.cell.init_scale", [1e-9, 2], [0, -1]),
    ("translation", "encoder.cell.reset", ["before"], ["never"]),
    ("translation", "decoder.hidden_size", [1], [0]),
    ("translation", "decoder.context_to", ["both"], ["nowhere"]),
    ("translation", "head.size", [None, 1], [0, -1]),
    ("translation", "seed", [0, 2**32 - 1], [-1, 2**32]),
    ("translation", "trust", [["my_cells"]], ["my_cells", [1], None]),
    ("translation", "init_from", [None, "a"], ["", 7]),
    ("translation", "name", ["a"], ["", None]),
    ("translation", "optimizer.lr", [1e-30, 5], [0, -1e-9, "1"]),
    ("translation", "optimizer.betas", [[0, 0.5]], [[1, 0.5], [0.5], [0.1, 0.2, 0.3], ["a", 0.5]]),
    ("translation", "optimizer.weight_decay", [0, 1], [-1e-9]),
    ("translation", "optimizer.name", ["adamw"], ["adan", None]),
    ("translation", "scheduler.warmup_steps", [0, 10**6], [-1]),
    ("translation", "trainer.max_epochs", [0, 1], [-2, -1, None]),  # scheduler=cosine needs the end
    ("translation", "trainer.max_steps", [-1, 0, 1], [-2, None]),
    ("translation", "trainer.precision", ["64-true", 32], ["31", 33, "fast"]),
    ("translation", "trainer.accelerator", ["cpu"], ["gpuu"]),
    ("translation", "trainer.devices", [1, "auto", -1], [0, -2, "none"]),
    ("translation", "trainer.accumulate_grad_batches", [1], [0]),
    ("translation", "trainer.val_check_interval", [1, 0.1, 1.0, 500], [0, 1.5, -0.5]),
    ("translation", "trainer.limit_val_batches", [0, 1.0, 7], [1.5, -1]),
    ("translation", "trainer.log_every_n_steps", [1], [0]),
    ("translation", "trainer.gradient_clip_val", [0, None], [-1]),
    ("translation", "trainer.max_time", [None, "00:12:00:00", {"hours": 1.5}], ["12 h", "", {"a": 1}, {"hours": -1}]),
    ("translation", "trainer.threads", [None, 1], [0, 10**6]),
    ("translation", "callbacks.early_stopping.patience", [0, None], [-1]),
    ("translation", "callbacks.early_stopping.mode", ["min"], ["most"]),
    ("translation", "callbacks.checkpoint.save_top_k", [-1, 0, 3], [-2]),
    ("translation", "callbacks.samples", [0, 5, None], [-1]),
    ("translation", "data.batch_tokens", [1], [0, 2**31]),
    ("translation", "data.batch_size", [None, 1], [0]),
    ("translation", "data.max_length", [1], [0]),
    ("translation", "data.encoding_workers", [1, 1024], [0, 1025]),
    ("translation", "data.corpus.source_language", ["en"], ["xx"]),
    ("translation", "tokenizer.character_coverage", [0.9995, 1.0], [0, 1.5]),
    ("translation", "tokenizer.vocabulary_size", [261], [260, 0]),
    ("translation", "tokenizer.training_lines", [1], [0]),
    ("translation", "tokenizer.sampling_nbest_size", [-1, 5], [-2]),
    ("translation", "search.beam_size", [1, 1000], [0, 1001, True]),
    ("translation", "search.n_best", [5], [6, 0]),
    ("translation", "search.length_penalty", [0, 2.5], [-0.1, True]),
    ("translation", "search.max_length_ratio", [0, 1000], [-1, 1001]),
    ("translation", "task.label_smoothing", [0, 0.999], [1, -0.1]),
    ("translation", "task.validation_beam_size", [1], [0]),
    ("translation", "task.metrics", [["bleu"], ["wer", "per"]], [["blue"], "bleu", [1]]),
    ("tagging", "labels.separator", ["+"], ["", 7]),
    ("tagging", "embedding.characters", [None, {"size": 3, "hidden_size": 3}], [{"size": 3}, {"sise": 3}, 7, {}]),
    ("translation", "embedding.factors", [None, {"pos": 0}, {"pos": 16}], [{"pos": -1}, {"pos": 1.5}, 7, {}]),
    ("translation", "embedding.factors_combine", ["sum"], ["add", None]),
    ("tagging", "tokenizer.min_frequency", [1], [0, -1]),
    ("language_modeling", "task.window", [1, None], [0]),
    ("language_modeling", "task.truncate", [0, None], [-1, 1.5]),
    ("language_modeling", "task.reset", [0, 0.5], [1, -0.1]),
    ("language_modeling", "data.corpus.val_share", [0.1], [1, -0.1, 0]),
    ("captioning", "encoder.max_regions", [1], [0]),
    ("captioning", "encoder.height", [8, 2], [1, 0, "8"]),
    ("captioning", "data.corpus.max_digits", [1, 4], [0, 5]),
]


@pytest.mark.parametrize(("task", "name", "fine", "wrong"), EDGES, ids=[f"{edge[0]}-{edge[1]}" for edge in EDGES])
def test_bounds_by_hand(task: str, name: str, fine: list[object], wrong: list[object]) -> None:
    for value in fine:
        config = copy.deepcopy(composed(task))
        put(config, name, value)
        check(config)
    for value in wrong:
        config = copy.deepcopy(composed(task))
        put(config, name, value)
        refused(config, name.rpartition(".")[2], value)


@pytest.mark.parametrize("group", ["encoder", "decoder", "context", "bridge", "head", "tokenizer", "data.corpus"])
@pytest.mark.parametrize("wrong", [7, "seq2seq.nn.cells.GRU", [], {"cell": 1}, {"_target_": "os.system"}])
def test_what_is_no_component(group: str, wrong: object) -> None:
    config = copy.deepcopy(composed("translation"))
    put(config, group, wrong)
    refused(config, group)


@pytest.mark.parametrize("wrong", ["x", None, {}, {"name": "translatoin"}, {"name": None}, {"name": ["tagging"]}])
def test_what_is_no_task(wrong: object) -> None:
    refused({**composed("translation"), "task": wrong}, "task")


def test_a_model_larger_than_memory_is_not_begun() -> None:
    config = copy.deepcopy(composed("translation"))
    put(config, "decoder.hidden_size", 10**6)
    assert refused(config, "decoder.hidden_size=1000000").endswith("lower it")


def test_each_packaged_option_has_a_place() -> None:
    assert {"encoder.cell.reset", "decoder.cell.reset", "decoder.feedback.halfway", "seed"} < set(catalogue())
    assert not [name for name in catalogue() if name.startswith((".", "cell", "feedback", "hydra", "defaults"))]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("encoder.hiden_size", "encoder.hidden_size"), ("traner.max_epochs", "trainer.max_epochs"), ("encodr", "encoder")],
)
def test_the_nearest_option(typed: str, meant: str) -> None:
    assert nearest(typed) == meant
    assert nearest(meant) is None


def test_lightnings_arguments_are_known() -> None:
    import inspect

    from pytorch_lightning import Trainer

    from seq2seq.training.setup import OWN

    packaged_keys = {name.split(".")[1] for name in catalogue() if name.startswith("trainer.")} - set(OWN)
    assert set(inspect.signature(Trainer.__init__).parameters) - {"self", *ELSEWHERE} == packaged_keys | set(TRAINER)


@pytest.mark.slow
def test_a_mistake_is_found_without_lightning() -> None:
    code = (
        "import sys; from seq2seq.cli.main import main; code = main(['train', 'trainer.max_epochs=-7', "
        "'hydra.run.dir=/nowhere/run', 'hydra.output_subdir=null']); print(code, 'pytorch_lightning' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=packaged("conf").parent)
    assert done.stdout.split() == ["2", "False"], done.stderr
    assert "trainer.max_epochs=-7: must be a whole number of at least -1" in done.stderr
