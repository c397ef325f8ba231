"""A recognition with a timeline, as the JSON that everything here starts from."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

import tsm_ref
from tsm_ref.checkpoint import weights_folder
from tsm_ref.recognition import as_json, recognize


@pytest.fixture(scope="session")
def tour() -> dict[str, Any]:
    """The tour of the samples."""
    model = tsm_ref.load("camera-motion", engine="numpy")
    found: dict[str, Any] = json.loads(
        as_json(recognize(model, weights_folder() / "samples" / "tour.mp4"))
    )
    return found


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A real browser; tests that need one are skipped without Chromium and Selenium."""
    webdriver = pytest.importorskip("selenium.webdriver")
    service = pytest.importorskip("selenium.webdriver.chrome.service")
    driver = shutil.which("chromedriver")
    if driver is None:
        pytest.skip("no chromedriver (apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=service.Service(driver))
    yield browser
    browser.quit()
