"""The report in a browser: it draws, answers to a reader, fits a phone, follows the theme, and loads nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seq2seq.reporting.contents import Options
from seq2seq.reporting.html import write_report
from tests import runs
from tests.forks import PATIENCE

webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
DRIVER = shutil.which("chromedriver")
FLAGS = """--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --window-size=1200,900""".split()
EVIL = "<img src=x onerror='window.evil=1'><script>window.evil=1</script>"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no chromium with its chromedriver"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    texts = [f"{text} {EVIL}" for text in runs.OUTPUTS]
    paths = [
        runs.write(
            folder / f"{name}{EVIL[:4]}",
            seed=seed,
            x=EVIL,
            y=name,
            outputs=texts,
            sources=texts[:2] + runs.SOURCES[2:],
            bundle={"context": context},
        )
        for name, seed, context in (("a", 1, "additive"), ("b", 2, "fixed"))
    ]
    write_report(paths, folder / "page.html", Options())
    return (folder / "page.html").as_uri()


@pytest.fixture
def page(browser: Any, url: str) -> Any:
    """The report, freshly opened at a desk in daylight, with every chart drawn."""
    emulate(browser, 1200, dark=False)
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # forgets what was before
    browser.get(url)
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    return browser


def emulate(browser: Any, width: int, *, dark: bool) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def wait(page: Any, script: str) -> Any:
    """The value of a script, as soon as there is one."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(page, PATIENCE).until(lambda driver: driver.execute_script(f"return {script}"))


def test_every_chart_is_drawn_and_nothing_is_loaded_or_complained_of(page: Any, url: str) -> None:
    wait(page, "[...document.querySelectorAll('.plot')].every(plot => plot.querySelector('.main-svg'))")
    assert page.execute_script("return document.querySelectorAll('.plot').length") >= 8
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert [address for address in asked if not address.startswith(("data:", "blob:"))] == [url]
    assert page.get_log("browser") == []
    assert page.execute_script("return window.evil") is None
    assert EVIL in page.find_element("css selector", "#texts").text


def test_no_other_script_may_run(page: Any) -> None:
    page.execute_script(
        "const script = document.createElement('script'); script.textContent = 'window.evil = 1';"
        "document.body.append(script); document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"evil=1\">')"
    )
    assert page.execute_script("return window.evil") is None
    assert "Content Security Policy" in " ".join(entry["message"] for entry in page.get_log("browser"))


def test_hovering_over_attention_says_the_weight(page: Any) -> None:
    from selenium.webdriver import ActionChains

    heat = page.find_element("css selector", "#models .plot")
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", heat)
    wait(page, "document.querySelector('#models .plot .hm')")
    ActionChains(page).move_to_element(heat.find_element("css selector", ".draglayer .drag")).perform()
    assert "weight 0." in wait(page, "document.querySelector('#models .plot .hoverlayer').textContent")
    assert "←" in page.execute_script("return document.querySelector('#models .plot .hoverlayer').textContent")


def test_a_switch_hides_a_run_everywhere(page: Any) -> None:
    lines = "document.querySelectorAll('#curves .plot')[0].querySelectorAll('.js-line').length"
    rows = "[...document.querySelectorAll('#texts dd[data-group=\"1\"]')].filter(row => row.offsetParent).length"
    assert (wait(page, lines), page.execute_script(f"return {rows}") > 0) == (2, True)
    page.find_element("css selector", "input[data-switch='1']").click()
    assert wait(page, f"{lines} === 1")
    assert page.execute_script(f"return {rows}") == 0


def test_a_phone_needs_no_scrolling_sideways(page: Any, url: str) -> None:
    emulate(page, 390, dark=False)
    page.get(url)
    page.execute_script("dispatchEvent(new Event('beforeprint'))")
    wait(page, "document.querySelector('#models .plot .main-svg')")
    assert page.execute_script("return [innerWidth, document.documentElement.scrollWidth]") == [390, 390]
    assert page.execute_script("return document.querySelector('.leaderboard').parentElement.scrollWidth") > 390


def test_the_dark_theme_reaches_the_charts(page: Any) -> None:
    colours = """(() => {
        const of = (selector, name) => getComputedStyle(document.querySelector(selector))[name];
        return [of('body', 'backgroundColor'), of('body', 'color'), of('#curves .xtick text', 'fill')]
    })()"""
    wait(page, "document.querySelector('#curves .xtick text')")
    assert page.execute_script(f"return {colours}") == ["rgb(255, 255, 255)", "rgb(31, 35, 40)", "rgb(31, 35, 40)"]
    emulate(page, 1200, dark=True)
    wait(page, f"{colours}[2] === 'rgb(230, 233, 237)'")
    assert page.execute_script(f"return {colours}") == ["rgb(21, 24, 29)", "rgb(230, 233, 237)", "rgb(230, 233, 237)"]


def test_without_scripts_the_numbers_are_there(url: str) -> None:
    page = Path(url.removeprefix("file://")).read_text(encoding="utf-8")
    assert page.count("<summary>As a table</summary>") >= page.count('class="plot"')
