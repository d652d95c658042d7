"""Loads bundles and serves them with uvicorn until SIGINT or SIGTERM, which let requests end that have begun."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn

from seq2seq.bundle.format import Bundle, load_bundle
from seq2seq.errors import UserError
from seq2seq.runtime.malloc import keep_freed_memory
from seq2seq.runtime.threads import limit_threads, set_threads
from seq2seq.serving.app import Service, make_app
from seq2seq.serving.hosted import Catalogue, Hosted, names_of
from seq2seq.serving.labels import HostedPredictor
from seq2seq.serving.limits import Limits
from seq2seq.serving.samples import HostedSampler
from seq2seq.serving.translation import HostedCaptioner, HostedTranslator

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Models(NamedTuple):
    """How bundles are loaded: see `load_bundle` and `Translator`."""

    device: str = "cpu"
    threads: int | None = None
    trusted: Sequence[str] = ()
    max_source: int = 1024
    int8: bool = False


DEFAULTS = Models()


def load(folders: Sequence[Path | Sequence[Path]], limits: Limits, models: Models = DEFAULTS) -> Catalogue:
    """Load the bundles; several folders in place of one are an ensemble. Raises `UserError` as `load_bundle` does, and
    for an ensemble of a single bundle, or of bundles that cannot be one."""
    set_threads(models.threads)
    keep_freed_memory()
    return Catalogue(
        [
            _hosted(name, _loaded(folder, models), limits, models)
            if isinstance(folder, Path)
            else _ensemble(name, folder, limits, models)
            for name, folder in zip(names_of(folders), folders, strict=True)
        ]
    )


def _loaded(folder: Path, models: Models) -> Bundle:
    return load_bundle(folder, trusted=models.trusted, device=models.device)


def _ensemble(name: str, folders: Sequence[Path], limits: Limits, models: Models) -> HostedTranslator:
    if len(folders) < 2:
        raise UserError(f"--ensemble {folders[0]}: is one bundle; name the others of the ensemble after it")
    bundles = [_loaded(folder, models) for folder in folders]
    for folder, bundle in zip(folders, bundles, strict=True):
        if bundle.task != "translation":
            raise UserError(
                f"--ensemble {folder}: is a bundle of task={bundle.task}; ensembles are of task=translation"
            )
    first, *others = bundles
    return HostedTranslator(name, first, limits, models.max_source, models.int8, others, list(map(str, folders)))


def _hosted(name: str, bundle: Bundle, limits: Limits, models: Models) -> Hosted[Any]:
    if bundle.task == "translation":
        return HostedTranslator(name, bundle, limits, models.max_source, models.int8)
    if bundle.task == "captioning":
        return HostedCaptioner(name, bundle, limits)
    return (HostedSampler if bundle.task == "language_modeling" else HostedPredictor)(name, bundle, limits)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises `UserError` if the address is in use or is none of this machine's."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        reason = (
            os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        )  # Python adds the address
        raise UserError(
            f"--host {host} --port {port}: {reason}; choose another port (0 is any free one) or an address of "
            "this machine"
        ) from None
    except OverflowError:
        raise UserError(f"--port {port}: must be from 0 to 65535") from None


def serve(
    folders: Sequence[Path | Sequence[Path]],
    host: str,
    port: int,
    token: str | None,
    limits: Limits,
    models: Models = DEFAULTS,
) -> None:
    """Serve bundles until a signal; see the module."""
    listening = listen(host, port)
    catalogue = load(folders, limits, models)
    service = Service(catalogue, limits, prepare=partial(limit_threads, models.threads))
    config = uvicorn.Config(
        make_app(service, token),
        log_level="warning",
        timeout_graceful_shutdown=int(limits.timeout) + 5,
        server_header=False,
    )
    server = uvicorn.Server(config)
    _announce(catalogue, listening, host, token)
    signal.signal(signal.SIGTERM, lambda number, frame: None)  # uvicorn raises it again when it has drained
    server.run(sockets=[listening])


def _announce(catalogue: Catalogue, listening: socket.socket, host: str, token: str | None) -> None:
    port = listening.getsockname()[1]
    for model in catalogue.models.values():
        print(f"{model.name}: POST {model.endpoint} ({model.bundle.task})")
    address = f"[{host}]" if ":" in host else host
    print(f"seq2seq: http://{address}:{port}/ has the page; Ctrl-C ends it", flush=True)
    if host not in LOOPBACK and token is None:
        print(f"seq2seq: warning: --host {host} without --token: anyone can use it", file=sys.stderr)
