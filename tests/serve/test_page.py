"""The page in a real browser: files by drop and by choice, the camera, and its rules."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.conftest import SAMPLES, Running

pytest.importorskip("starlette")
HOSTILE = "<img src=x onerror=document.title='pwned'>.mp4"
DROP = """
const [bytes, name] = arguments, data = new DataTransfer();
data.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name));
const drop = { dataTransfer: data, bubbles: true, cancelable: true };
document.getElementById("drop").dispatchEvent(new DragEvent("drop", drop));
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    service = pytest.importorskip("selenium.webdriver.chrome.service")
    driver = shutil.which("chromedriver")
    if driver is None:
        pytest.skip("no chromedriver (apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-gpu"),
        *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=service.Service(driver))
    yield made
    made.quit()


@pytest.fixture
def page(browser: Any, server: Running) -> Any:
    browser.set_window_size(420, 900)
    browser.get(server.url)
    until(browser, "return document.getElementById('model').options.length")
    browser.get_log("browser")
    return browser


def until(browser: Any, script: str, *arguments: Any) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 40).until(lambda b: b.execute_script(script, *arguments))


def test_a_file_is_chosen_and_its_timeline_clicked(page: Any) -> None:
    chosen = page.find_element("id", "file")
    chosen.send_keys(str(SAMPLES / "tour.mp4"))
    until(page, "return document.querySelector('article .answer')")
    texts = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
    (answer,) = page.execute_script(texts, "article .answer")
    assert answer.count("→") == 5
    assert len(page.execute_script(texts, ".timeline button")) == 6
    page.execute_script("document.querySelectorAll('.timeline button')[1].click()")
    (told,) = page.execute_script(texts, "article [role=status]")
    assert "pan right" in told
    widths = page.execute_script(
        "return [...document.querySelectorAll('.timeline button')].map((b) => b.offsetWidth)"
    )
    assert max(widths) < 5 * min(widths), "segments are about as wide as they are long"
    width, room = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert width <= room, "a phone would have to scroll sideways"
    assert page.get_log("browser") == []


def test_hostile_names_and_files_are_text(page: Any, pan: bytes) -> None:
    import base64

    page.execute_script(DROP, base64.b64encode(pan).decode(), HOSTILE)
    until(page, "return document.querySelector('article .answer')")
    assert page.title == "tsm_ref: what is in this video?"
    heads = "return [...document.querySelectorAll('h2')].map((e) => e.textContent)"
    assert page.execute_script(heads) == [HOSTILE]
    assert page.execute_script("return document.images.length") == 0
    page.execute_script(DROP, base64.b64encode(b"no video").decode(), "b.mp4")
    said = until(page, "return document.querySelector('article .bad')?.textContent")
    assert "not a video" in said


def test_the_camera_is_followed(page: Any) -> None:
    page.find_element("id", "camera").click()
    until(page, "return document.getElementById('events').children.length")
    assert until(page, "return document.querySelectorAll('#bars .row').length") == 5
    assert page.execute_script("return document.getElementById('told').textContent") == ""
    page.find_element("id", "camera").click()
    assert page.execute_script("return document.getElementById('view').srcObject") is None
    assert page.get_log("browser") == []


def test_nothing_but_its_own_script_runs_or_is_fetched(page: Any, client: Any) -> None:
    rules = client.get("/").headers["content-security-policy"]
    assert rules.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in rules
    run = (
        "const s = document.createElement('script'); s.textContent = 'document.title = 1'; "
        "document.body.append(s); const i = new Image(); i.src = 'http://localhost:1/x.png'; "
        "document.body.append(i)"
    )
    page.execute_script(run)
    assert page.title == "tsm_ref: what is in this video?"
    refused = until(page, "return 1") and json.dumps(page.get_log("browser"))
    assert "Content Security Policy" in refused


def test_it_can_be_used_without_eyes_or_mouse(page: Any) -> None:
    run = page.execute_script
    assert run("return document.documentElement.lang") == "en"
    assert run("return document.querySelectorAll('h1').length") == 1
    assert run(
        "return [...document.querySelectorAll('input, select')].every((i) => i.labels.length)"
    )
    assert run("return [...document.querySelectorAll('button')].every((b) => b.textContent)")
    sections = run("return [...document.querySelectorAll('section')].map((s) => s.ariaLabel)")
    assert all(sections)


def test_the_page_is_what_ships() -> None:
    from tsm_ref.serve import page

    for name in ("page.html", "page.css", "page.js"):
        assert (Path(page.__file__).parent / name).is_file()
    assert "/* script */" not in page.HTML
