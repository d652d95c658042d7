"""Convert Hydra's configuration to the plain dict that all other packages read; compose a configuration from
overrides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from seq2seq.cli.composing.asserting import keep_asserts
from seq2seq.cli.composing.hydra_errors import naming_hydra
from seq2seq.cli.composing.switching import spelled_for_hydra
from seq2seq.errors import UserError
from seq2seq.runtime.old_names import current
from seq2seq.runtime.paths import packaged
from seq2seq.runtime.redaction import environment, hide
from seq2seq.training.configuration.switched_off import filled

keep_asserts()
OmegaConf.register_new_resolver("oc.env", environment, replace=True)  # records which values are secret

UNUSED = ("cell",)  # nodes that only fill others: changing them would have no effect


def plain(config: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration as a dict, with interpolations resolved, without the nodes in UNUSED, and with defaults for
    parts that were switched off. Raises `UserError` for a value that is missing or cannot be resolved."""
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if key.partition(".")[0] in UNUSED and "." in key:
            raise UserError(
                f"{override}: the node `cell` only fills encoder.cell and decoder.cell; "
                f"set encoder.{key} or decoder.{key} (or both)"
            )
    with naming_hydra(overrides):
        if missing := sorted(OmegaConf.missing_keys(config)):
            raise UserError(f"{missing[0]}: a value is needed here: {missing[0]}=VALUE")
        settings: Any = OmegaConf.to_container(config, resolve=True)
    settings = current(settings)
    for key in UNUSED:
        settings.pop(key, None)
    if isinstance(wandb := (settings.get("logger") or {}).get("wandb"), dict) and not _named_by_default(config):
        wandb["name"] = wandb.get("name") or settings["name"]  # a given name takes precedence over WANDB_NAME
    settled = filled(settings)
    if settled["init_from"] is not None:
        from seq2seq.training.start.init_from import adopted  # imports torch

        settled = adopted(settled, overrides)
    return {**settled, "name": hide(settled["name"])}


def _named_by_default(config: DictConfig) -> bool:
    """Whether the name is the default of conf/train.yaml, made from the chosen model and data."""
    unresolved: Any = OmegaConf.to_container(config, resolve=False)
    return "${hydra:runtime.choices.model}" in str(unresolved["name"])


@contextmanager
def composing() -> Iterator[None]:
    """A context in which `composed` can be called: Hydra uses the project's configuration files."""
    with initialize_config_dir(str(packaged("conf")), version_base="1.3"):
        yield


def composed(overrides: Sequence[str]) -> dict[str, Any]:
    """The plain configuration that `seq2seq train OVERRIDES` would train with.

    Raises `UserError` with Hydra's message for an override with an unknown key or a wrong type.
    """
    with naming_hydra(overrides):
        config = compose("train", overrides=spelled_for_hydra(overrides), return_hydra_config=True)
        HydraConfig.instance().set_config(config)  # for interpolations of ${hydra:…}
        with open_dict(config):
            del config["hydra"]
        return plain(config, overrides)
