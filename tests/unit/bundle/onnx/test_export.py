"""ONNX: each operator against our layer, whole networks against the model, and the example against the translator."""

import os
import shutil
import subprocess
import sys
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import jaxtyping
import onnx
import onnxruntime
import pytest
import torch
from torch.onnx._internal.exporter._registration import ONNXRegistry

from seq2seq import Translator
from seq2seq.bundle.onnx import comparison, export, translate_onnx
from seq2seq.bundle.onnx.networks import without_loops
from seq2seq.bundle.onnx.operators import OPERATORS, OPSET, OnnxLayer
from seq2seq.bundle.onnx.scanning import ScannedLayer
from seq2seq.cli.main import main
from seq2seq.errors import UserError
from seq2seq.nn.cells import GRU, LSTM, Vanilla
from seq2seq.nn.encoders import RecurrentEncoder
from seq2seq.nn.encoders.layer import Layer
from seq2seq.search.rules import without_repeats
from seq2seq.text import (
    CharacterTokenizer,
    LetterTokenizer,
    SentencePieceTrainer,
    SpellingTokenizer,
    WhitespaceTokenizer,
)
from tests.bundles import WORDS, save
from tests.conftest import node

LENGTHS = torch.tensor([5, 1, 3])
VECTORS = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))


def run_operator(layer: OnnxLayer, vectors: torch.Tensor, lengths: torch.Tensor):
    """The operator alone, in a graph of one node, made without torch's exporter."""
    names = ["X", "W", "R", "B", "lengths"] + (["", "", "P"] if hasattr(layer, "peepholes") else [])
    weights = {"W": layer.weight, "R": layer.recurrent, "B": layer.bias} | (
        {"P": layer.peepholes} if hasattr(layer, "peepholes") else {}
    )
    outputs = ["Y", "Y_h", "Y_c"][: 3 if layer.operator is OPERATORS[LSTM] else 2]
    operator = onnx.helper.make_node(layer.operator.name, names, outputs, **layer.attributes)
    graph = onnx.helper.make_graph(
        [operator],
        "operator",
        [
            onnx.helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, [None, None, 4]),
            onnx.helper.make_tensor_value_info("lengths", onnx.TensorProto.INT32, [None]),
        ],
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        [onnx.numpy_helper.from_array(value.numpy(), name) for name, value in weights.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found = session.run(None, {"X": vectors.transpose(0, 1).numpy(), "lengths": lengths.int().numpy()})
    return [torch.from_numpy(each) for each in found]


FORMS = [
    *((GRU, {"reset": reset, "update": update}) for reset in ("after", "before") for update in ("keep", "write")),
    (GRU, {"bias": False}),
    (LSTM, {}),
    (LSTM, {"coupled": True}),
    (LSTM, {"peepholes": True}),
    (LSTM, {"peepholes": True, "coupled": True, "bias": False}),
    (Vanilla, {}),
    (Vanilla, {"activation": "relu"}),
]


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
@pytest.mark.parametrize(("kind", "options"), FORMS)
@torch.no_grad()
def test_an_operator_is_the_layer_that_it_stands_for(kind, options, direction):
    layer = Layer(lambda *sizes: kind(*sizes, **options), 4, 6, direction)
    mask = torch.arange(5) < LENGTHS[:, None]
    expected, state = layer(VECTORS, mask)
    outputs, *states = run_operator(OnnxLayer(layer), VECTORS, LENGTHS)
    outputs = outputs.permute(2, 0, 1, 3).flatten(2) * mask[:, :, None]
    torch.testing.assert_close(outputs, expected, atol=2e-6, rtol=1e-5)
    for side, value in zip(states, state, strict=True):
        torch.testing.assert_close(side.transpose(0, 1).flatten(1), value, atol=2e-6, rtol=1e-5)


LETTERS = "".join(sorted(set(unicodedata.normalize("NFD", " ".join([*WORDS, "é"])))))
MODELS: dict[str, dict[str, Any]] = {
    "default": {"joint": False},
    "both": {  # with the encoder's cell of Cho et al. 2014
        "encoder": {"cell": node("cell", "gru", reset="before")},
        "decoder_cell": "lstm",
        "bridge": "zero",
        "head": "maxout",
        "decoder": {"context_to": "both", "input_feeding": True, "num_layers": 2},
        "tokenizer": LetterTokenizer(LETTERS),
        "search": {"no_repeat_ngram": 2, "min_length": 5},
    },
    "deep": {
        "cell": "lstm",
        "context": "multiplicative",
        "head": "tied",
        "head_options": {"lexical": True},
        "bridge": "copy",
        "encoder": {"num_layers": 2, "residual": True},
        "decoder": {
            "num_layers": 2,
            "residual": True,
            "query": "current",
            "context_to": "readout",
            "input_feeding": True,
        },
        "embedding": {"share": True},
    },
    "aligned": {
        "context": "aligned",
        "cell": "vanilla",
        "encoder": {"direction": "backward"},
        "search": {"equal_length": True},
        "tokenizer": CharacterTokenizer("".join(sorted(set(" ".join(WORDS))))),
    },
    "pointer": {"context": "additive", "head": "pointer", "decoder": {"context_to": "both", "input_feeding": True}},
    "monotonic": {"context": "monotonic", "cell": "lstm", "head": "maxout", "spread": 3, "seed": 2},
    "first": {
        "encoder_name": "gnmt",
        "cell": "mgu",
        "decoder": {"context_to": "first", "recurrence": "output"},
        "decoder_cell": "layer_norm_gru",
        "spread": 2,
    },
    "pyramid": {
        "encoder_name": "pyramidal",
        "context": "additive",
        "head": "maxout",
        "decoder": {"context_to": "both"},
        "tokenizer": SentencePieceTrainer(vocabulary_size=290).train([" ".join(WORDS[i:]) for i in range(12)] * 5),
    },
    "stack": {
        "encoder_name": "stack",
        "encoder": {"num_layers": 2, "residual": True},
        "cell": "layer_norm_lstm",
        "decoder_cell": "min_lstm",
        "decoder": {"context_to": "readout"},
        "spread": 1,
    },
}
LINES = ["a man sleeps", "", "the red dog runs in a small house and the old woman sees", " ", "zebra é", "dog", "a  "]
PUZZLES = ["a man", "two  spaces ", "▁ 漢字 \ue581 \u00a0x", "", "the old woman sees"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Gives the folder of a model of `MODELS`, with a bundle and its export, each made once. The checks of shapes under
    pytest are off meanwhile: what traces is no tensor; and torch makes its table of translations once."""
    made: dict[str, Path] = {}
    patch = pytest.MonkeyPatch()
    patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))

    def give(name: str) -> Path:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            save(folder / "bundle", **MODELS[name])
            jaxtyping.config.update("jaxtyping_disable", True)
            try:
                checked = export.export_onnx(folder / "bundle", folder / "out")
            finally:
                jaxtyping.config.update("jaxtyping_disable", False)
            assert checked.batches == len(comparison.SIZES)
            assert checked.difference < 1e-5
            made[name] = folder
        return made[name]

    yield give
    patch.undo()


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_example_translates_as_the_translator(exported, name):
    lines = PUZZLES if name == "pyramid" else LINES
    expected = Translator.load(exported(name) / "bundle").translate(lines, beam_size=1)
    assert translate_onnx.Model(exported(name) / "out").translate(lines) == expected
    assert len(set(expected)) > 3


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_batch_and_lengths_are_free(exported, name):
    for network in ("encoder", "decoder"):
        session = onnxruntime.InferenceSession(exported(name) / "out" / f"{network}.onnx")
        shapes = {each.name: each.shape for each in session.get_inputs()}
        assert all(isinstance(shape[0], str) for shape in shapes.values()), shapes
        free = {"ids"} if network == "encoder" else {"memory.mask", "memory.keys"}
        assert all(isinstance(shape[1], str) for key, shape in shapes.items() if key in free and len(shape) > 1), shapes


@pytest.mark.slow
def test_another_model_is_distinguished_from_the_networks(exported, tmp_path):
    """What the comparison is worth."""
    one, other = (save(tmp_path / str(seed), seed=seed, **MODELS["deep"]) for seed in (0, 1))
    assert export.compare(one, exported("deep") / "out").difference < 1e-4
    with pytest.raises(UserError, match="ONNX Runtime and the model differ by"):
        export.compare(other, exported("deep") / "out")


@pytest.mark.slow
def test_an_export_holds_these_files(exported):
    names = {"encoder.onnx", "decoder.onnx", "export.json", "translate_onnx.py"}
    for name, others in (("default", {"source.json", "target.json"}), ("pyramid", {"joint.json", "joint.model"})):
        assert {path.name for path in (exported(name) / "out").iterdir()} == names | others


def example(folder: Path, lines: list[str]) -> list[str]:
    """What the example prints, elsewhere, in a Python that would not find torch or this project."""
    moved = folder.with_name("moved")
    shutil.rmtree(moved, ignore_errors=True)
    shutil.copytree(folder, moved)
    code = (
        "import runpy, sys; sys.modules.update(dict.fromkeys(['torch', 'seq2seq', 'onnx'])); "
        f"runpy.run_path({str(moved / 'translate_onnx.py')!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input="".join(f"{line}\n" for line in lines).encode(),
        capture_output=True,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        cwd=folder.parent,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    return done.stdout.decode().split("\n")[:-1]


@pytest.mark.slow
def test_the_example_needs_neither_torch_nor_seq2seq(exported):
    folder = exported("first")
    expected = Translator.load(folder / "bundle").translate(LINES, beam_size=1)
    assert example(folder / "out", [f"\ufeff{LINES[0]}", f"{LINES[1]}\r", *LINES[2:]]) == expected


def test_the_example_names_a_line_that_is_not_utf_8():
    with pytest.raises(SystemExit, match="line 2 is not UTF-8"):
        list(translate_onnx.lines([b"a\n", b"\xff\n"]))


@pytest.mark.parametrize("task", ["tagging", "classification", "language_modeling", "captioning"])
def test_other_tasks_are_refused(tmp_path, task, monkeypatch, capsys):
    save(tmp_path / "bundle")
    load = export.load_bundle
    monkeypatch.setattr(export, "load_bundle", lambda *arguments, **options: load(*arguments)._replace(task=task))
    refused(tmp_path, capsys, f"the bundle's task is {task}, and only translation is exported")


def test_a_tokenizer_that_the_example_does_not_know_is_refused(tmp_path, capsys):
    save(tmp_path / "bundle", tokenizer=SpellingTokenizer(WhitespaceTokenizer(WORDS)))
    refused(tmp_path, capsys, "a tokenizer of kind spelling is not known to the exported example")


@pytest.mark.parametrize("part", ["_write", "compare"])
def test_what_cannot_be_exported_is_one_line(tmp_path, part, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("\nOperator aten::strange\n  is unknown")

    save(tmp_path / "bundle")
    monkeypatch.setattr(export, "_write", lambda *_: None)
    monkeypatch.setattr(export, part, fail)
    refused(tmp_path, capsys, "this model cannot be exported as ONNX networks (RuntimeError: Operator aten::strange)")


def refused(folder, capsys, message):
    """One line, and nothing is written."""
    before = sorted(folder.rglob("*"))
    assert main(["export", str(folder / "bundle"), str(folder / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("n", [1, 2, 3])
def test_repeats_are_forbidden_as_in_search(n):
    random = torch.Generator().manual_seed(n)
    for length in range(9):
        written = torch.randint(4, 7, (1, length), generator=random)
        log_probs = torch.randn(1, 7, generator=random).log_softmax(-1)
        log_probs[:, :4] = -torch.inf  # what the example has banned before
        expected = without_repeats(log_probs, written, n, (0, 1, 2, 3))
        found = log_probs.clone().numpy()
        translate_onnx.forbid_repeats(found[0], written[0].tolist(), n)
        assert torch.equal(torch.from_numpy(found), expected)


def test_other_mistakes(tmp_path, monkeypatch, capsys):
    save(tmp_path / "bundle")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    assert main(["export", str(tmp_path / "bundle"), str(tmp_path / "mine")]) == 2
    assert "mine: is not an export and is not replaced" in capsys.readouterr().err
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxscript" else True)
    assert main(["export", str(tmp_path / "bundle"), str(tmp_path / "out")]) == 2
    assert "export needs onnxscript: pip install 'seq2seq-recurrent[export]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_network_that_differs_is_never_written(tmp_path, monkeypatch, capsys):
    def differ(*_):
        raise UserError("differ by 1")

    save(tmp_path / "bundle")
    monkeypatch.setattr(export, "_write", lambda *_: None)
    monkeypatch.setattr(export, "compare", differ)
    assert main(["export", str(tmp_path / "bundle"), str(tmp_path / "out")]) == 2
    assert "differ by 1" in capsys.readouterr().err
    monkeypatch.setattr(export, "compare", lambda *_: export.Checked(5, 1e-7))
    assert main(["export", str(tmp_path / "bundle"), str(tmp_path / "out"), "--format", "onnx"]) == 0
    assert "checked in ONNX Runtime: 5 sizes of batch, largest difference 1.0e-07" in capsys.readouterr().out
    (tmp_path / "out" / "old").touch()
    assert main(["export", str(tmp_path / "bundle"), str(tmp_path / "out")]) == 0  # takes the place of the older one
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "out"}
    assert not (tmp_path / "out" / "old").exists()


def test_a_subclass_of_a_cell_is_not_taken_for_it():
    """Its equations may be others: what traces its own step takes its place."""

    class Mine(GRU):
        pass

    encoder = RecurrentEncoder(4, 6, Mine, num_layers=2)
    assert all(isinstance(layer, ScannedLayer) for layer in without_loops(encoder).layers)
    assert all(isinstance(layer, OnnxLayer) for layer in without_loops(RecurrentEncoder(4, 6, GRU)).layers)
