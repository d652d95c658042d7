"""Answers that are sent as they are found: JSON documents, one a line, of which the last one is the complete answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from seq2seq.errors import UserError

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""No proxy is to collect the lines first; the second one is nginx's."""


class Updates:
    """What a thread finds, for a task of the event loop: of each line the newest only, so that a client that reads
    slowly holds nothing up."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._newest: dict[int, Any] = {}

    def put(self, line: int, update: Any) -> None:
        """Note what was found for a line, from any thread."""
        self._loop.call_soon_threadsafe(self._set, line, update)

    def _set(self, line: int, update: Any) -> None:
        self._newest[line] = update
        self._changed.set()

    async def until(self, job: asyncio.Future[Any]) -> AsyncIterator[Any]:
        """The updates, until a job is done."""
        job.add_done_callback(lambda _: self._changed.set())
        while True:
            await self._changed.wait()
            self._changed.clear()
            newest, self._newest = self._newest, {}
            if job.done():
                return
            for update in newest.values():
                yield update


async def updated(job: Awaitable[Any], updates: Updates) -> AsyncGenerator[Any, None]:
    """The updates, and then the result of a job. It is cancelled where the generator is closed."""
    running = asyncio.ensure_future(job)
    try:
        async for update in updates.until(running):
            yield update
        yield await running
    finally:
        running.cancel()


class Lines(StreamingResponse):
    """A response of JSON documents, one a line, each sent at once. An error before the first has the status of
    the request; a mistake that is found later is the last line, {"detail": …}."""

    media_type = "application/x-ndjson"

    def __init__(self, documents: AsyncGenerator[Any, None]) -> None:
        super().__init__(documents, headers=HEADERS)
        self.documents = documents

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        async with aclosing(self.documents) as documents:
            first = await anext(documents)
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send(_line(first))
            try:
                async for document in documents:
                    await send(_line(document))
            except UserError as error:
                await send(_line({"detail": str(error)}))
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _line(document: Any) -> dict[str, Any]:
    content = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return {"type": "http.response.body", "body": f"{content}\n".encode(), "more_body": True}
