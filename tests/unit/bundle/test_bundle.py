"""A bundle is loaded as it was saved, is written atomically, and is not trusted."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file
from safetensors.torch import save_file as save_tensors

from seq2seq.bundle.format import load_bundle, save_bundle
from seq2seq.bundle.model_card import model_card
from seq2seq.errors import UserError
from seq2seq.nn.types import Tokens
from tests.bundles import edit, save, tokenizers
from tests.conftest import model_config, options

SOURCE = Tokens(torch.tensor([[4, 5, 6, 3], [7, 3, 0, 0]]), torch.tensor([4, 2]))
TARGET = Tokens(torch.tensor([[8, 3, 0], [9, 10, 3]]), torch.tensor([2, 3]))


def changed(folder: Path, **changes):
    """config.json with other values, its checksum right."""
    config = json.loads((folder / "config.json").read_text())
    edit(folder, "config.json", json.dumps(config | changes).encode())


def same_model(one, other):
    """The weights bit for bit, and what is computed from them to rounding: they stand elsewhere in memory."""
    weights, others = one.state_dict(), other.state_dict()
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    torch.testing.assert_close(one(SOURCE, TARGET), other(SOURCE, TARGET))


@pytest.mark.numerical
@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("head", options("head"))
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_round_trip_keeps_every_bit_and_every_tie(tmp_path, cell, head, share):
    saved = save(tmp_path / "b", cell=cell, head=head, context="additive", embedding={"share": share})
    bundle = load_bundle(tmp_path / "b")
    assert not bundle.model.training
    same_model(bundle.model, saved)
    pointers = {tensor.data_ptr() for tensor in saved.state_dict().values()}
    assert len({tensor.data_ptr() for tensor in bundle.model.state_dict().values()}) == len(pointers)
    with safe_open(tmp_path / "b" / "model.safetensors", "pt") as file:
        assert len(file.keys()) == len(pointers)
    tied = bundle.model.decoder.head.weight is bundle.model.target_embedding.weight
    assert tied == (head == "tied")
    assert (bundle.model.source_embedding.weight is bundle.model.target_embedding.weight) == share


@pytest.mark.parametrize("joint", [False, True])
def test_what_a_bundle_holds(tmp_path, joint):
    save(tmp_path / "deep" / "b", joint=joint)
    bundle = load_bundle(str(tmp_path / "deep" / "b"))
    names = {"joint.json"} if joint else {"source.json", "target.json"}
    known = names | {"model.safetensors", "config.json", "metrics.json"}
    assert {path.name for path in (tmp_path / "deep" / "b").iterdir()} == known | {"README.md", "checksums.json"}
    assert set(json.loads((tmp_path / "deep" / "b" / "checksums.json").read_text())) == known
    assert bundle.tokenizers.target.fingerprint == tokenizers(joint=joint).target.fingerprint
    assert bundle.config == model_config()
    assert bundle.metrics == {"test": {"BLEU": {"value": 12.5, "signature": "nrefs:1"}}, "loss": None}
    assert (bundle.search.beam_size, bundle.search.bos, bundle.search.eos) == (3, 2, 3)
    assert bundle.provenance == {"seed": 0}


def test_a_bundle_has_no_paths_of_the_vectors_that_it_began_with(tmp_path):
    vectors = {"vectors": {"source": "/home/someone/cc.en.300.vec.gz", "target": None}, "freeze_vectors": ["source"]}
    save(tmp_path / "b", embedding=vectors)
    assert "someone" not in (tmp_path / "b" / "config.json").read_text()
    assert load_bundle(tmp_path / "b").config["embedding"] == model_config()["embedding"]


def test_loading_leaves_the_random_generator_alone(tmp_path):
    save(tmp_path / "b")
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    load_bundle(tmp_path / "b")
    assert torch.equal(torch.rand(3), expected)


def test_the_card_may_be_edited(tmp_path):
    save(tmp_path / "b")
    (tmp_path / "b" / "README.md").write_text("Mine.\n")
    load_bundle(tmp_path / "b")


def test_an_older_bundle_is_replaced_atomically(tmp_path, monkeypatch):
    save(tmp_path / "b", seed=1)
    save(tmp_path / "b", seed=2)
    assert load_bundle(tmp_path / "b").provenance == {"seed": 2}
    with monkeypatch.context() as patch:
        patch.setattr("seq2seq.bundle.format.digest_of", lambda path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            save(tmp_path / "b", seed=3)
    assert load_bundle(tmp_path / "b").provenance == {"seed": 2}
    real = __import__("os").rename
    with monkeypatch.context() as patch:
        patch.setattr("os.rename", lambda a, b: 1 / 0 if a.name == "new" else real(a, b))
        with pytest.raises(ZeroDivisionError):
            save(tmp_path / "b", seed=3)
    assert load_bundle(tmp_path / "b").provenance == {"seed": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_bundle_of_format_1_still_loads(tmp_path):
    saved = save(tmp_path / "b")
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    sizes = config.pop("sizes")
    del config["task"]
    config |= {"format_version": 1, **{f"{side}_vocabulary_size": size for side, size in sizes.items()}}
    edit(tmp_path / "b", "config.json", json.dumps(config).encode())
    loaded = load_bundle(tmp_path / "b")
    assert loaded.task == "translation"
    same_model(loaded.model, saved)


def test_what_is_no_bundle_is_never_replaced(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").touch()
    with pytest.raises(UserError, match="thesis: is not a bundle and is not replaced"):
        save(tmp_path / "thesis")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter1.tex"]


def test_a_wrong_search_option_is_refused_when_saving(tmp_path):
    with pytest.raises(UserError, match=r"did you mean search\.beam_size"):
        save_bundle(
            tmp_path / "b",
            task="translation",
            model=save(tmp_path / "other"),
            config=model_config(),
            sizes={},
            tokenizers=tokenizers(),
            metrics={},
            search={"beamsize": 2},
            card="",
            provenance={},
        )
    assert not (tmp_path / "b").exists()


def flip(folder):
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)


def reshape(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["decoder.head.bias"] = torch.zeros(3)
    save_tensors(tensors, folder / "x")
    edit(folder, "model.safetensors", (folder / "x").read_bytes())


def drop(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["decoder.head.bias"]
    save_tensors(tensors, folder / "x")
    edit(folder, "model.safetensors", (folder / "x").read_bytes())


def encoder(**changes):
    return {"model": {**model_config(), "encoder": {**model_config()["encoder"], **changes}}}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip, r"model\.safetensors: is not as it was saved"),
        (reshape, r"model\.safetensors: does not fit .* size mismatch for decoder\.head\.bias"),
        (drop, r"model\.safetensors: does not fit .* Missing key.*decoder\.head\.bias"),
        (lambda f: edit(f, "model.safetensors", b"x" * 99), r"model\.safetensors: does not fit"),
        (lambda f: (f / "model.safetensors").unlink(), r"model\.safetensors: is missing"),
        (lambda f: (f / "joint.json").unlink(), r"joint\.json: is missing"),
        (lambda f: (f / "checksums.json").unlink(), r"checksums\.json: is missing"),
        (lambda f: (f / "checksums.json").write_text("{}"), r"checksums\.json: 'config\.json' should not be, or is"),
        (lambda f: edit(f, "../outside", b""), r"checksums\.json: '\.\./outside' should not be"),
        (lambda f: (f / "metrics.json").write_text("{"), r"metrics\.json: is not as it was saved"),
        (lambda f: edit(f, "metrics.json", b"[]"), r"metrics\.json: is not a JSON object"),
        (lambda f: (f / "config.json").write_text('{"format_'), r"config\.json: is not JSON"),
        (lambda f: (f / "config.json").write_bytes(b"\xff"), r"config\.json: is not JSON"),
        (lambda f: changed(f, format_version=3), r"config\.json: format_version=3, but this seq2seq reads 2"),
        (lambda f: changed(f, search=None), r"config\.json: search=None"),
        (lambda f: changed(f, search={"beam_size": 0}), r"config\.json: search\.beam_size=0"),
        (lambda f: changed(f, search={"beam": 4}), r"config\.json: search\.beam: .* did you mean search\.beam_size"),
        (lambda f: changed(f, sizes={"source": 9, "target": 9}), r"config\.json: sizes.source=9, but the tokenizer"),
        (lambda f: changed(f, sizes={"source": True}), r"config\.json: sizes.source=True is not what a bundle has"),
        (lambda f: changed(f, task="cooking"), r"task='cooking' is not known; this seq2seq knows translation"),
        (lambda f: changed(f, model={}), r"config\.json: describes no model .*KeyError"),
        (lambda f: changed(f, **encoder(hidden_size=-1)), r"config\.json: "),
        (lambda f: changed(f, **encoder(_target_="os.system")), r"config\.json: encoder\._target_: 'os\.system'"),
        (lambda f: changed(f, **encoder(_target_="seq2seq.nn.cells.GRU")), r"config\.json: .* is not a Encoder"),
    ],
)
def test_damage_is_one_line_that_names_the_file(tmp_path, damage, message):
    save(tmp_path / "b")
    damage(tmp_path / "b")
    with pytest.raises(UserError, match=message) as error:
        load_bundle(tmp_path / "b")
    assert "\n" not in str(error.value)


def test_what_is_no_bundle_is_refused(tmp_path):
    save(tmp_path / "run" / "bundle")
    with pytest.raises(UserError, match=r"run: is not a bundle .* did you mean .*run.bundle\?"):
        load_bundle(tmp_path / "run")
    with pytest.raises(UserError, match="there is no such folder"):
        load_bundle(tmp_path / "nowhere")
    shutil.make_archive(str(tmp_path / "b"), "zip", tmp_path / "run" / "bundle")
    with pytest.raises(UserError, match=r"b\.zip: is not a bundle \(it is a file\)"):
        load_bundle(tmp_path / "b.zip")
    with pytest.raises(UserError, match="device 'gpu' cannot be used"):
        load_bundle(tmp_path / "run" / "bundle", device="gpu")


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_is_not_opened(tmp_path):
    save(tmp_path / "b")
    edit(tmp_path / "b", "model.safetensors", pickle.dumps(Bomb(tmp_path / "exploded")))
    with pytest.raises(UserError, match=r"model\.safetensors: does not fit"):
        load_bundle(tmp_path / "b")
    assert not (tmp_path / "exploded").exists()


def test_a_foreign_cell_needs_trust(tmp_path, monkeypatch):
    (tmp_path / "my_cells_of_test_bundle.py").write_text(
        "from pathlib import Path\nfrom seq2seq.nn.cells import GRU\n"
        "Path(__file__).with_name('imported').touch()\n\n\nclass Mine(GRU):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    saved = save(tmp_path / "b")
    config = model_config()
    config["encoder"]["cell"]["_target_"] = "my_cells_of_test_bundle.Mine"
    changed(tmp_path / "b", model=config)
    with pytest.raises(UserError, match=r"encoder\.cell\._target_.*--trust"):
        load_bundle(tmp_path / "b")
    assert not (tmp_path / "imported").exists()
    loaded = load_bundle(tmp_path / "b", trusted=["my_cells_of_test_bundle"]).model
    same_model(loaded, saved)


def test_model_card_is_read_by_hubs_and_people():
    card = model_card(
        name="en-no-gru",
        summary="Translates en to no.",
        task="translation",
        use='translator = Translator.load("BUNDLE")',
        languages=("en", "no"),
        dataset="embedded",
        data="Written by a grammar.",
        sizes={"parameters": 1234567},
        scores={"test": {"BLEU": {"value": 37.349, "signature": "nrefs:1|case:mixed"}}},
        command="seq2seq train seed=1",
        provenance={"torch": "2.13.0", "seed": 1},
    )
    _, front, text = card.split("---\n", 2)
    meta = yaml.safe_load(front)
    assert meta["language"] == ["en", "no"]  # bare, YAML would read False
    [result] = meta["model-index"][0]["results"]
    assert result["metrics"] == [
        {"type": "bleu", "name": "BLEU", "value": 37.35, "args": {"signature": "nrefs:1|case:mixed"}}
    ]
    assert result["dataset"] == {"type": "embedded", "name": "embedded", "split": "test"}
    assert "| parameters | 1,234,567 |" in text
    assert "| test | BLEU | 37.35 | `nrefs:1\\|case:mixed` |" in text
    assert "```sh\nseq2seq train seed=1\n```" in text
    assert 'Translator.load("BUNDLE")' in text
