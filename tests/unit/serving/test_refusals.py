"""What the service refuses: mistakes, hostile bodies, a missing token, too much work; and how requests are ended."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from seq2seq import Translator
from seq2seq.serving import server
from seq2seq.serving.app import Service, make_app
from seq2seq.serving.limits import Limits
from tests.services import Answer, opened, post, use


@pytest.mark.parametrize(
    ("path", "body", "status", "detail"),
    [
        ("/translate", {"texts": "x"}, 422, "texts: Input should be a valid list"),
        ("/translate", {"texts": ["x"], "beem_size": 3}, 422, "beem_size: Extra inputs are not permitted"),
        ("/translate", {"texts": ["x"], "beam_size": 51}, 422, "beam_size=51: this service allows at most 50"),
        ("/translate", {"texts": ["x"], "n_best": 4}, 422, "use search.beam_size=4"),
        ("/translate", {"texts": ["x"], "top_k": 4}, 422, "top_k=4: is for sampling; add sample=true"),
        ("/translate", {"texts": ["x"], "prefixes": []}, 422, "prefixes: has 0 entries for 1 texts"),
        ("/translate", {"texts": ["x"], "prefixes": ["zebra"]}, 422, "line 1: the prefix 'zebra' would come out as"),
        ("/translate", {"texts": ["x"] * 257}, 422, "texts: has 257 entries, a request may have 256"),
        ("/translate", {"texts": ["x"], "model": "fixd"}, 404, "model='fixd': is not served; did you mean 'fixed'?"),
        ("/translate", {"texts": ["x"], "model": "slots"}, 404, "is a model of task=tagging; use POST /label"),
        ("/translate", {"texts": ["x"], "model": "fixed", "attention": True}, 422, "model='fixed': has no attention"),
        ("/translate", {"texts": ["x"], "model": "fixed", "coverage_penalty": 1}, 422, "has no attention"),
        ("/caption", {"features": [[[1.0]]]}, 422, "sequence 1: has 1 numbers a row"),
        ("/sample", {"prompt": "ab?"}, 422, "prompt: '?' was never in the model's training text"),
        ("/sample", {"length": 2001}, 422, "length=2001: this service allows at most 2000"),
        ("/predict", {"inputs": [[[1.0]]]}, 422, "inputs: this model reads texts"),
        ("/nothing", {}, 404, "Not Found"),
    ],
)
def test_a_mistake_is_one_message(folder: Path, path: str, body: Any, status: int, detail: str) -> None:
    answer = post(folder, path, body)
    assert answer.status_code == status
    assert detail in answer.json()["detail"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 422),
        (b"[" * 100_000, 400),
        (b'{"texts": ["\\ud800"]}', 422),
        (b'{"texts": ["x"], "length_penalty": NaN}', 422),
        (b'{"texts": ["x"], "seed": ' + b"9" * 5000 + b"}", 400),
        (b'{"texts": ["' + b"x" * 1000 + b'"]}', 413),
        (b"\xff", 400),
    ],
)
def test_hostile_bodies_are_refused(folder: Path, content: bytes, status: int) -> None:
    async def what(client: httpx.AsyncClient, service: Service) -> Answer:
        return await client.post("/translate", content=content, headers={"Content-Type": "application/json"})

    answer = use(folder, what, names=("fixed",), body=1000 if status == 413 else 1 << 20)
    assert answer.status_code == status, answer.text
    assert isinstance(answer.json()["detail"], str)


@pytest.mark.parametrize(
    ("content", "headers", "detail"),
    [
        (b'{"texts": ["x"]}', {}, "its header says so: Content-Type: application/json"),
        (b'{"texts": ', {"Content-Type": "application/json"}, "the body is not JSON: Expecting value, at character 10"),
    ],
)
def test_a_body_that_is_not_read_says_why(folder: Path, content: bytes, headers: dict[str, str], detail: str) -> None:
    async def what(client: httpx.AsyncClient, service: Service) -> Answer:
        return await client.post("/translate", content=content, headers=headers)

    answer = use(folder, what, names=("fixed",))
    assert answer.status_code == 422
    assert answer.json()["detail"].endswith(detail)


def test_a_token_is_needed_for_all_but_the_page_and_health(folder: Path) -> None:
    async def what(client: httpx.AsyncClient, service: Service) -> Any:
        right, wrong = ({"Authorization": f"Bearer {token}"} for token in ("secret", "secreT"))
        paths = ("/", "/health", "/models", "/metrics", "/openapi.json")
        codes = [[(await client.get(path, headers=headers)).status_code for path in paths] for headers in ({}, right)]
        codes.append([(await client.post("/translate", json={"texts": ["x"]}, headers=wrong)).status_code])
        return codes

    assert use(folder, what, names=("fixed",), token="secret") == [[200, 200, 401, 401, 401], [200] * 5, [401]]


class Slow:
    """Lets the model wait until `go`."""

    def __init__(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        self.busy, self.go = threading.Event(), threading.Event()
        translator = service.catalogue.choose("fixed").translator
        stream = translator.translate_stream
        monkeypatch.setattr(translator, "translate_stream", lambda *rest, **named: self._wait(stream, *rest, **named))

    def _wait(self, stream: Any, *rest: Any, **named: Any) -> Any:
        self.busy.set()
        assert self.go.wait(20)
        return stream(*rest, **named)


def test_a_full_queue_is_429_a_client_that_leaves_frees_it_and_time_is_limited(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def what(client: httpx.AsyncClient, service: Service) -> None:
        def ask(count: int) -> asyncio.Task[Answer]:
            return asyncio.create_task(client.post("/translate", json={"texts": ["a dog"] * count, "beam_size": 2}))

        slow = Slow(service, monkeypatch)
        first = ask(1)
        await asyncio.to_thread(slow.busy.wait, 10)
        waiting = [ask(2), ask(2)]
        while service.scheduler.waiting < 4:
            await asyncio.sleep(0.01)
        full = await ask(1)
        assert (full.status_code, full.headers["Retry-After"]) == (429, "1")
        waiting[0].cancel()
        await asyncio.sleep(0.05)
        assert service.scheduler.waiting == 2
        late = await waiting[1]
        assert (late.status_code, service.scheduler.waiting) == (503, 0)
        assert "longer than 1.5 seconds" in late.json()["detail"]
        slow.go.set()
        assert (await first).status_code == 503
        for _ in range(40):  # a busy machine may take longer than the limit
            if (again := await ask(1)).status_code == 200:
                break
        assert again.status_code == 200

    use(folder, what, names=("fixed",), queue=4, lines=4, timeout=1.5)


def test_a_client_that_leaves_is_cancelled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the message of ASGI, as uvicorn sends it."""

    async def what(client: httpx.AsyncClient, service: Service) -> None:
        slow, app, left = Slow(service, monkeypatch), make_app(service), asyncio.Event()
        first = asyncio.create_task(client.post("/translate", json={"texts": ["a dog"]}))
        await asyncio.to_thread(slow.busy.wait, 10)
        request, sent = opened(app, "/translate", {"texts": ["a dog", "a man"]}, left)
        while service.scheduler.waiting < 2:
            await asyncio.sleep(0.01)
        left.set()
        await request
        assert (service.scheduler.waiting, sent) == (0, [])
        slow.go.set()
        assert (await first).status_code == 200

    use(folder, what, names=("fixed",))


