"""What a wandb run will be: from the configuration's `logger.wandb`, wandb's variables and its settings file.

`wandb.api` and `wandb.setup` load wandb's settings once for the whole process; what is decided here reads a copy of its
own, so that `wandb.init` still sees the environment as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq.errors import UserError
from seq2seq.models.factory import check_key
from seq2seq.runtime.redaction import SECRET

OPTIONS = {"project": "project", "entity": "entity", "group": "run_group", "name": "run_name", "id": "run_id"}
"""Options that are one text, each with its name in wandb's settings."""

KEYS = (*OPTIONS, "tags", "mode")
MODES = ("online", "offline", "disabled", "shared")
ALIASES = {"dryrun": "offline", "run": "online"}
PROJECT = "seq2seq"
LONGEST = 128  # characters of a project, entity, group or name; wandb's server refuses longer ones
REFUSED = set("/\\#?%:")  # in a project or entity, for they are part of an address


class WandbOptions(NamedTuple):
    """How a run is started. None: wandb's own default, or what the caller puts there."""

    mode: str  # one of MODES
    project: str
    entity: str | None
    group: str | None
    name: str | None
    id: str | None
    tags: tuple[str, ...]
    root: str | None  # WANDB_DIR
    settings: Mapping[str, Any]  # of those that this project sets itself, the ones that the user has set


def resolve(options: Mapping[str, Any] | None) -> WandbOptions:
    """The options of a run: an option that is given, else the environment's or the settings file's value.

    Raises `UserError` for an unknown key, a value that wandb would refuse, and a server that is asked for without an
    account.
    """
    options = options or {}
    for key in options:
        check_key(str(key), KEYS, "logger.wandb", "wandb")
    settings = read_settings()
    texts = {key: _text(options, key, settings) for key in OPTIONS}
    given = options.get("tags")
    tags = settings.run_tags if given is None else tuple(_assign(settings, "run_tags", given, "logger.wandb.tags"))
    own = ("silent", "console", "init_timeout", "finish_timeout")
    chosen = {key: getattr(settings, key) for key in own if key in settings.model_fields_set}
    root = settings.root_dir if os.environ.get("WANDB_DIR") else None
    project = texts.pop("project") or PROJECT
    return WandbOptions(_mode(options, settings), project, **texts, tags=tags or (), root=root, settings=chosen)


def read_settings() -> Any:
    """wandb's settings from its files and the environment: a copy of their own, as `wandb.setup` would load them.

    Raises `UserError` for an environment variable whose value wandb refuses.
    """
    import wandb

    settings = wandb.Settings(quiet=True)  # the files are not announced
    settings.settings_system = str(Path(os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb") / "settings")
    settings.update_from_system_settings()
    for name, value in os.environ.items():
        if name.startswith("WANDB_") and value:
            with _refusing(name, value):
                settings.update_from_env_vars({name: value})
    return settings


def empty_variables() -> list[str]:
    """wandb's variables that are set to nothing: a shell's way to say "not set", but wandb refuses some of them."""
    return [name for name, value in os.environ.items() if name.startswith("WANDB_") and not value]


def sweep_names(options: Mapping[str, Any] | None, *, run: str, sweep: str) -> dict[str, Any]:
    """The options of one run of a sweep: its group is the sweep, and no two runs have the same name or id."""
    named = dict(options or {})
    named["group"] = named.get("group") or os.environ.get("WANDB_RUN_GROUP") or sweep[:LONGEST]
    for key, variable in (("name", "WANDB_NAME"), ("id", "WANDB_RUN_ID")):
        if value := named.get(key) or os.environ.get(variable):
            named[key] = f"{value}-{run}"
    return named


@contextmanager
def _refusing(where: str, value: object) -> Iterator[None]:
    """Turn wandb's refusal of a value into a `UserError` that says where it was given."""
    from wandb.errors import Error

    try:
        yield
    except (Error, ValueError) as error:
        shown = where if SECRET.search(where) else f"{where}={value!r}"
        raise UserError(f"{shown}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """The reason in one line; pydantic's own message has several."""
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        return str(error.errors()[0]["msg"]).removeprefix("Value error, ")
    return str(error)


def _assign(settings: Any, name: str, value: object, where: str) -> Any:
    with _refusing(where, value):
        setattr(settings, name, value)
    return getattr(settings, name)


def _text(options: Mapping[str, Any], key: str, settings: Any) -> str | None:
    """An option that is one text: as given, else wandb's own setting."""
    name, where = OPTIONS[key], f"logger.wandb.{key}"
    value: str | None = options.get(key)
    if value is not None:
        _assign(settings, name, value, where)
    else:
        value, where = getattr(settings, name), "WANDB_NAME" if key == "name" else f"WANDB_{name.upper()}"
    if value is not None and not 0 < len(value) <= LONGEST:
        raise UserError(f"{where}={value!r}: must have 1 to {LONGEST} characters, and has {len(value)}")
    if key == "entity" and (refused := REFUSED & set(value or "")):
        raise UserError(f"{where}={value!r}: cannot contain {' '.join(sorted(refused))}")
    return value


def _mode(options: Mapping[str, Any], settings: Any) -> str:
    """One of MODES; without anything that chooses, offline unless an account is logged in."""
    asked, where = options.get("mode"), "logger.wandb.mode"
    if asked is not None and asked not in (*MODES, *ALIASES):
        raise UserError(f"{where}={asked!r}: must be one of {', '.join(MODES)}, or null")
    if asked is None and _disabled():
        return "disabled"
    if asked is None and "mode" in settings.model_fields_set:
        asked, where = settings.mode, "WANDB_MODE" if os.environ.get("WANDB_MODE") else "mode in wandb's settings file"
    if asked is None:
        return "online" if logged_in(settings) else "offline"
    mode: str = ALIASES.get(asked, asked)
    if mode in ("online", "shared") and not logged_in(settings):
        raise UserError(
            f"{where}={asked}: no account is logged in to {settings.base_url}; run `wandb login`, set WANDB_API_KEY, "
            "or choose the mode offline"
        )
    return mode


def _disabled() -> bool:
    """WANDB_DISABLED, which is Hugging Face's switch and was wandb's."""
    from wandb.env import strtobool

    value = os.environ.get("WANDB_DISABLED") or "false"
    disabled = False
    with _refusing("WANDB_DISABLED", value):
        disabled = strtobool(value)
    return disabled


def logged_in(settings: Any) -> bool:
    """Whether wandb would find an account: of this session, a variable, the settings file or a netrc file.

    Raises `UserError` for a key that wandb refuses.
    """
    from wandb.errors import AuthenticationError
    from wandb.sdk.lib import wbauth

    host = settings.base_url
    try:
        if settings.api_key and settings.identity_token_file:
            raise AuthenticationError("an API key and WANDB_IDENTITY_TOKEN_FILE are both set; keep one of them")
        if settings.api_key:
            wbauth.AuthApiKey(host=host, api_key=settings.api_key)
        credentials = settings.api_key or settings.identity_token_file or wbauth.session_credentials(host=host)
        return bool(credentials or wbauth.read_netrc_auth(host=host))
    except AuthenticationError as error:
        where = "WANDB_API_KEY" if os.environ.get("WANDB_API_KEY") else "wandb's account"
        raise UserError(f"{where}: {error}") from None
