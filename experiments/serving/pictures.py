"""Pictures of the page, of trained models: python -m experiments.serving.pictures runs/serving.

Trains the models that are not there yet (minutes), and needs Chromium with its chromedriver.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from experiments.serving import browser, bundles

if __name__ == "__main__":
    with (
        browser.serving(bundles.train(Path(sys.argv[1]))) as address,
        tempfile.TemporaryDirectory() as profile,
        browser.chromium(Path(profile)) as driver,
    ):
        for name in sys.argv[2:] or browser.SCENES:
            print(name, *browser.play(driver, address, name, Path(__file__).parent))
