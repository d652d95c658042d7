"""The page of the service in a headless Chromium, with small trained models: every scene, and the keyboard."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("selenium")
pytest.importorskip("fastapi", reason="needs the extra `serve`")

from experiments.serving import browser, bundles
from experiments.serving.browser import Page
from seq2seq import Translator
from seq2seq.inference.request import TaggedRequest
from seq2seq.serving import translation
from seq2seq.serving.scheduler import check_wanted
from seq2seq.text import WhitespaceTokenizer
from tests.bundles import WORDS, save

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (browser.CHROMIUM and browser.DRIVER), reason="there is no chromium with its chromedriver"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seq2seq.reporting.style.save", lambda figure, path, **_: path)  # pictures take most of the time
        return bundles.train(tmp_path_factory.mktemp("models"), quick=True)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser.chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def address(trained: list[Path]) -> Iterator[str]:
    with browser.serving(trained) as where:
        yield where


@pytest.mark.parametrize("name", browser.SCENES)
def test_scene(driver: Any, address: str, name: str, tmp_path: Path) -> None:
    assert browser.play(driver, address, name, tmp_path) == []
    assert (tmp_path / f"{name}.png").stat().st_size > 5000


def test_a_keyboard_reaches_alternatives_and_draws(driver: Any, address: str) -> None:
    from selenium.webdriver.common.keys import Keys

    page = Page(driver, address)
    page.choose("Translate", "attention")
    page.write(browser.SENTENCE)
    driver.execute_script("document.querySelector('.target button').focus()")
    page.press(Keys.ARROW_RIGHT, Keys.ENTER)
    assert page.all(".target button")[1].get_attribute("aria-expanded") == "true"
    page.press(Keys.ESCAPE)
    assert not page.all(".alternatives")[0].is_displayed()
    assert page.value("document.activeElement === document.querySelectorAll('.target button')[1]")
    page.choose("Caption")
    driver.execute_script("document.querySelector('canvas').focus()")
    page.press(" ", *[Keys.ARROW_DOWN] * 5, " ")
    page.answered()
    assert len(page.all(".target")) == 1
    assert page.problems() == []


def test_a_tag_is_chosen(driver: Any, tmp_path: Path) -> None:
    tokenizer = WhitespaceTokenizer(WORDS, symbols=["<de>", "<fr>"])
    save(tmp_path / "many" / "bundle", tokenizer=tokenizer, context="additive")
    translator = Translator.load(tmp_path / "many" / "bundle")
    with browser.serving([tmp_path / "many" / "bundle"]) as where:
        page = Page(driver, where)
        page.write("a man sleeps")
        for tag in (None, "<fr>", "<de>"):
            if tag:
                next(option for option in page.all("#tag option") if option.text == tag).click()
                page.answered()
            (expected,) = translator.translate([TaggedRequest("a man sleeps", tag=tag)])
            assert [shown.get_attribute("aria-label") for shown in page.all(".target")] == [expected]
    assert page.problems() == []


WATCH = """window.seen = [];
new MutationObserver(() => window.seen.push(document.querySelector('.draft')?.textContent || ''))
    .observe(document.getElementById('output'), {childList: true, subtree: true})"""


def cancelled(address: str) -> float:
    (count,) = re.findall(r"^seq2seq_cancelled_total (.+)$", httpx.get(f"{address}metrics").text, re.MULTILINE)
    return float(count)


def test_a_translation_is_shown_as_it_is_found_and_ends_where_more_is_typed(
    driver: Any, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Page(driver, address)
    page.choose("Translate", "attention")
    page.write(browser.SENTENCE)
    expected = page.all(".target")[0].text
    monkeypatch.setattr(translation, "check_wanted", lambda: [time.sleep(0.05), check_wanted()])
    driver.execute_script(WATCH)
    page.write(browser.SENTENCE)
    seen = [each for each in page.value("window.seen") if each]
    assert len(set(seen)) > 3
    assert seen[-1].startswith(seen[0])
    assert (page.all(".target")[0].text, page.all(".draft")) == (expected, [])
    page.all("#text")[0].send_keys(" Or")
    page.wait("document.querySelector('.draft')")
    before = cancelled(address)
    page.all("#text")[0].send_keys(" not?")
    page.answered()
    assert cancelled(address) > before
    assert page.problems() == []


def test_a_browser_without_streams_has_the_answer(driver: Any, address: str) -> None:
    page = Page(driver, address)
    page.choose("Translate", "attention")
    page.write(browser.SENTENCE)
    expected = page.all(".target")[0].text
    driver.execute_script("window.TextDecoder = undefined")
    driver.execute_script(WATCH)
    page.write(browser.SENTENCE)
    assert page.all(".target")[0].text == expected
    assert page.problems() == []


UNNAMED = """[...document.querySelectorAll('button, input, select, textarea, canvas, summary')]
    .filter((each) => each.offsetParent && !(each.textContent.trim() || each.ariaLabel || each.labels?.length))
    .map((each) => each.outerHTML)"""


def test_every_control_has_a_name_for_a_screen_reader(driver: Any, address: str) -> None:
    page = Page(driver, address)
    for task in ("Translate", "Label", "Caption"):
        page.choose(task)
        if task != "Caption":
            page.write(browser.SENTENCE)
        assert page.value(UNNAMED) == []
    assert page.all("#status")[0].get_attribute("aria-live") == "polite"


def test_a_token_is_asked_for_and_kept(driver: Any, trained: list[Path]) -> None:
    with browser.serving(trained[2:3], token="secret") as where:
        page = Page(driver, where)
        page.wait("document.getElementById('unlock').hidden === false")
        page.all("#secret")[0].send_keys("secret\n")
        page.wait("document.getElementById('unlock').hidden")
        page.write("play jazz")
        assert len(page.all(".word")) == 2
        page = Page(driver, where)
        page.write("play jazz")
        assert not page.all("#unlock")[0].is_displayed()
