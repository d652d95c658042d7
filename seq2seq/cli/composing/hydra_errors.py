"""Convert errors of Hydra and OmegaConf to one-line messages: the override, what is wrong with it, the nearest right
one."""

from __future__ import annotations

import difflib
import re
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from seq2seq.cli.composing.other_names import overrides_of
from seq2seq.errors import UserError
from seq2seq.runtime.paths import PACKAGE
from seq2seq.training.configuration.option_catalogue import nearest
from seq2seq.training.configuration.option_rules import TRAINER

NOISE = re.compile(r"\s*(Config search path:.*|See https?://\S+.*|object_type=\S+|reference_type=\S+)", re.DOTALL)
QUOTE = "a value with other signs than letters, digits and -_./:%+@ is quoted for Hydra, and for the shell: \"KEY='…'\""


@contextmanager
def naming_hydra(overrides: Sequence[str]) -> Iterator[None]:
    """A context that converts Hydra's errors for these overrides to `UserError`.

    Errors raised by this project's code are not converted.
    """
    try:
        yield
    except UserError:
        raise
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explained(error, overrides)) from None
    except OSError as error:
        if error.filename is None:
            raise
        raise UserError(
            f"{error.filename}: {error.strerror}; choose another folder (hydra.run.dir=…, hydra.sweep.dir=…)"
        ) from None
    except Exception as error:
        if _is_of_this_project(error):
            raise
        raise UserError(explained(error, overrides)) from None


def explained(error: BaseException, overrides: Iterable[str]) -> str:
    """The message for an error of Hydra's, with the nearest known name if one was mistyped."""
    if isinstance(error, OverrideParseException):
        return f"{error.override}: Hydra cannot read this override ({_reason(error)}); {_remedy(error.override)}"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _missing(error)
    if str(error).startswith("Config group override must be"):
        return _no_group(overrides) or one_line(error)
    if missing := re.match(r"Could not delete (?:from config\. )?'(.*?)'", str(error)):
        return f"~{missing[1]}: there is nothing to remove (it is null already, or does not exist); leave it out"
    near = [f"{key}: there is no such option; did you mean {option}?" for key, option in _mistyped(overrides)]
    return "; ".join([one_line(error), *near])


def one_line(error: BaseException) -> str:
    """An error's message and cause in one line, without Hydra's internal details."""
    lines = [line.strip() for line in NOISE.sub("", str(error)).split("\n") if line.strip()]
    place = [line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")]
    lines = [line for line in lines if not line.startswith("full_key: ")]
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException) and (reason := str(cause).partition("\n")[0]) not in lines:
        lines.append(f"({reason})")
    if not lines:
        return type(error).__name__
    known = isinstance(error, (HydraException, OmegaConfBaseException))
    if isinstance(error, InterpolationResolutionError) and "Environment variable" in lines[0]:
        lines[0] = f"{lines[0]}; set it, or give the key a value"
    lines[0] = "".join(f"{key}: " for key in place[:1] if key not in lines[0]) + lines[0]
    return " ".join(lines) if known else f"Hydra: {type(error).__name__}: {' '.join(lines)}"


def _reason(error: OverrideParseException) -> str:
    """Hydra's reason in one line; for a wrong character, which Hydra marks with an arrow below it, the character."""
    first, *others = NOISE.sub("", error.message).split("\n")
    if first.startswith("Lexer") and others:
        column = others[0].find("^") - len(first) + len(error.override)
        return f"{error.override[column : column + 1]!r} is not allowed there"
    lines = [first, *others] if not first.startswith("Error parsing override") else others
    return " ".join(line.strip() for line in lines if line.strip())


def _remedy(override: str) -> str:
    return QUOTE if "=" in override else "write KEY=VALUE, or ~KEY to remove a key"


def _missing(error: MissingConfigException) -> str:
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    options = [*map(str, error.options or ())]
    if not group:
        return f"--config-name {name}: there is no such file; leave it out, or give --config-dir the folder it is in"
    near = next(iter(difflib.get_close_matches(name, options, 1)), None)
    guess = f"did you mean {group}={near}? " if near else ""
    if here := overrides_of(group, name):
        guess = f"here it is {here}; "
    return f"{group}={name}: there is no such option; {guess}{group} has {', '.join(options) or 'none'}"


def _no_group(overrides: Iterable[str]) -> str | None:
    for override in overrides:
        key, _, value = override.partition("=")
        if value == "null" or not key.strip("+~"):
            return f"{override}: Hydra cannot read this override; ~GROUP switches a group off, KEY=VALUE sets a key"
    return None


def _mistyped(overrides: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Unknown keys, each with the nearest known one."""
    for override in overrides:
        key, sign, _ = override.partition("=")
        known = key.startswith("hydra") or key.removeprefix("trainer.") in TRAINER
        if sign and key[:1] not in "+~-" and "@" not in key and not known and (near := nearest(key)):
            yield key, near


def _is_of_this_project(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(PACKAGE)
