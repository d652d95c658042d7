"""What wandb is asked for: the configuration first, then wandb's variables, its settings file and its accounts."""

import os

import pytest

from seq2seq.cli.composing.configurations import composed, composing
from seq2seq.cli.composing.job_status import name_after_sweep
from seq2seq.errors import UserError
from seq2seq.training.configuration.wandb_options import resolve
from tests.wandb_file import without_account

KEY = "a" * 40


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    without_account(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)  # wandb also reads ./wandb/settings
    return tmp_path


def test_offline_unless_somebody_is_logged_in(home):
    options = resolve({})
    assert (options.mode, options.project, options.group, options.tags) == ("offline", "seq2seq", None, ())
    (home / ".netrc").write_text(f"machine api.wandb.ai\n  login user\n  password {KEY}\n")
    assert resolve({}).mode == "online"


def test_deciding_leaves_wandb_as_it_was():
    import wandb

    before = dict(os.environ)
    resolve({})
    assert wandb.sdk.wandb_setup.singleton().settings_if_loaded is None
    assert dict(os.environ) == before


def test_accounts_in_the_environment_and_the_settings_file(home, monkeypatch):
    settings = home / ".config" / "wandb" / "settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"[default]\napi_key = {KEY}\nproject = mine\n")
    assert (resolve({}).mode, resolve({}).project) == ("online", "mine")
    settings.write_text("[default]\nmode = offline\n")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert resolve({}).mode == "offline"  # `wandb offline` was said
    settings.unlink()
    assert resolve({}).mode == "online"


@pytest.mark.parametrize(
    ("environment", "given", "mode"),
    [
        ({"WANDB_MODE": "disabled"}, {}, "disabled"),
        ({"WANDB_MODE": "offline", "WANDB_API_KEY": KEY}, {}, "offline"),
        ({"WANDB_MODE": "dryrun"}, {}, "offline"),
        ({"WANDB_MODE": "run", "WANDB_API_KEY": KEY}, {}, "online"),
        ({"WANDB_MODE": "shared", "WANDB_API_KEY": KEY}, {}, "shared"),
        ({"WANDB_MODE": ""}, {}, "offline"),
        ({"WANDB_DISABLED": "true"}, {}, "disabled"),
        ({"WANDB_DISABLED": "1", "WANDB_MODE": "online"}, {}, "disabled"),
        ({"WANDB_DISABLED": "false"}, {}, "offline"),
        ({"WANDB_MODE": "disabled"}, {"mode": "offline"}, "offline"),
        ({"WANDB_API_KEY": KEY}, {"mode": "disabled"}, "disabled"),
    ],
)
def test_modes(environment, given, mode, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert resolve(given).mode == mode


def test_what_is_given_wins_over_the_environment(monkeypatch):
    for name, value in {"PROJECT": "p", "RUN_GROUP": "g", "TAGS": "s,t", "NAME": "n", "ENTITY": "e"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    found = resolve({})
    assert (found.project, found.group, found.tags, found.name, found.entity) == ("p", "g", ("s", "t"), "n", "e")
    found = resolve({"project": "q", "group": "h", "tags": [], "name": "m", "entity": "f"})
    assert (found.project, found.group, found.tags, found.name, found.entity) == ("q", "h", (), "m", "f")


@pytest.mark.parametrize(
    ("environment", "given", "message"),
    [
        ({"WANDB_MODE": "ofline"}, {}, "WANDB_MODE='ofline'"),
        ({"WANDB_DISABLED": "maybe"}, {}, "WANDB_DISABLED='maybe'"),
        ({"WANDB_MODE": "online"}, {}, "WANDB_MODE=online: no account is logged in"),
        ({}, {"mode": "online"}, "logger.wandb.mode=online: no account is logged in"),
        ({}, {"mode": "ofline"}, "logger.wandb.mode='ofline': must be one of online"),
        ({"WANDB_PROJECT": "a/b"}, {}, "WANDB_PROJECT='a/b'"),
        ({}, {"project": "a/b"}, "logger.wandb.project='a/b'"),
        ({}, {"project": ""}, "logger.wandb.project=''"),
        ({}, {"project": "x" * 129}, "exceeded 128"),
        ({}, {"entity": "a/b"}, "logger.wandb.entity='a/b': cannot contain /"),
        ({}, {"group": "x" * 129}, "logger.wandb.group='x+': must have 1 to 128 characters"),
        ({"WANDB_RUN_GROUP": "x" * 129}, {}, "WANDB_RUN_GROUP='x+': must have 1 to 128 characters"),
        ({"WANDB_NAME": "x" * 129}, {}, "WANDB_NAME='x+': must have"),
        ({"WANDB_RUN_ID": "a/b"}, {}, "WANDB_RUN_ID='a/b'"),
        ({}, {"tags": ["x" * 65]}, "logger.wandb.tags=.*65 characters"),
        ({"WANDB_TAGS": "a,,b"}, {}, "WANDB_TAGS='a,,b'.*empty"),
        ({"WANDB_API_KEY": "short"}, {}, "^WANDB_API_KEY: API key must have 40"),
        ({"WANDB_API_KEY": KEY, "WANDB_IDENTITY_TOKEN_FILE": "file"}, {}, "WANDB_API_KEY: .*both set"),
        ({}, {"projekt": "x"}, "project"),
    ],
)
def test_what_wandb_would_refuse_is_refused_before_training(environment, given, message, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message) as raised:
        resolve(given)
    assert KEY not in str(raised.value)


def test_a_name_that_is_given_wins_over_the_environment():
    with composing():
        names = [composed(["logger=wandb", *more])["logger"]["wandb"]["name"] for more in ([], ["name=x"])]
    assert names == [None, "x"]


def test_runs_of_a_sweep_share_a_group_and_no_name(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_NAME", "n")
    monkeypatch.setenv("WANDB_RUN_ID", "i")
    found = []
    for job in "01":
        config = {"name": "x", "logger": {"wandb": {"project": None, "group": None}}}
        name_after_sweep(config, tmp_path / "sweep" / job, tmp_path / "sweep")
        options = resolve(config["logger"]["wandb"])
        found.append((config["name"], options.group, options.name, options.id))
    assert found == [("x-0", "sweep", "n-0", "i-0"), ("x-1", "sweep", "n-1", "i-1")]
    monkeypatch.setenv("WANDB_RUN_GROUP", "g")
    config = {"name": "x", "logger": {"wandb": None}}
    name_after_sweep(config, tmp_path / "sweep" / "2", tmp_path / "sweep")
    assert resolve(config["logger"]["wandb"]).group == "g"