def test_sigterm_lets_a_request_end_and_refuses_new_ones(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    listening = server.listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    slow: list[Slow] = []
    answers: list[Answer] = []
    monkeypatch.setattr(server, "listen", lambda host, port: listening)
    monkeypatch.setattr(server, "Service", lambda *rest, **named: _keep(Service(*rest, **named), slow, monkeypatch))

    def client() -> None:
        asking = threading.Thread(
            target=lambda: answers.append(httpx.post(f"{url}/translate", json={"texts": ["a dog"]}, timeout=20))
        )
        asking.start()
        while not slow or not slow[0].busy.wait(1):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        while True:  # until the socket is closed
            try:
                httpx.get(f"{url}/health", timeout=5)
            except httpx.TransportError:
                break
            time.sleep(0.01)
        slow[0].go.set()
        asking.join()

    thread = threading.Thread(target=client)
    thread.start()
    try:
        server.serve([folder / "fixed" / "bundle"], "127.0.0.1", 0, None, Limits())
    finally:
        signal.signal(signal.SIGTERM, before)
        thread.join()
    assert [answer.status_code for answer in answers] == [200]
    assert answers[0].json()["results"][0][0]["text"] == Translator.load(folder / "fixed" / "bundle")("a dog")


def _keep(service: Service, slow: list[Slow], monkeypatch: pytest.MonkeyPatch) -> Service:
    slow.append(Slow(service, monkeypatch))
    return service


def test_two_bundles_of_one_name_get_two(tmp_path: Path) -> None:
    folders = [tmp_path / name / "bundle" for name in ("x/first", "y/first")] + [tmp_path / "first"]
    assert server.names_of(folders) == ["first", "first-2", "first-3"]


def test_an_address_in_use_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    from seq2seq.cli.main import main

    with server.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "nothing", "--port", str(port)]) == 2
    assert f"--port {port}: Address already in use; choose another port" in capsys.readouterr().err
    assert main(["serve", "nothing", "--port", "70000"]) == 2
    assert main(["serve", "nothing", "--max-lines", "2000"]) == 2
    assert "lines=2000: more than queue=1024" in capsys.readouterr().err
    assert main(["serve", "nothing", "--port", "0"]) == 2
    assert "nothing: is not a bundle (there is no such folder)" in capsys.readouterr().err
