"""Users without a name, a home folder, or a folder that can be written."""

import getpass
import os
import tempfile
from pathlib import Path

import pytest

from seq2seq.cli.main import main
from seq2seq.runtime import home, paths


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """The environment is restored, and nothing is remembered."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith(("SEQ2SEQ_", "XDG_", "WANDB_", "MPL"))]:
        del os.environ[name]
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for function in (home.settle, home.fallback, paths._say):
        function.cache_clear()
    yield tmp_path
    os.environ.clear()
    os.environ.update(before)
    for function in (home.settle, home.fallback, paths._say):
        function.cache_clear()


@pytest.mark.parametrize("value", [None, ""])
def test_an_unknown_user_is_given_a_name_and_a_home(value, temporary, monkeypatch, capsys):
    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        os.environ.pop(name, None)
    if value is not None:
        os.environ["HOME"] = value
    with pytest.raises((KeyError, OSError)):
        getpass.getuser()
    assert paths.cache_root().is_relative_to(home.fallback())
    assert paths.data_root().is_relative_to(home.fallback())
    assert getpass.getuser() == f"uid{os.getuid()}"
    assert Path.home() == home.fallback() == temporary / f"seq2seq-{os.getuid()}"
    assert home.fallback().stat().st_mode & 0o777 == 0o700
    assert capsys.readouterr().err.count("there is no home folder") == 1


def test_a_user_with_a_home_keeps_everything(temporary, monkeypatch):
    os.environ["HOME"] = str(temporary)
    before = dict(os.environ)
    assert not home.settle()
    assert dict(os.environ) == before


def test_libraries_write_elsewhere_where_the_home_cannot_be_written(temporary):
    os.environ |= {"HOME": "/dev/null", "WANDB_CACHE_DIR": "mine"}
    assert not home.settle()
    assert os.environ["HOME"] == "/dev/null"
    assert os.environ["WANDB_CACHE_DIR"] == "mine"
    for name in ("MPLCONFIGDIR", "WANDB_DATA_DIR"):
        assert Path(os.environ[name]).is_relative_to(temporary)


def test_a_cache_that_cannot_be_written(temporary, capsys):
    os.environ["SEQ2SEQ_CACHE"] = "/dev/null/x"
    for name in ("a", "b"):
        assert paths.cached("encoded", name) == home.fallback() / "cache" / "encoded" / name
    assert capsys.readouterr().err.count("/dev/null/x: cannot be written; the cache is in ") == 1


def test_what_is_in_a_cache_that_cannot_be_written_is_used(temporary, monkeypatch, capsys):
    os.environ["SEQ2SEQ_CACHE"] = str(temporary / "cache")
    place = paths.cached("encoded", "a")
    place.mkdir()
    monkeypatch.setattr(home, "writable", lambda folder: folder.name != "encoded")
    assert paths.cached("encoded", "a") == place
    assert paths.cached("encoded", "b") == home.fallback() / "cache" / "encoded" / "b"
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["open", "link", "file"])
def test_a_folder_of_another_user_is_not_used(kind, temporary):
    name = temporary / f"seq2seq-{os.getuid()}"
    if kind == "open":
        name.mkdir()
        name.chmod(0o777)
    elif kind == "link":
        (temporary / "elsewhere").mkdir()
        name.symlink_to(temporary / "elsewhere")
    else:
        name.touch()
    assert home.fallback() != name
    assert home.writable(home.fallback())


@pytest.mark.parametrize(("mode", "key"), [([], "hydra.run.dir"), (["-m", "seed=1,2"], "hydra.sweep.dir")])
def test_a_folder_that_cannot_be_made_is_refused_in_one_line(mode, key, capsys):
    assert main(["train", *mode, f"{key}=/dev/null/x"]) == 2
    found = capsys.readouterr().err
    assert (
        found == f"seq2seq: error: /dev/null/x: no files can be made in this folder; choose another with {key}=FOLDER\n"
    )


def test_a_name_that_cannot_be_resolved_is_refused_in_one_line(capsys):
    assert main(["train", "name=${oc.env:NOT_SET_ANYWHERE}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("seq2seq: error: hydra.run.dir: ")
    assert "NOT_SET_ANYWHERE" in line
