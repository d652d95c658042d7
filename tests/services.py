"""A service of small random bundles in the process, for the tests of its endpoints."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from seq2seq.serving.app import Service, make_app
from seq2seq.serving.hosted import Catalogue
from seq2seq.serving.limits import Limits
from seq2seq.serving.server import load
from seq2seq.text import CharacterTokenizer
from tests import captions
from tests.bundles import save
from tests.labels import save_labelling, save_language_model

Answer = httpx.Response
NAMES = ("attention", "fixed", "slots", "intents", "letters", "digits")


def save_all(root: Path) -> None:
    """Write a bundle for each of NAMES."""
    save(root / "attention" / "bundle", context="additive")
    save(root / "fixed" / "bundle", seed=1)
    save_labelling(root / "slots" / "bundle", "tagging")
    save_labelling(root / "intents" / "bundle", "classification")
    save_language_model(root / "letters" / "bundle", CharacterTokenizer("abcdef "))
    captions.save(root / "digits" / "bundle")


@cache
def catalogue(folder: Path, names: tuple[str, ...], limits: Limits) -> Catalogue:
    return load([folder / name / "bundle" for name in names], limits)


def use(
    folder: Path,
    what: Callable[[httpx.AsyncClient, Service], Awaitable[Any]],
    *,
    names: tuple[str, ...] = NAMES,
    token: str | None = None,
    **limits: Any,
) -> Any:
    """Run `what` with a client of a service of the bundles."""

    async def main() -> Any:
        given = Limits(**limits)
        service = Service(catalogue(folder, names, given), given)
        transport = httpx.ASGITransport(make_app(service, token))
        async with (
            service.lifespan(None),
            httpx.AsyncClient(transport=transport, base_url="http://test") as client,
        ):
            return await what(client, service)

    return asyncio.run(main())


def post(folder: Path, path: str, body: Any, **options: Any) -> Answer:
    async def what(client: httpx.AsyncClient, service: Service) -> Answer:
        return await client.post(path, json=body)

    answer: Answer = use(folder, what, **options)
    return answer


def results(folder: Path, path: str, body: Any, **options: Any) -> Any:
    answer = post(folder, path, body, **options)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def opened(app: Any, path: str, body: Any, left: asyncio.Event) -> tuple[asyncio.Task[None], list[Any]]:
    """A request by the messages of ASGI, as uvicorn sends them, and what it was sent; the client leaves when `left` is
    set."""
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": json.dumps(body).encode()}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b""}
    return asyncio.create_task(app(scope, receive, send)), sent
