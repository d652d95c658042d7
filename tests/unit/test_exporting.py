"""ONNX: each operator against our layer, whole networks against the model, and the example against the translator."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch

from seq2seq import Translator
from seq2seq.cells import GRU, LSTM, MGU, Vanilla
from seq2seq.cli.main import main
from seq2seq.encoders.layer import Layer
from seq2seq.errors import UserError
from seq2seq.exporting import export
from seq2seq.exporting.operators import OPERATORS, OPSET, OnnxLayer
from seq2seq.paths import PACKAGE
from seq2seq.text import SentencePieceTrainer, Tokenizers
from tests.bundles import WORDS, save
from tests.conftest import model_config, node

LENGTHS = torch.tensor([5, 1, 3])
VECTORS = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))


def run_operator(layer: OnnxLayer, vectors: torch.Tensor, lengths: torch.Tensor):
    """The operator alone, in a graph of one node, made without torch's exporter."""
    names = ["X", "W", "R", "B", "lengths"] + (["", "", "P"] if hasattr(layer, "peepholes") else [])
    weights = {"W": layer.weight, "R": layer.recurrent, "B": layer.bias} | (
        {"P": layer.peepholes} if hasattr(layer, "peepholes") else {}
    )
    outputs = ["Y", "Y_h", "Y_c"][: 3 if layer.kind is LSTM else 2]
    operator = onnx.helper.make_node(OPERATORS[layer.kind], names, outputs, **layer.attributes)
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


MODELS = {
    "deep": {
        "cell": "lstm",
        "context": "multiplicative",
        "head": "tied",
        "bridge": "copy",
        "encoder": {"num_layers": 2, "residual": True},
        "decoder": {
            "num_layers": 2,
            "residual": True,
            "query": "current",
            "context_to": "readout",
            "input_feeding": True,
        },
    },
    "aligned": {"context": "aligned", "cell": "vanilla", "encoder": {"direction": "backward"}},
    "first": {"decoder": {"context_to": "first", "recurrence": "output"}, "decoder_cell": "layer_norm_gru"},
}
ADDITIVE = {"context": "additive", "head": "maxout", "decoder": {"context_to": "both"}}
LINES = ["a man sleeps", "", "the red dog runs in a small house and the old woman sees", " ", "zebra", "dog"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """All models as bundles and as exports, by a process of its own: what traces is no tensor, so that the checks of
    types under pytest would stop it."""
    folder = tmp_path_factory.mktemp("exported")
    for name, changes in MODELS.items():
        save(folder / name / "bundle", **changes)
    sentences = [" ".join(WORDS[i:]) for i in range(12)] * 5
    both = SentencePieceTrainer(vocabulary_size=290).train(sentences)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.bundles.tokenizers", lambda *, joint: Tokenizers(both, both, True))
        save(folder / "sentencepiece" / "bundle", **ADDITIVE)
    code = (
        "import sys; from pathlib import Path; from seq2seq.exporting import export_onnx\n"
        "for name in sys.argv[1:]: print(name, *export_onnx(Path(name, 'bundle'), Path(name, 'out')))"
    )
    names = [*MODELS, "sentencepiece"]
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code, *names], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    checked = [line.split() for line in done.stdout.split("\n")[:-1]]
    assert [name for name, *_ in checked] == names
    assert all(int(batches) == len(export.SIZES) for _, batches, _ in checked)
    assert all(float(difference) < 1e-4 for *_, difference in checked)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_example_translates_as_the_translator(exported, name):
    expected = Translator.load(exported / name / "bundle").translate(LINES, beam_size=1)
    assert example(exported / name / "out", LINES) == expected
    assert len(set(expected)) > 3


@pytest.mark.slow
def test_the_example_knows_sentencepiece(exported):
    lines = ["a man", "two  spaces ", "▁ 漢字 \ue581 \u00a0x", "", "the old woman sees"]
    expected = Translator.load(exported / "sentencepiece" / "bundle").translate(lines, beam_size=1)
    assert example(exported / "sentencepiece" / "out", lines) == expected


@pytest.mark.slow
def test_another_model_is_told_from_the_networks(exported, tmp_path):
    """What the comparison is worth."""
    one, other = (save(tmp_path / str(seed), seed=seed, **MODELS["deep"]) for seed in (0, 1))
    assert export.compare(one, exported / "deep" / "out").difference < 1e-4
    with pytest.raises(UserError, match="ONNX Runtime and the model differ by"):
        export.compare(other, exported / "deep" / "out")


@pytest.mark.slow
def test_an_export_holds_these_files(exported):
    names = {"encoder.onnx", "decoder.onnx", "export.json", "translate_onnx.py"}
    assert {path.name for path in (exported / "first" / "out").iterdir()} == names | {"joint.json"}
    assert {path.name for path in (exported / "sentencepiece" / "out").iterdir()} == names | {
        "joint.json",
        "joint.model",
    }


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
    return done.stdout.decode().split("\n")[:-1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cell": "mgu", "decoder_cell": "gru"}, "cell is MGU, and ONNX has operators for vanilla, GRU and LSTM only"),
        ({"cell": "layer_norm_gru"}, "LayerNormGRU"),
        ({"encoder": "pyramidal"}, "PyramidalEncoder is not a plain stack"),
    ],
)
def test_encoders_without_operators_are_refused(tmp_path, changes, message, capsys, monkeypatch):
    if changes.get("encoder") == "pyramidal":
        pyramid = node("encoder", "pyramidal", hidden_size=4, cell=node("cell", "gru"))
        config = model_config() | {"encoder": pyramid}
        monkeypatch.setattr("tests.bundles.model_config", lambda **_: config)
    save(tmp_path / "bundle", **changes)
    before = sorted(tmp_path.rglob("*"))
    assert main(["export", str(tmp_path / "bundle"), str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


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


def test_a_cell_of_ones_own_has_no_operator():
    with pytest.raises(UserError, match="MGU"):
        OnnxLayer(Layer(MGU, 4, 6, "both"))
