"""Hydra's work for a configuration that was composed before, a quarter of the time of a short run, is done once.

Whenever it composes it parses some forty files, each override and, with OmegaConf, each interpolation. What it composes
depends on the files and on the choices of groups; the values of keys are set afterwards.
"""

import copy
import os
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.defaults_list import DefaultsList, create_defaults_list
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, base

from seq2seq.runtime.paths import packaged

_lists: dict[Any, DefaultsList] = {}
_composed: dict[int, DictConfig | None] = {}
_parsed: dict[str, Any] = {}
_loaded: dict[tuple[Any, ...], Any] = {}
_compose, _parse = ConfigLoaderImpl._compose_config_from_defaults_list, OverridesParser.parse_rule
_load, _interpolation = OmegaConf.load, base.parse


def _defaults_list(repo: Any, config_name: str, overrides_list: Sequence[Any], **options: bool) -> DefaultsList:
    """Instead of `create_defaults_list`."""
    words = [each for each in overrides_list if not each.is_sweep_override()]
    groups = [each for each in words if repo.group_exists(each.key_or_group)]
    sources = tuple(source.full_path() for source in repo.get_sources())
    others = [path for path in sources if path.startswith("file://") and path != f"file://{packaged('conf')}"]
    if others or any(isinstance(each.value(), dict) for each in groups):
        return create_defaults_list(repo, config_name, overrides_list, **options)  # files that a test may change
    key = (sources, config_name, tuple(each.input_line for each in groups), *options.values())
    if key not in _lists:
        _lists[key] = create_defaults_list(repo, config_name, groups, **options)
        _composed[id(_lists[key].defaults)] = None
    found = copy.copy(_lists[key])
    found.config_overrides = [each for each in words if not any(each is group for group in groups)]
    return found


def _compose_once(self: Any, defaults: list[Any], repo: Any) -> DictConfig:
    """Instead of the method that puts files together."""
    if id(defaults) not in _composed:
        return _compose(self, defaults, repo)
    if _composed[id(defaults)] is None:
        _composed[id(defaults)] = _compose(self, defaults, repo)
    return copy.deepcopy(_composed[id(defaults)])


def _parse_once(self: Any, text: str, rule: str) -> Any:
    """Instead of the method that parses an override; what it returns is changed afterwards."""
    if rule != "override" or "(" in text:  # a function may draw by lot
        return _parse(self, text, rule)
    if text not in _parsed:
        _parsed[text] = _parse(self, text, rule)
    return copy.copy(_parsed[text])


def _load_once(file: Any) -> Any:
    """Instead of `OmegaConf.load`; a file that was changed is parsed anew."""
    if not hasattr(file, "fileno"):
        return _load(file)
    stat = os.fstat(file.fileno())
    version = (file.name, stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size)
    if version not in _loaded:
        _loaded[version] = _load(file)
    return copy.deepcopy(_loaded[version])


def composing_quickly(patch: pytest.MonkeyPatch) -> None:
    """Let Hydra and OmegaConf parse and compose once what they would parse and compose again and again."""
    patch.setattr(config_loader_impl, "create_defaults_list", _defaults_list)
    patch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", _compose_once)
    patch.setattr(OverridesParser, "parse_rule", _parse_once)
    patch.setattr(OmegaConf, "load", staticmethod(_load_once))
    patch.setattr(base, "parse", cache(_interpolation))


def composing_slowly(patch: pytest.MonkeyPatch) -> None:
    """Let them work as they do for a user."""
    patch.setattr(config_loader_impl, "create_defaults_list", create_defaults_list)
    patch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", _compose)
    patch.setattr(OverridesParser, "parse_rule", _parse)
    patch.setattr(OmegaConf, "load", staticmethod(_load))
    patch.setattr(base, "parse", _interpolation)
