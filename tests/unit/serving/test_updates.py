"""Translations that are sent as they are found, and ensembles: both end in the answers of the classes behind them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from seq2seq import Translator
from seq2seq.cli.main import main
from seq2seq.errors import UserError
from seq2seq.inference.request import TaggedRequest, WatchedRequest
from seq2seq.serving import translation
from seq2seq.serving.app import Service, make_app
from seq2seq.serving.limits import Limits
from seq2seq.serving.scheduler import check_wanted
from seq2seq.serving.server import load
from tests.services import opened, post, use

LINES = ["a man sleeps", "", "the small dog sees a red house in the old house", "woman"]


def streamed(folder: Path, body: Any, **options: Any) -> tuple[httpx.Response, list[Any]]:
    answer = post(folder, "/translate/stream", body, **options)
    return answer, [json.loads(line) for line in answer.text.splitlines()]


@pytest.mark.parametrize("beam_size", [1, 4])
def test_a_stream_has_what_is_found_and_ends_with_the_answer(folder: Path, beam_size: int) -> None:
    body = {"texts": LINES, "beam_size": beam_size, "n_best": beam_size, "attention": True, "alternatives": 2}
    answer, (*updates, last) = streamed(folder, body)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/x-ndjson")
    assert last == post(folder, "/translate", body).json()
    assert updates
    assert {each["line"] for each in updates} <= {0, 2, 3}
    assert all(each["text"].split() == each["tokens"] for each in updates)


@pytest.mark.parametrize("changes", [{"beam_size": 1}, {"beam_size": 4}, {"sample": True, "seed": 3}])
def test_each_step_of_a_search_tells_of_the_best_so_far(folder: Path, changes: dict[str, Any]) -> None:
    translator = Translator.load(folder / "attention" / "bundle")
    options = translator.options(n_best=1, return_attention=True, **changes)
    expected = translator.translate_full(LINES, options)
    told: list[list[str]] = [[] for _ in LINES]

    def watched(i: int) -> WatchedRequest:
        return WatchedRequest.of(TaggedRequest(LINES[i]), lambda each: told[i].append(each.text))

    found = translator.translate_full([watched(i) if i != 3 else LINES[i] for i in range(len(LINES))], options)
    assert [line[0].text for line in found] == [line[0].text for line in expected]
    assert [each[-1:] for each in told] == [[expected[0][0].text], [], [expected[2][0].text], []]
    for each, (best,) in zip(told, expected, strict=True):
        assert len(each) in (0, len(best.hypothesis.token_log_probs)) or changes == {"beam_size": 4}
    assert told[2][0] != told[2][-1]


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"texts": ["x"], "beam_size": 51}, 422, "beam_size=51: this service allows at most 50"),
        ({"texts": "x"}, 422, "texts: Input should be a valid list"),
        ({"texts": ["x"], "model": "slots"}, 404, "use POST /label"),
        ({"texts": ["x"] * 2}, 429, "0 lines are waiting, and 1 may"),
    ],
)
def test_a_mistake_has_its_status(folder: Path, body: Any, status: int, detail: str) -> None:
    async def what(client: httpx.AsyncClient, service: Service) -> httpx.Response:
        service.scheduler.capacity = 1
        return await client.post("/translate/stream", json=body)

    answer = use(folder, what, names=("attention", "slots"))
    assert answer.status_code == status
    assert detail in answer.json()["detail"]


class Steps:
    """Counts the steps of searches, which wait for `go` after the second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, go: asyncio.Event) -> None:
        self.count = 0
        self.loop, self.go = asyncio.get_running_loop(), go
        monkeypatch.setattr(translation, "check_wanted", self.check)

    def check(self) -> None:
        self.count += 1
        if self.count > 2:
            asyncio.run_coroutine_threadsafe(self.go.wait(), self.loop).result(20)
        check_wanted()


async def begun(app: Any, body: Any, left: asyncio.Event) -> tuple[asyncio.Task[None], list[Any]]:
    """A request whose first line was sent, and its messages; the client leaves when `left` is set."""
    request, sent = opened(app, "/translate/stream", body, left)
    while len(sent) < 2 and not request.done():
        await asyncio.sleep(0.01)
    return request, sent


def test_it_is_sent_before_the_search_has_ended_which_a_client_that_leaves_ends(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def what(client: httpx.AsyncClient, service: Service) -> None:
        go, left = asyncio.Event(), asyncio.Event()
        steps = Steps(monkeypatch, go)
        request, sent = await begun(make_app(service), {"texts": [LINES[2]], "beam_size": 1}, left)
        assert json.loads(sent[1]["body"])["line"] == 0
        left.set()
        await request
        assert sent[-1]["more_body"]
        go.set()
        answer = await client.post("/translate", json={"texts": ["woman"], "max_length": 1, "beam_size": 1})
        assert answer.status_code == 200
        assert steps.count <= 4  # two, the one that ends it, and the other client's

    use(folder, what, names=("attention",))


def test_a_stream_that_takes_too_long_ends_with_a_message(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def what(client: httpx.AsyncClient, service: Service) -> None:
        go = asyncio.Event()
        Steps(monkeypatch, go)
        request, sent = await begun(make_app(service), {"texts": [LINES[2]]}, asyncio.Event())
        await request
        assert "longer than 1 seconds" in json.loads(sent[-1]["body"])["detail"]
        assert not sent[-1].get("more_body")
        go.set()

    use(folder, what, names=("attention",), timeout=1)


def test_an_ensemble_translates_as_translate_file_does(folder: Path, tmp_path: Path) -> None:
    bundles = [folder / name / "bundle" for name in ("fixed", "attention")]
    (tmp_path / "in.txt").write_text("\n".join([*LINES, ""]), encoding="utf-8")
    command = ["translate-file", bundles[0], tmp_path / "in.txt", tmp_path / "out.json", "--ensemble", bundles[1]]
    assert main([*map(str, command), "--format", "json"]) == 0
    expected = [json.loads(line) for line in (tmp_path / "out.json").read_text(encoding="utf-8").splitlines()]

    async def what(service: Service) -> Any:
        transport = httpx.ASGITransport(make_app(service))
        async with service.lifespan(None), httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            body = {"model": "fixed+attention", "texts": LINES, "attention": True, "alternatives": 2}
            answer = await client.post("/translate", json=body)
            assert (await client.post("/translate/stream", json=body)).text.splitlines()[-1] == answer.text
            return answer.json()["results"], (await client.get("/models")).json()["models"]

    service = Service(load([bundles[0], bundles], Limits()), Limits())
    found, (alone, together) = asyncio.run(what(service))
    assert [line[0]["text"] for line in found] == [each["text"] for each in expected]
    assert [line[0]["score"] for line in found] == pytest.approx(
        [each["score"] for each in expected], abs=6e-5
    )  # rounded
    assert (together["members"], together["scores"]) == (list(map(str, bundles)), {})
    assert (alone["members"], together["attention"]) == (None, True)
    assert together["parameters"] > alone["parameters"]
    assert [line[0]["text"] for line in found] != Translator.load(bundles[0]).translate(LINES)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["fixed"], "is one bundle; name the others"),
        (["fixed", "slots"], "is a bundle of task=tagging; ensembles are of task=translation"),
        (["digits", "digits"], "is a bundle of task=captioning"),
    ],
)
def test_what_is_no_ensemble(folder: Path, names: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load([[folder / name / "bundle" for name in names]], Limits())


def test_without_a_bundle_the_command_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve"]) == 2
    assert "which model? Name the folder of a bundle" in capsys.readouterr().err
