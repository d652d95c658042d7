"""Drives the page of `seq2seq serve` in a headless Chromium, by Selenium: what a user does, and what is seen then.

Each function of SCENES does one thing with an open page, checks it, and leaves the page as a picture should show it.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from seq2seq.serving.app import Service, make_app
from seq2seq.serving.limits import Limits
from seq2seq.serving.server import listen, load

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
DRIVER = shutil.which("chromedriver")
FLAGS = """--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --force-prefers-reduced-motion""".split()
PATIENCE = 60  # seconds
SENTENCE = "When Peter knew an old woman, he wanted to show her every book."
REQUEST = "play some jazz by nina simone\nbook a table in new york tomorrow morning"

Stroke = list[tuple[float, float]]
FOUR: list[Stroke] = [
    [(0.5, 0.08), (0.3, 0.36), (0.22, 0.6), (0.45, 0.66), (0.78, 0.6)],
    [(0.72, 0.36), (0.62, 0.65), (0.55, 0.93)],
]
TWO: list[Stroke] = [[(0.25, 0.25), (0.5, 0.1), (0.72, 0.3), (0.3, 0.88), (0.8, 0.88)]]


@contextmanager
def serving(bundles: Sequence[Path], token: str | None = None) -> Iterator[str]:
    """Serve bundles from a thread on a free port; the address is yielded."""
    listening = listen("127.0.0.1", 0)
    service = Service(load(bundles, Limits()), Limits())
    server = uvicorn.Server(uvicorn.Config(make_app(service, token), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """A headless Chromium with a new profile, which notes the messages and the requests of its pages."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER or ""))
    try:
        yield driver
    finally:
        driver.quit()


