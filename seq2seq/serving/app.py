"""The application: endpoints over a catalogue of models, with OpenAPI at /openapi.json, and the page at /."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

import anyio
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from seq2seq import __version__
from seq2seq.errors import UserError
from seq2seq.serving import schemas
from seq2seq.serving.guard import App, Guard
from seq2seq.serving.hosted import Catalogue, NoModelError
from seq2seq.serving.limits import Limits
from seq2seq.serving.metrics import Metrics
from seq2seq.serving.page import page
from seq2seq.serving.scheduler import QueueFullError, Scheduler
from seq2seq.serving.updates import Lines, Updates, updated

ENDPOINTS: dict[str, tuple[type[schemas.Body], type[BaseModel]]] = {
    "/translate": (schemas.TranslateBody, schemas.SearchAnswer),
    "/label": (schemas.LabelBody, schemas.LabelAnswer),
    "/caption": (schemas.CaptionBody, schemas.SearchAnswer),
    "/sample": (schemas.SampleBody, schemas.SampleAnswer),
}
"""The endpoint of each kind of task, with its request and its answer."""

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": schemas.Problem, "description": description}
    for status, description in {
        400: "The body is not JSON.",
        401: "The token is missing or wrong.",
        404: "No such model is served.",
        413: "The body is too large.",
        422: "A mistake in the request.",
        429: "The queue is full.",
        503: "The answer took too long.",
    }.items()
}


STREAM: dict[str, Any] = {
    "description": "Lines of JSON: updates, and in the end the answer, or what went wrong.",
    "content": {
        Lines.media_type: {
            "schema": {
                "anyOf": [
                    schemas.TranslationUpdate.model_json_schema(),
                    *({"$ref": f"#/components/schemas/{each}"} for each in ("SearchAnswer", "Problem")),
                ]
            }
        }
    },
}
"""The answer of /translate/stream."""


class Service:
    """A catalogue of models with a queue and metrics; `prepare` is called first in the thread that computes."""

    def __init__(self, catalogue: Catalogue, limits: Limits, prepare: Callable[[], object] = lambda: None) -> None:
        self.catalogue = catalogue
        self.limits = limits
        self.metrics = Metrics(lambda: self.scheduler.waiting)
        self.scheduler = Scheduler(
            capacity=limits.queue, wait=limits.wait, prepare=prepare, observe=self.metrics.batches.observe
        )

    async def answer(self, endpoint: str, body: Any) -> dict[str, Any]:
        """The results for a request of an endpoint. Raises `UserError`, `NoModelError` and `QueueFullError`."""
        model = self.catalogue.choose(body.model, endpoint)
        work = await anyio.to_thread.run_sync(model.work, body)  # encoding many texts takes a while
        return {"model": model.name, "results": await self.scheduler.submit(*work)}

    async def stream(self, body: schemas.TranslateBody) -> AsyncGenerator[dict[str, Any], None]:
        """The best translations so far, as they are found, and then what `answer` returns. Raises what it does."""
        model, updates = self.catalogue.choose(body.model, "/translate"), Updates()
        work = await anyio.to_thread.run_sync(model.work, body)
        job = self.scheduler.submit(*model.watched(work, updates.put))
        async with aclosing(updated(job, updates)) as documents:
            async for each in documents:
                yield {"model": model.name, "results": each} if isinstance(each, list) else each

    async def predict(self, body: schemas.PredictBody) -> dict[str, Any]:
        """The outputs of a model of any task for inputs without options. Raises what `answer` does."""
        model = self.catalogue.choose(body.model)
        results = (await self.answer(model.endpoint, model.predict(body)))["results"]
        return {"model": model.name, "task": model.bundle.task, "outputs": [model.text(each) for each in results]}

    def models(self) -> dict[str, Any]:
        """The descriptions of all models."""
        return {"models": [model.describe() for model in self.catalogue.models.values()]}

    def health(self) -> dict[str, Any]:
        """The state of the service."""
        return {"status": "ok", "models": len(self.catalogue.models), "waiting": self.scheduler.waiting}

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Compute batches while the application runs."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.scheduler.run)
            yield
            tasks.cancel_scope.cancel()


def make_app(service: Service, token: str | None = None) -> App:
    """The ASGI application of a service; with a `token`, all but the page and /health need it."""
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] = service.lifespan
    app = FastAPI(
        title="seq2seq",
        version=__version__,
        description="Translations, labels, captions and samples of trained bundles.",
        docs_url=None,  # these pages would load scripts from the network
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    for path, (body, answer) in ENDPOINTS.items():
        endpoint = _endpoint(service, path, body)
        app.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            response_model=answer,
            response_model_exclude_unset=True,
            **_described(path, PROBLEMS),
        )
    _add_common(app, service)
    for error, status in ((UserError, 422), (NoModelError, 404), (QueueFullError, 429)):
        app.add_exception_handler(error, _refusal(status))
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    paths = {"/", "/openapi.json", *(path for path in app.openapi()["paths"])}
    return Guard(app, service.limits, service.metrics, token, paths)


def _endpoint(service: Service, path: str, body_type: type[schemas.Body]) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def endpoint(body: Any) -> Any:
        return await service.answer(path, body)

    endpoint.__annotations__["body"] = body_type
    return endpoint


def _add_common(app: FastAPI, service: Service) -> None:
    """Add the endpoints that do not belong to one task."""

    async def predict(body: schemas.PredictBody) -> Any:
        return await service.predict(body)

    async def stream(body: schemas.TranslateBody) -> Response:
        return Lines(service.stream(body))

    async def models() -> Any:
        return service.models()

    async def health() -> Any:
        return service.health()

    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def index() -> Response:
        content, policy = page()
        return HTMLResponse(content, headers={"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"})

    app.add_api_route(
        "/predict", predict, methods=["POST"], response_model=schemas.PredictAnswer, **_described("/predict", PROBLEMS)
    )
    app.add_api_route(
        "/translate/stream",
        stream,
        methods=["POST"],
        response_class=Response,  # one with a type would be described as a string
        **_described("/translate/stream", PROBLEMS | {200: STREAM}),
    )
    unauthorised: dict[int | str, dict[str, Any]] = {401: PROBLEMS[401]}
    app.add_api_route("/models", models, response_model=schemas.Models, **_described("/models", unauthorised))
    app.add_api_route("/health", health, response_model=schemas.Health, **_described("/health", {}))
    app.add_api_route("/metrics", metrics, response_class=PlainTextResponse, **_described("/metrics", unauthorised))
    app.add_api_route("/", index, include_in_schema=False)


SUMMARIES = {
    "/translate": "Translate texts",
    "/translate/stream": "Translate texts, and see them as they are found",
    "/label": "Label words or texts",
    "/caption": "Describe float sequences or images",
    "/sample": "Continue a text",
    "/predict": "The output of a model of any task",
    "/models": "The models that are served",
    "/health": "Whether the service is up",
    "/metrics": "Counters for Prometheus",
}


def _described(path: str, responses: dict[int | str, dict[str, Any]]) -> dict[str, Any]:
    return {"summary": SUMMARIES[path], "operation_id": path[1:].replace("/", "_"), "responses": responses}


def _refusal(status: int) -> Callable[[Request, Exception], Coroutine[Any, Any, Response]]:
    headers = {"Retry-After": "1"} if status == 429 else None

    async def handle(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(UserError(str(error)))}, status, headers)  # one line, of limited length

    return handle


async def _invalid(request: Request, error: Any) -> Response:
    """The first mistake in one line, without the input, which may be large."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body")
    detail = f"{place}: {first['msg']}" if place else first["msg"]
    if first["type"] == "json_invalid":
        detail = f"the body is not JSON: {first['ctx']['error']}, at character {place}"
    elif not place and "json" not in request.headers.get("Content-Type", ""):
        detail = "the body is JSON, and its header says so: Content-Type: application/json"
    more = len(error.errors()) - 1
    return JSONResponse({"detail": str(UserError(detail + f" (and {more} more)" * (more > 0)))}, 422)


async def _http_error(request: Request, error: Any) -> Response:
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
