"""The service in the process: the answers of the classes behind it whatever is batched, and every refusal."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import threading
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from seq2seq import Translator
from seq2seq.inference.captioner import Captioner
from seq2seq.inference.predictor import Predictor
from seq2seq.inference.request import Request
from seq2seq.inference.text_sampler import Sampler, SamplingOptions
from seq2seq.serving import server
from seq2seq.serving.app import Service, make_app
from seq2seq.serving.hosted import Catalogue
from seq2seq.serving.limits import Limits
from seq2seq.serving.server import load
from seq2seq.text import CharacterTokenizer
from tests import captions
from tests.bundles import save
from tests.labels import save_labelling, save_language_model

LINES = ["a man sleeps", "", "the small dog sees a red house in the old house", "woman", "   ", "old old"]
Answer = httpx.Response


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served")
    save(root / "attention" / "bundle", context="additive")
    save(root / "fixed" / "bundle", seed=1)
    save_labelling(root / "slots" / "bundle", "tagging")
    save_labelling(root / "intents" / "bundle", "classification")
    save_language_model(root / "letters" / "bundle", CharacterTokenizer("abcdef "))
    captions.save(root / "digits" / "bundle")
    return root


NAMES = ("attention", "fixed", "slots", "intents", "letters", "digits")


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


def test_requests_that_arrive_together_are_one_batch_and_answered_as_if_alone(folder: Path) -> None:
    async def what(client: httpx.AsyncClient, service: Service) -> Any:
        bodies = [{"texts": [line], "n_best": 2, "beam_size": 4} for line in LINES]
        answers = await asyncio.gather(*(client.post("/translate", json=body) for body in bodies))
        return [answer.json()["results"][0] for answer in answers], (await client.get("/metrics")).text

    found, metrics = use(folder, what, wait=0.5)
    assert "seq2seq_batch_lines_count 1.0" in metrics
    assert f"seq2seq_batch_lines_sum {len(LINES)}.0" in metrics
    translator = Translator.load(folder / "attention" / "bundle")
    expected = translator.translate_full(LINES, translator.options(n_best=2, beam_size=4), batch_size=1)
    for line, other in zip(found, expected, strict=True):
        assert [each["text"] for each in line] == [each.text for each in other]
        assert [each["score"] for each in line] == pytest.approx([each.hypothesis.score for each in other], abs=1e-5)
        for each, translation in zip(line, other, strict=True):
            assert each["token_log_probs"] == pytest.approx(translation.hypothesis.token_log_probs, abs=1e-5)


def test_prefixes_constraints_attention_and_alternatives(folder: Path) -> None:
    body = {"texts": LINES[:1] * 3, "prefixes": ["the dog", "", ""], "constraints": [[], ["red"], []], "beam_size": 5}
    found = results(folder, "/translate", body | {"attention": True, "alignments": True, "alternatives": 3})
    translator = Translator.load(folder / "attention" / "bundle")
    requests = [Request(LINES[0], "the dog"), Request(LINES[0], "", ("red",)), LINES[0]]
    assert [line[0]["text"] for line in found] == translator.translate(requests, beam_size=5)
    assert found[0][0]["text"].startswith("the dog")
    for (line,) in found:
        weights = np.array(line["attention"])
        assert weights.shape == (len(line["tokens"]), len(line["source_tokens"]))
        assert weights.sum(1) == pytest.approx(1, abs=1e-3)
        assert all(int(link.split("-")[0]) < 3 for link in line["alignment"].split())
        assert [len(step) for step in line["alternatives"]] == [3] * len(line["tokens"])


def test_samples_are_those_of_the_file(folder: Path) -> None:
    found = results(folder, "/translate", {"texts": LINES[:3], "sample": True, "seed": 5, "n_best": 2})
    translator = Translator.load(folder / "attention" / "bundle")
    expected = translator.translate_full(LINES[:3], translator.options(sample=True, seed=5, n_best=2))
    assert [[each["text"] for each in line] for line in found] == [[each.text for each in line] for line in expected]


@pytest.mark.parametrize("model", ["slots", "intents"])
def test_labels(folder: Path, model: str) -> None:
    texts = ["the cat sees a dog", "", "dog"]
    predictor = Predictor.load(folder / model / "bundle")
    expected = list(predictor.predict_stream(texts))
    found = results(folder, "/label", {"model": model, "texts": texts, "probabilities": True})
    assert [each["text"] for each in found] == [each.text for each in expected]
    for each, predicted in zip(found, expected, strict=True):
        described = predicted.as_dict(predictor.labels.labels)
        assert each["labels"] == described["labels"]
        for row, other in zip(each["probabilities"], described["probabilities"], strict=True):
            assert row == pytest.approx(other, abs=2e-4)
    assert "probabilities" not in results(folder, "/label", {"texts": ["dog"]})[0]


def test_captions_and_samples(folder: Path) -> None:
    sequences = np.random.default_rng(0).normal(size=(2, 3, captions.WIDTH)).tolist()
    found = results(folder, "/caption", {"features": sequences})
    assert [line[0]["text"] for line in found] == Captioner.load(folder / "digits" / "bundle").caption(sequences)
    found = results(folder, "/sample", {"prompt": "ab", "length": 9, "number": 2, "seed": 3, "temperature": 0.5})
    sampler, options = Sampler.load(folder / "letters" / "bundle"), SamplingOptions(9, 0.5)
    assert found == ["ab" + sampler("ab", options, seed=seed) for seed in (3, 4)]


def test_predict_is_for_every_task(folder: Path) -> None:
    async def what(client: httpx.AsyncClient, service: Service) -> Any:
        inputs: dict[str, Any] = {name: ["a dog"] for name in NAMES} | {"letters": ["a"]}
        inputs["digits"] = [[[0.5] * captions.WIDTH]]
        answers = [await client.post("/predict", json={"model": name, "inputs": inputs[name]}) for name in NAMES]
        return [answer.json() for answer in answers], (await client.get("/models")).json()["models"]

    answers, models = use(folder, what)
    assert [answer["model"] for answer in answers] == [model["name"] for model in models] == list(NAMES)
    assert [answer["task"] for answer in answers] == [model["task"] for model in models]
    assert answers[0]["outputs"] == [Translator.load(folder / "attention" / "bundle")("a dog")]
    assert answers[2]["outputs"] == [Predictor.load(folder / "slots" / "bundle")("a dog")]
    assert [model["attention"] for model in models[:2]] == [True, False]
    assert models[5]["width"] == captions.WIDTH


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
        assert (await ask(1)).status_code == 200

    use(folder, what, names=("fixed",), queue=4, lines=4, timeout=1.5)


def test_a_client_that_leaves_is_cancelled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the message of ASGI, as uvicorn sends it."""

    async def what(client: httpx.AsyncClient, service: Service) -> None:
        slow, app, left = Slow(service, monkeypatch), make_app(service), asyncio.Event()
        sent: list[Any] = []
        first = asyncio.create_task(client.post("/translate", json={"texts": ["a dog"]}))
        await asyncio.to_thread(slow.busy.wait, 10)
        messages = [{"type": "http.request", "body": b'{"texts": ["a dog", "a man"]}'}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": "/translate", "headers": headers, "query_string": b""}
        request = asyncio.create_task(app(scope, receive, send))
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


def test_openapi_describes_every_endpoint_and_the_page_loads_nothing(folder: Path) -> None:
    async def what(client: httpx.AsyncClient, service: Service) -> Any:
        return (await client.get("/openapi.json")).json(), await client.get("/")

    described, page = use(folder, what, names=("fixed",))
    paths = {"/translate", "/label", "/caption", "/sample", "/predict", "/models", "/health", "/metrics"}
    assert set(described["paths"]) == paths
    assert described["paths"]["/translate"]["post"]["requestBody"]["required"]
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "://" not in page.text.replace("http://www.w3.org/2000/svg", "")
    policy = page.headers["Content-Security-Policy"]
    for tag in ("style", "script"):
        content = page.text.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
        assert b64encode(sha256(content.encode()).digest()).decode() in policy
    used, defined = (re.findall(pattern, page.text) for pattern in (r'\$\("([^"]+)"\)', r'\bid="([^"]+)"'))
    assert {"text", "output"} <= set(used) <= set(defined)


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
