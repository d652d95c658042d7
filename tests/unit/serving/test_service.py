"""The answers of the service: those of the classes behind it whatever is batched; and its page."""

from __future__ import annotations

import asyncio
import math
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from seq2seq import Translator
from seq2seq.inference.captioner import Captioner
from seq2seq.inference.predictor import Predictor
from seq2seq.inference.request import Request, TaggedRequest
from seq2seq.inference.text_sampler import Sampler, SamplingOptions
from seq2seq.serving.app import Service
from seq2seq.text import WhitespaceTokenizer
from tests import captions
from tests.bundles import WORDS, save
from tests.services import NAMES, post, results, use

LINES = ["a man sleeps", "", "the small dog sees a red house in the old house", "woman", "   ", "old old"]


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


def test_tags_are_read_before_the_texts(tmp_path: Path) -> None:
    save(
        tmp_path / "many" / "bundle", tokenizer=WhitespaceTokenizer(WORDS, symbols=["<de>", "<fr>"]), context="additive"
    )
    body = {"texts": LINES, "beam_size": 3, "attention": True, "alternatives": 2}
    translator = Translator.load(tmp_path / "many" / "bundle")
    for tag in ("<fr>", None):
        found = results(tmp_path, "/translate", body | {"tag": tag}, names=("many",))
        requests = [TaggedRequest(line, tag=tag) for line in LINES]
        expected = translator.translate_full(requests, translator.options(beam_size=3, n_best=1))
        assert [line[0]["text"] for line in found] == [each[0].text for each in expected]
        for (each,), (other,) in zip(found, expected, strict=True):
            assert each["score"] == pytest.approx(other.hypothesis.score, abs=1e-5)
            chosen = [step[0]["probability"] for step in each["alternatives"]]
            assert all(math.log(p) >= value - 1e-5 for p, value in zip(chosen, each["token_log_probs"], strict=False))
    unknown = post(tmp_path, "/translate", body | {"tag": "<xx>"}, names=("many",))
    assert (unknown.status_code, unknown.json()["detail"].partition(";")[0]) == (
        422,
        "tag='<xx>': '<xx>' is no symbol of the tokenizer",
    )


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


def test_openapi_describes_every_endpoint_and_the_page_loads_nothing(folder: Path) -> None:
    async def what(client: httpx.AsyncClient, service: Service) -> Any:
        return (await client.get("/openapi.json")).json(), await client.get("/")

    described, page = use(folder, what, names=("fixed",))
    paths = {"/translate", "/translate/stream", "/label", "/caption", "/sample", "/predict"}
    paths |= {"/models", "/health", "/metrics"}
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