class Page:
    """The page at an address, freshly opened."""

    def __init__(self, driver: Any, address: str, *, width: int = 1100, height: int = 900, dark: bool = False) -> None:
        self.driver = driver
        self.address = address
        self.width = width
        for kind in ("browser", "performance"):
            driver.get_log(kind)  # forgets what was before
        self.resize(height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        driver.get(address)
        self.wait("document.readyState === 'complete'")

    def resize(self, height: int) -> None:
        """Give the window another height."""
        size = {"width": self.width, "height": height, "deviceScaleFactor": 1, "mobile": self.width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def wait(self, script: str) -> Any:
        """The value of a script, as soon as there is one."""
        return WebDriverWait(self.driver, PATIENCE, 0.05).until(lambda driver: self.value(script))

    def value(self, script: str) -> Any:
        """The value of a script."""
        return self.driver.execute_script(f"return {script}")

    def all(self, selector: str) -> list[Any]:
        """The elements that match."""
        found: list[Any] = self.driver.find_elements("css selector", selector)
        return found

    def hover(self, element: Any) -> None:
        """Point at an element."""
        ActionChains(self.driver).move_to_element(element).perform()

    def press(self, *keys: str) -> None:
        """Press keys, one after another."""
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def draw(self, canvas: Any, strokes: list[Stroke]) -> None:
        """Draw strokes with the mouse; points are shares of the canvas."""
        width, height = canvas.size["width"], canvas.size["height"]
        for first, *others in strokes:
            hand = ActionChains(self.driver, duration=20)
            at = [(int((x - 0.5) * width), int((y - 0.5) * height)) for x, y in (first, *others)]
            hand.move_to_element_with_offset(canvas, *at[0]).click_and_hold()
            for x, y in at[1:]:
                hand.move_to_element_with_offset(canvas, x, y)
            hand.release().perform()

    def choose(self, task: str, *models: str) -> None:
        """Choose a task, and which of its models are asked (all by default)."""
        self.wait("document.querySelectorAll('#tasks button').length")
        next(button for button in self.all("#tasks button") if button.text == task).click()
        for label in self.all("#choices label"):
            name = self.driver.execute_script("return arguments[0].textContent.trim()", label)
            box = label.find_element("css selector", "input")
            if box.is_displayed() and box.is_selected() != (not models or name in models):
                box.click()

    def write(self, text: str) -> None:
        """Type into the text field, and wait for the answer."""
        (field,) = self.all("#text")
        field.send_keys(Keys.CONTROL, "a", Keys.NULL, Keys.DELETE)
        self.wait("!document.getElementById('output').children.length")
        field.send_keys(text)
        self.answered()

    def answered(self) -> None:
        """Wait for the answer to what was typed or drawn last."""
        self.wait("document.querySelector('#output[aria-busy=false]')?.children.length")

    def problems(self) -> list[str]:
        """The messages of the page, and its requests to other addresses: there should be none."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        foreign = [url for url in sent if not url.startswith((self.address, "data:", "chrome:"))]
        return foreign + [entry["message"] for entry in self.driver.get_log("browser")]


def attention(page: Page) -> None:
    """Pointing at a token draws its attention."""
    page.choose("Translate", "attention")
    page.write(SENTENCE)
    tokens = page.all(".target button")
    page.hover(tokens[min(3, len(tokens) - 1)])
    assert page.all(".links path")
    assert page.all(".source .lit")


def alternative(page: Page) -> None:
    """An alternative that is chosen begins the translation, and the rest follows."""
    page.choose("Translate", "attention")
    page.write(SENTENCE)
    page.all(".target button")[1].click()
    option = page.all(".alternatives button:enabled")[1]
    prefix = option.get_attribute("title").removeprefix("continue “").removesuffix("”")
    option.click()
    page.wait("[...document.querySelectorAll('.note')].some(note => note.textContent.includes('begins with'))")
    assert page.all(".target")[0].get_attribute("aria-label").startswith(prefix)
    page.all(".target button")[2].click()
    assert page.all(".alternatives")[0].is_displayed()


def tree(page: Page) -> None:
    """The beam as a tree, of the best and the other results."""
    page.choose("Translate", "attention")
    page.all("#beam")[0].send_keys("6")
    page.write(SENTENCE)
    page.all("summary")[0].click()
    assert len(page.all(".tree .branch")) > 6
    assert page.all(".tree .branch.best")


def two_models(page: Page) -> None:
    """Two models side by side."""
    page.choose("Translate")
    page.write(SENTENCE)
    left, right = page.all(".panel")
    assert left.rect["y"] == right.rect["y"]
    assert left.rect["x"] < right.rect["x"]
    page.hover(page.all(".panel .target button")[2])


def tags(page: Page) -> None:
    """Words with the colours of their slots."""
    page.choose("Label")
    page.write(REQUEST)
    assert len(page.all(".words")) == 2
    assert len(page.all(".words .word")) == len(REQUEST.split())


def digits(page: Page) -> None:
    """Digits that are drawn with the mouse are read."""
    page.choose("Caption")
    for canvas, strokes in zip(page.all("canvas"), (TWO, FOUR), strict=False):
        page.draw(canvas, strokes)
    page.answered()
    assert len(page.all(".target")) == 1


def phone(page: Page) -> None:
    """Nothing is wider than a phone."""
    page.choose("Translate")
    page.write(SENTENCE)
    page.all(".target button")[1].click()
    assert page.value("document.documentElement.scrollWidth <= innerWidth")


def dark(page: Page) -> None:
    """Dark where the system is."""
    attention(page)
    assert page.value("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"


SCENES: dict[str, tuple[Callable[[Page], None], dict[str, Any]]] = {
    "attention": (attention, {}),
    "alternative": (alternative, {}),
    "tree": (tree, {}),
    "two_models": (two_models, {}),
    "tags": (tags, {}),
    "digits": (digits, {}),
    "phone": (phone, {"width": 390}),
    "dark": (dark, {"dark": True}),
}
"""What is done for each picture, and how its page is opened."""


def play(driver: Any, address: str, name: str, folder: Path) -> list[str]:
    """Play a scene and store its picture, NAME.png; returns the problems of the page."""
    scene, options = SCENES[name]
    page = Page(driver, address, **options)
    scene(page)
    page.resize(int(page.value("document.querySelector('main').getBoundingClientRect().bottom + scrollY")))
    driver.save_screenshot(str(folder / f"{name}.png"))
    return page.problems()
