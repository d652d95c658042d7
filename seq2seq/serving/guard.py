"""Guards the endpoints: token, limits of body and time, clients that leave, metrics.

It is plain ASGI. The body is read completely first, within its limit; then the endpoint runs while the connection is
watched: if the client leaves, the endpoint is cancelled, and its lines leave the queue.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from starlette.responses import JSONResponse

from seq2seq.serving.limits import Limits
from seq2seq.serving.metrics import Metrics

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

OPEN = ("/", "/health")
"""Paths that need no token."""


class RefusedError(Exception):
    """A request that is refused before its endpoint is called."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.response = JSONResponse({"detail": detail}, status, headers)


class ClientLeftError(Exception):
    """The client closed the connection before the answer."""


class Guard:
    """Wraps an ASGI application. `paths` are those that metrics name; others count as "other"."""

    def __init__(self, app: App, limits: Limits, metrics: Metrics, token: str | None, paths: Collection[str]) -> None:
        self.app = app
        self.limits = limits
        self.metrics = metrics
        self.token = token
        self.paths = paths

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request, or pass on what is no HTTP request, such as the lifespan."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin, status, streams = time.monotonic(), 0, False

        async def counted(message: Message) -> None:
            nonlocal status, streams
            if message["type"] == "http.response.start":
                status, streams = message["status"], b"content-length" not in dict(message["headers"])
            await send(message)

        try:
            await self._answer(scope, receive, counted)
        except RefusedError as refused:
            if not status:
                await refused.response(scope, receive, counted)
            elif streams:  # of JSON documents, one a line: this is the last one
                await send({"type": "http.response.body", "body": bytes(refused.response.body) + b"\n"})
        except ClientLeftError:
            self.metrics.cancelled.inc()
        finally:
            if status:
                self._count(scope["path"], status, time.monotonic() - begin)

    def _count(self, path: str, status: int, seconds: float) -> None:
        endpoint = path if path in self.paths else "other"
        self.metrics.requests.labels(endpoint, str(status)).inc()
        self.metrics.seconds.labels(endpoint).observe(seconds)

    async def _answer(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        self._check_token(scope)
        try:
            async with asyncio.timeout(self.limits.timeout):
                body = await self._body(scope, receive)
                await self._while_connected(scope, body, receive, send)
        except TimeoutError:
            seconds = f"{self.limits.timeout:g}"
            detail = f"the answer took longer than {seconds} seconds; send fewer or shorter texts, or a smaller beam"
            raise RefusedError(503, detail, {"Retry-After": "1"}) from None

    def _check_token(self, scope: MutableMapping[str, Any]) -> None:
        if self.token is None or scope["path"] in OPEN:
            return
        given = dict(scope["headers"]).get(b"authorization", b"")
        if not hmac.compare_digest(given, b"Bearer " + self.token.encode()):
            detail = "this service needs its token, in the header Authorization: Bearer TOKEN"
            raise RefusedError(401, detail, {"WWW-Authenticate": "Bearer"})

    async def _body(self, scope: MutableMapping[str, Any], receive: Receive) -> bytes:
        """The body of the request. Raises `RefusedError` for one above the limit, without reading it to its end."""
        detail = f"the body has more than {self.limits.body:,} bytes; send fewer texts at once"
        declared = dict(scope["headers"]).get(b"content-length", b"")
        if declared.isdigit() and int(declared[:20]) > self.limits.body:
            raise RefusedError(413, detail, {"Connection": "close"})
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientLeftError
            body += message.get("body", b"")
            if len(body) > self.limits.body:
                raise RefusedError(413, detail, {"Connection": "close"})
            if not message.get("more_body", False):
                return bytes(body)

    async def _while_connected(
        self, scope: MutableMapping[str, Any], body: bytes, receive: Receive, send: Send
    ) -> None:
        """Run the application, and cancel it if the client leaves. Raises `ClientLeftError` then."""
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        left = asyncio.ensure_future(_until_left(receive))

        async def replay() -> Message:
            return messages.pop() if messages else await asyncio.shield(left)

        answer = asyncio.ensure_future(self.app(scope, replay, send))
        try:
            await asyncio.wait({answer, left}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise ClientLeftError
            answer.result()
        finally:
            for task in (answer, left):
                task.cancel()
            await asyncio.gather(answer, left, return_exceptions=True)


async def _until_left(receive: Receive) -> Message:
    """Wait for the message that the client has closed the connection."""
    while (message := await receive())["type"] != "http.disconnect":
        pass
    return message
