"""Hostile bundles: each attack is refused in one clear line, and nothing is executed, written or leaked.

What goes wrong by accident is in test_bundle.py. Here every checksum is right, since who attacks can compute it.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import seq2seq.nn.cells
from seq2seq.bundle.format import load_bundle
from seq2seq.errors import UserError
from seq2seq.text import SentencePieceTrainer, Tokenizers
from tests.bundles import edit, save
from tests.canary import SECRET, Bomb, bomb, watched
from tests.conftest import model_config, node

Attack = Callable[[Path], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that loads. What is imported late is imported now, so that the watch sees an attack alone."""
    save(made := tmp_path_factory.mktemp("whole") / "b")
    load_bundle(made)
    return made


@pytest.fixture
def folder(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in a folder of its own; a bomb's mark would be next to it."""
    monkeypatch.setenv("CANARY_TOKEN", SECRET)
    return Path(shutil.copytree(whole, tmp_path / "b"))


def refused(folder: Path, message: str, trusted: tuple[str, ...] = ()) -> None:
    before = {path: path.lstat().st_mtime_ns for path in folder.parent.rglob("*")}
    with watched(), pytest.raises(UserError, match=message) as error:
        load_bundle(folder, trusted=trusted)
    told = str(error.value)
    assert "\n" not in told
    assert told.isprintable()
    assert len(told) < 5000
    assert SECRET not in told
    assert {path: path.lstat().st_mtime_ns for path in folder.parent.rglob("*")} == before


def config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    found = json.loads((folder / "config.json").read_text())
    change(found)
    edit(folder, "config.json", json.dumps(found).encode())


def at(place: str, value: object) -> Attack:
    """Set one value of config.json."""

    def attack(folder: Path) -> None:
        def change(found: dict[str, Any]) -> None:
            *above, last = place.split(".")
            for key in above:
                found = found[key]
            found[last] = value

        config(folder, change)

    return attack


def content(name: str, made: Callable[[Path], bytes] | bytes) -> Attack:
    """Another file under this name."""
    return lambda folder: edit(folder, name, made if isinstance(made, bytes) else made(folder.parent / "exploded"))


def zipped(mark: Path) -> bytes:
    """What torch.save makes of a bomb."""
    torch.save({"decoder.head.bias": Bomb(mark)}, file := io.BytesIO())
    return file.getvalue()


def test_the_watch_sees_what_it_is_for(tmp_path: Path) -> None:
    for act in (
        lambda: pickle.loads(bomb(tmp_path / "exploded")),
        lambda: (tmp_path / "written").write_text(""),
        lambda: os.system("true"),
        lambda: bytearray(os.urandom(1 << 20) * 500),
    ):
        with pytest.raises(AssertionError), watched():
            act()  # type: ignore[no-untyped-call]


PICKLES: dict[str, tuple[Attack, str]] = {
    "config": (content("config.json", bomb), r"config\.json: is not JSON"),
    "metrics": (content("metrics.json", bomb), r"metrics\.json: is not JSON"),
    "checksums": (
        lambda folder: (folder / "checksums.json").write_bytes(bomb(folder.parent / "exploded")),
        r"checksums\.json: is not JSON",
    ),
    "tokenizer": (content("joint.json", bomb), r"joint\.json: is not JSON"),
    "tokenizer model": (content("joint.model", bomb), r"joint\.json: joint\.model is damaged or missing"),
    "weights": (content("model.safetensors", bomb), r"model\.safetensors: does not fit the format"),
    "weights of torch.save": (content("model.safetensors", zipped), r"model\.safetensors: does not fit the format"),
}


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_in_any_place(folder: Path, name: str) -> None:
    attack, message = PICKLES[name]
    attack(folder)
    refused(folder, message)


TARGETS = [
    "os.system",
    "posix.system",
    "subprocess.Popen",
    "subprocess.check_output",
    "builtins.eval",
    "builtins.exec",
    "builtins.__import__",
    "importlib.import_module",
    "runpy.run_path",
    "pathlib.Path.write_text",
    "shutil.rmtree",
    "functools.partial",
    "hydra.utils.instantiate",
    "hydra.utils.call",
    "hydra.utils.get_method",
    "hydra._internal.utils._locate",
    "torch.load",
    "torch.hub.load",
    "torch.nn.GRU",
    "torch.utils.data.DataLoader",
    "torch.utils.cpp_extension.load_inline",
    "pytorch_lightning.Trainer",
    "seq2seq.__main__.main",
    "seq2seq.cli.main.main",
    "seq2seq.cli.train.EndOfSweep",
    "seq2seq.bundle.format.load_bundle",
    "seq2seq.models.factory.functools.partial",
    "seq2seq.nn.cells.base.os.system",
    "seq2seq.nn.cells.gru.nn",
    "seq2seq.nn.cells.gru.Tensor",
    "seq2seq.nn.cells.GRU.__init__",
    "seq2seq.nn.cells.Cell",
    "seq2seq.nn.cells..GRU",
    "seq2seq.nn.cells.GRU\0",
    "seq2seq.nn.heads.LinearHead",
    "ѕeq2seq.cells.GRU",  # a Cyrillic s
    "seq2seq",
    "GRU",
    ".",
    "",
    "a." * 1_000_000,
    7,
    None,
    ["os.system"],
    {"_target_": "os.system"},
]


# The names of before modules moved: what was refused then is refused, and what the table has is no cell either.
OLD = [
    *(
        "seq2seq.bundle._sha256",
        "seq2seq.build.functools.partial",
        "seq2seq.build.importlib",
        "seq2seq.cells.base.os.system",
    ),
    *(
        "seq2seq.cells.gru.nn",
        "seq2seq.cells.GRU.__init__",
        "seq2seq.cells.Cell",
        "seq2seq.cells..GRU",
        "seq2seq.cells",
    ),
    *("seq2seq.cells.GRU.", ".seq2seq.cells.GRU", "seq2seq.cells.GRU\0", "Seq2seq.cells.GRU", "seq2seq.cells.gru.LSTM"),
    *("seq2seq.heads.LinearHead", "seq2seq.tasks.training.train", "seq2seq.nn.cells.GRU.seq2seq.cells.GRU"),
    *("seq2seq.runtime.old_names.CLASSES", "seq2seq.runtime.old_imports.install"),
]


@pytest.mark.parametrize("place", ["encoder", "encoder.cell", "bridge"])
@pytest.mark.parametrize("target", [*TARGETS, *OLD], ids=lambda target: str(target)[:40].replace("\0", "0"))
def test_only_component_classes_are_named(folder: Path, target: object, place: str) -> None:
    at(f"model.{place}._target_", target)(folder)
    refused(folder, rf"config\.json: {place}\._target_: ")


def test_a_subclass_from_elsewhere_is_not_trusted_by_its_reexport(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = type("Foreign", (seq2seq.nn.cells.GRU,), {"__module__": "elsewhere"})
    monkeypatch.setattr(seq2seq.nn.cells, "Foreign", foreign, raising=False)
    at("model.encoder.cell._target_", "seq2seq.nn.cells.Foreign")(folder)
    refused(folder, "comes from elsewhere, which is not trusted")


CALL = {"_target_": "os.system", "command": "touch exploded"}
KEYS: dict[str, tuple[Attack, str]] = {
    **{
        key: (at(f"model.{place}.{key}", value), rf"{place}\.{key}: \w+ has no option '{key}'")
        for place, key, value in [
            ("encoder", "_args_", ["touch exploded"]),
            ("encoder", "_partial_", True),
            ("encoder.cell", "_recursive_", True),
            ("encoder.cell", "_convert_", "object"),
            ("encoder", "class_path", "os.system"),
            ("encoder", "init_args", {"command": "touch exploded"}),
            ("encoder", "instantiator", "pytorch_lightning.cli.instantiate_module"),
            ("decoder", "__class__", "os.system"),
            ("encoder.cell", "cell", CALL),
            ("head", "embedding", CALL),  # the owner passes it
            ("embedding", "weight", CALL),
        ]
    },
    "a node of its own": (at("model.os", CALL), r"model\.os: translation has no option 'os'"),
    "a call for a text": (at("model.encoder.direction", CALL), r"encoder\.direction=.* is not known; use forward"),
    "a call for a number": (at("model.encoder.hidden_size", CALL), r"hidden_size: .* is not of type int"),
    "a call for a list": (at("model.encoder.cell", [CALL]), r"encoder\.cell: a component with _target_ is expected"),
    "a list for the model": (at("model", [CALL]), r"model=.* is not what a bundle has"),
    "a node without a class": (at("model.encoder", {"cell": CALL}), r"encoder: a component with _target_"),
    "a text for a node": (at("model.embedding", "os.system"), r"config\.json: "),
    "a terminal's commands": (at("model.encoder.\x1b]0;\x07\n", 1), r"has no option '\\x1b"),
}


@pytest.mark.parametrize("name", KEYS)
def test_keys_that_others_would_call(folder: Path, name: str) -> None:
    attack, message = KEYS[name]
    attack(folder)
    refused(folder, message)


INTERPOLATIONS = [
    "${oc.env:CANARY_TOKEN}",
    "${oc.decode:${oc.env:CANARY_TOKEN}}",
    "${hydra:runtime.cwd}",
    "${now:%Y}",
    "$CANARY_TOKEN",
    "{os.environ[CANARY_TOKEN]}",
    "%(CANARY_TOKEN)s",
]


@pytest.mark.parametrize("place", ["model.encoder.direction", "model.encoder.cell._target_", "task", "search"])
@pytest.mark.parametrize("text", INTERPOLATIONS)
def test_interpolations_are_text(folder: Path, text: str, place: str) -> None:
    at(place, text)(folder)
    refused(folder, r"config\.json: .*(is not known|is not a component|is not what)")


def link(name: str, make: Callable[[Path, Path], object]) -> Attack:
    """Put something else in the place of a file, which stands outside of the bundle from now on."""

    def attack(folder: Path) -> None:
        outside = folder.parent / "outside"
        (folder / name).rename(outside)
        make(folder / name, outside)

    return attack


FILES = ["config.json", "metrics.json", "checksums.json", "joint.json", "model.safetensors"]
PLACES: dict[str, tuple[Attack, str]] = {
    **{f"link {name}": (link(name, Path.symlink_to), f"{name}: is a link out of") for name in FILES},
    **{
        f"pipe {name}": (link(name, lambda path, _: os.mkfifo(path)), f"{name}: is missing, or is no file")
        for name in FILES
    },
    **{f"folder {name}": (link(name, lambda path, _: path.mkdir()), f"{name}: is missing, or") for name in FILES},
    "link to zeros": (
        link("metrics.json", lambda path, _: path.symlink_to("/dev/zero")),
        r"metrics\.json: is missing, or",
    ),
    "link in a circle": (
        link("metrics.json", lambda path, _: path.symlink_to(path)),
        r"metrics\.json: is missing, or",
    ),
    **{
        f"name {name!r}": (
            lambda folder, name=name: listed(folder, name),
            r"checksums\.json: .* should not be|is missing, or",
        )
        for name in ["/etc/hostname", "../b/config.json", "sub/../config.json", ".", "..", "", "~/x"]
    },
    "name with NUL": (lambda folder: listed(folder, "a\0b"), r"a\\x00b: is missing, or is no file"),
    "tokenizer that no checksum covers": (
        lambda folder: (folder / "source.json").write_text("{}"),
        r"checksums\.json: 'source\.json' should not be, or is missing",
    ),
}


def listed(folder: Path, name: str) -> None:
    known = json.loads((folder / "checksums.json").read_text())
    (folder / "checksums.json").write_text(json.dumps(known | {name: "0" * 64}))


@pytest.mark.parametrize("name", PLACES)
def test_files_stand_in_the_folder_itself(folder: Path, name: str) -> None:
    attack, message = PLACES[name]
    attack(folder)
    refused(folder, message)


def tensors(**described: Any) -> bytes:
    """A safetensors file with this header and 64 bytes of data."""
    header = json.dumps(described).encode()
    return struct.pack("<Q", len(header)) + header + bytes(64)


def raw(header: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + bytes(64)


def tensor(shape: object = (16,), offsets: object = (0, 64), dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


HEADERS = {
    "length 2^60": raw(b"{}", 1 << 60),
    "length 2^64 - 1": raw(b"{}", (1 << 64) - 1),
    "length beyond the file": raw(b"{}", 1000),
    "no header": b"",
    "seven bytes": bytes(7),
    "not JSON": raw(b"{" * 100),
    "deep": raw(b'{"a":' + b"[" * 100_000),
    "a list": raw(b"[]"),
    "not UTF-8": raw(b'{"\xff":{}}'),
    "overlap": tensors(a=tensor((8,), (0, 32)), b=tensor((8,), (16, 48))),
    "gap": tensors(a=tensor((4,), (0, 16)), b=tensor((8,), (32, 64))),
    "offsets backwards": tensors(a=tensor((16,), (64, 0))),
    "offsets beyond": tensors(a=tensor((1 << 40,), (0, 1 << 42))),
    "offsets negative": tensors(a=tensor((16,), (-64, 0))),
    "offsets of text": tensors(a=tensor((16,), ("0", "64"))),
    "shape larger than the data": tensors(a=tensor((1 << 40,))),
    "shape that overflows": tensors(a=tensor((1 << 62, 1 << 62))),
    "shape negative": tensors(a=tensor((-16,))),
    "shape NaN": raw(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,64]}}'),
    "shape of fractions": tensors(a=tensor((1.5,))),
    "type of another size": tensors(a=tensor(dtype="F16")),
    "unknown type": tensors(a=tensor(dtype="PICKLE")),
    "whole numbers": tensors(a=tensor((8,), dtype="I64")),
    "truth values": tensors(a=tensor((64,), dtype="BOOL")),
    "too much data": tensors(a=tensor((8,), (0, 32))),
    "no shape": tensors(a={"dtype": "F32", "data_offsets": [0, 64]}),
    "metadata of numbers": tensors(__metadata__={"format": 1}, a=tensor()),
    "tensors of another model": tensors(a=tensor()),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_of_weights(folder: Path, name: str) -> None:
    edit(folder, "model.safetensors", HEADERS[name])
    refused(folder, r"model\.safetensors: does not fit|config\.json: encoder.num_layers")


def test_weights_of_other_types_that_torch_would_cast(folder: Path) -> None:
    from safetensors.torch import save

    found = {name: value.to(torch.int32) for name, value in load_file(folder / "model.safetensors").items()}
    edit(folder, "model.safetensors", save(found))
    refused(folder, r"does not fit a model: '.*' is of type I32")


def padded(folder: Path, *, by: bytes = b" ", size: int = 5 << 20) -> None:
    edit(folder, "config.json", (folder / "config.json").read_bytes() + by * size)


def replaced(name: str, old: str, new: str) -> Attack:
    return lambda folder: edit(folder, name, (folder / name).read_text().replace(old, new, 1).encode())


def doubled(folder: Path) -> None:
    path = folder / "checksums.json"
    path.write_text(path.read_text().replace("{", '{"config.json": "", ', 1))


JSON: dict[str, tuple[Attack, str]] = {
    "deep lists": (content("metrics.json", b"[" * 200_000), r"metrics\.json: is not JSON"),
    "deep objects": (content("config.json", b'{"a":' * 100_000 + b"1" + b"}" * 100_000), r"config\.json: is not JSON"),
    "rather deep": (at("provenance.x", json.loads("[" * 40 + "]" * 40)), r"nested deeper than 32"),
    "large": (padded, r"config\.json: has more than 4,194,304 bytes"),
    "many values": (content("metrics.json", b"[" + b"[]," * (2 << 20) + b"1]"), r"metrics\.json: has more than"),
    "large tokenizer": (
        lambda folder: os.truncate(folder / "joint.json", 1 << 40),
        r"joint\.json: has more than",
    ),
    "digits": (replaced("config.json", '"beam_size": 3', '"beam_size": ' + "3" * 1_000_000), r"1000000 digits"),
    "twenty digits": (replaced("config.json", '"beam_size": 3', '"beam_size": ' + "3" * 20), r"20 digits"),
    "NaN": (replaced("config.json", "0.6", "NaN"), r"config\.json: is not JSON \(NaN"),
    "Infinity": (replaced("config.json", "0.6", "-Infinity"), r"config\.json: is not JSON \(-Infinity"),
    "infinite": (replaced("config.json", "0.6", "1e999"), r"1e999 is no finite number"),
    "a key twice": (replaced("config.json", "{", '{"task": "tagging", '), r"the key 'task' is twice"),
    "a checksum twice": (doubled, r"checksums\.json: is not JSON \(the key 'config\.json' is twice"),
    "UTF-16": (
        lambda folder: edit(folder, "config.json", (folder / "config.json").read_text().encode("utf-16")),
        r"config\.json: is not JSON",
    ),
    "half a surrogate": (replaced("joint.json", '"a"', '"\\ud800"'), r"joint\.json: is not JSON .*surrogates"),
    "a null": (content("config.json", b"null"), r"config\.json: is not a JSON object"),
}


@pytest.mark.parametrize("name", JSON)
def test_json_bombs(folder: Path, name: str) -> None:
    attack, message = JSON[name]
    attack(folder)
    refused(folder, message)


SIZES: dict[str, tuple[Attack, str]] = {
    **{
        f"{place}={value}": (
            at(f"model.{place}", value),
            r"config\.json: .*(far more than the file|num_layers|at least)",
        )
        for place in ["encoder.hidden_size", "decoder.hidden_size", "embedding.size", "head.size", "encoder.num_layers"]
        for value in [10**9, 10**17]
    },
    **{
        f"{place}={value}": (at(f"model.{place}", value), r"config\.json: ")
        for place in ["encoder.hidden_size", "decoder.num_layers", "embedding.size"]
        for value in [-1, 0, 1.5, True, "9", None, -(10**17)]
    },
    "layers as many as bytes": (at("model.decoder.num_layers", 2**31), r"only \d+ tensors"),
    "search.beam_size": (at("search.beam_size", 10**9), r"search\.beam_size=1000000000: at most 1000 is allowed"),
    "search.max_length_extra": (at("search.max_length_extra", 10**15), r"search\.max_length_extra"),
    "search.max_length_ratio": (at("search.max_length_ratio", 1e300), r"search\.max_length_ratio"),
    "search.min_length": (at("search.min_length", 10**15), r"search\.min_length"),
    "a vocabulary": (at("sizes.target", 10**15), r"sizes\.target=1000000000000000, but the tokenizer"),
    "features": (at("sizes.features", -1), r"sizes\.features=-1"),
    "an unknown size": (at("sizes.os", 1), r"sizes\.os=1"),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_those_of_the_weights(folder: Path, name: str) -> None:
    attack, message = SIZES[name]
    attack(folder)
    refused(folder, message)


def test_images_and_attention_take_no_more_than_their_weights(folder: Path) -> None:
    image = node("encoder", "image", height=1 << 20, width=1 << 20, hidden_size=4)
    config(folder, lambda found: found.update(task="captioning", sizes={"features": 1 << 40, "target": 18}))
    config(folder, lambda found: found["model"].update(encoder=image))
    refused(folder, r"far more than the file of its weights")
    context = node("context", "additive", attention_size=10**7)
    config(folder, lambda found: found.update(task="translation", sizes={"source": 18, "target": 18}))
    config(folder, lambda found: found["model"].update(model_config() | {"context": context}))
    refused(folder, r"far more than the file of its weights")


TOKENIZERS: dict[str, tuple[dict[str, object], str]] = {
    "a line feed": ({"words": ["a\nb"]}, "not text of one line"),
    "words that are none": ({"words": [["a"], 1]}, "not text of one line"),
    "words of an object": ({"words": {"a": 1}}, "words must be a list"),
    "one word": ({"words": "abc"}, "words must be a list"),
    "lowercase of text": ({"lowercase": "no"}, "lowercase true or false"),
    "a word twice": ({"words": ["a", "a"]}, "is twice"),
    "another kind": ({"kind": "builtins.eval"}, "kind 'builtins.eval' is none of"),
    "a list for a kind": ({"kind": ["whitespace"]}, r"kind \['whitespace'\] is none of"),
    "another format": ({"format": 9}, "format 9"),
    "characters": ({"kind": "characters", "characters": ["ab"]}, "not text of one line"),
    "labels": ({"kind": "labels", "labels": ["a\nb"], "form": "one", "separator": "|", "none": "O"}, "one line"),
    "labels of a form": ({"kind": "labels", "labels": ["a"], "form": "os", "separator": "|", "none": "O"}, "form='os'"),
    "sentencepiece without a model": ({"kind": "sentencepiece"}, "sentencepiece model"),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokenizers(folder: Path, name: str) -> None:
    changes, message = TOKENIZERS[name]
    edit(folder, "joint.json", json.dumps(json.loads((folder / "joint.json").read_text()) | changes).encode())
    refused(folder, message)


def test_a_sentencepiece_model_that_is_none(folder: Path) -> None:
    import hashlib

    tokenizer = SentencePieceTrainer("char", None).train(["a man sees a dog"])
    Tokenizers(tokenizer, tokenizer, joint=True).save(folder)
    model, described = (folder / "joint.model").read_bytes(), json.loads((folder / "joint.json").read_text())
    for broken in (b"garbage", model[:-7], model[: len(model) // 2], model[1:], b"\xff" * 100):
        edit(folder, "joint.model", broken)
        digest = {"model_sha256": hashlib.sha256(broken).hexdigest()}
        edit(folder, "joint.json", json.dumps(described | digest).encode())
        refused(folder, "not a sentencepiece model|sizes.source=")


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_and_every_cut_is_seen(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    places = range(0, len(whole), max(1, len(whole) // 40))
    for place in places:
        (folder / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        refused(folder, r"(config|checksums|metrics|joint)\.json|is missing, or is no file|model.safetensors: ")
        (folder / name).write_bytes(whole[:place])
        refused(folder, r"(config|checksums|metrics|joint)\.json|is missing, or is no file|model.safetensors: ")


def test_an_unknown_file_is_not_read(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(bomb(folder.parent / "exploded"))
    (folder / "modeling.py").write_text("import os; os.system('touch exploded')")
    with watched():
        load_bundle(folder)


def test_arrays_of_features_are_not_unpickled(tmp_path: Path) -> None:
    from seq2seq.corpora.features import read_features
    from seq2seq.corpora.store import open_folder

    objects = np.array([Bomb(tmp_path / "exploded")], dtype=object)
    np.savez(tmp_path / "x.npz", features=objects)
    for side in ("source", "target"):
        for part in ("values", "offsets"):
            np.save(tmp_path / f"{side}.{part}.npy", objects, allow_pickle=True)
    (tmp_path / "pickle.npz").write_bytes(bomb(tmp_path / "exploded"))
    for path in (tmp_path / "x.npz", tmp_path / "pickle.npz"):
        with watched(), pytest.raises(UserError, match="of plain arrays"):
            list(read_features(path))
    with watched(), pytest.raises(UserError, match="is damaged"):
        open_folder(tmp_path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("force", ["0", "1"])
def test_a_checkpoint_is_tensors_and_plain_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: str) -> None:
    from seq2seq.bundle.weights import read_checkpoint

    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", force)
    path, mark = tmp_path / "last.ckpt", tmp_path / "exploded"
    whole = {"state_dict": {"a": torch.zeros(2)}, "epoch": 1, "hyper_parameters": {"class_path": "os.system"}}
    torch.save(whole, path)
    assert read_checkpoint(path)["epoch"] == 1  # such keys are data
    for poison in (whole | {"callbacks": Bomb(mark)}, Bomb(mark), {"state_dict": {"a": Bomb(mark)}}):
        torch.save(poison, path)
        with (
            watched(),
            pytest.raises(UserError, match=r"last\.ckpt: is damaged, or no checkpoint of tensors and plain types"),
        ):
            read_checkpoint(path)
    torch.save(whole, path)
    for broken in (bomb(mark), path.read_bytes()[:-50], b"", b"garbage"):
        path.write_bytes(broken)
        with watched(), pytest.raises(UserError, match=r"last\.ckpt: is damaged, or no checkpoint"):
            read_checkpoint(path)
    assert not mark.exists()
