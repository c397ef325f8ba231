"""The page: every value is there, nothing in it is believed, and a real browser shows it."""

import copy
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tsm_ref.show.report import Shown, report
from tsm_ref.show.thumbnails import thumbnails

HOSTILE = (
    "<script>document.title='pwned'</script>.mp4",
    '"><img src=x onerror="document.title=\'pwned\'">.mp4',
    "'--><svg onload=document.title='pwned'>.mp4",
    "</style></script><body onload=document.title='pwned'>.mp4",
    "a\x1b[31m\u202egpj.mp4",
)


class Tags(HTMLParser):
    """What a browser would make of it: elements and their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.found)


def named(tree: dict[str, Any], name: str) -> dict[str, Any]:
    """The same result for a file, a label and a model of another name."""
    made = copy.deepcopy(tree)
    made["input"]["path"] = made["model"]["name"] = name
    made["warnings"] = [name]
    for row in (*made["predictions"], *made["segments"]):
        row["label"] = name
    return made


def nothing(tree: dict[str, Any]) -> list[Any]:
    return []


def test_every_part_of_a_clip_is_there(tour: dict[str, Any]) -> None:
    page = report([Shown("tour.mp4", tour)], "# the card & more")
    tags = Tags(page)
    assert tags.count("button") == len(tour["segments"]) == 6
    assert tags.count("img") == 16
    for row in tour["predictions"]:
        assert f"<td>{row['label']}</td>" in page
        assert f"{row['probability']:.1%}" in page
    assert "profile.shift.rule" in page
    assert tour["model"]["sha256"] in page
    assert "# the card &amp; more" in page
    assert tour["model"]["profile"]["measured"] in page
    assert tags.count("input") == 0


def test_nothing_is_fetched_and_no_script_is_allowed_but_its_own(tour: dict[str, Any]) -> None:
    tags = Tags(report([Shown("tour.mp4", tour)]))
    for _, attributes in tags.found:
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:")
        assert not any(name.startswith("on") or name == "style" for name in attributes)
    (rules,) = (a["content"] for tag, a in tags.found if a.get("http-equiv"))
    assert rules
    assert rules.startswith("default-src 'none'")
    assert re.search(r"script-src 'sha256-[\w+/=]+'$", rules)
    assert tags.count("script") == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text(tour: dict[str, Any], name: str) -> None:
    clean = Tags(report([Shown("a", named(tour, "a")), Shown("b", error="b")], "c", nothing))
    page = report([Shown(name, named(tour, name)), Shown(name, error=name)], name, nothing)
    assert [tag for tag, _ in Tags(page).found] == [tag for tag, _ in clean.found]
    assert "\x1b" not in page.partition("Model card")[0]
    assert "\u202e" not in page.partition("Model card")[0]


def test_frames_are_those_that_the_network_saw(tour: dict[str, Any]) -> None:
    frames = thumbnails(tour, most=5, width=64)
    sampling = tour["sampling"]
    seen = dict(zip(np.ravel(sampling["indices"]), np.ravel(sampling["times"]), strict=True))
    assert len(frames) == 5
    assert all(frame.time == seen[frame.index] for frame in frames)
    assert all(frame.url.startswith("data:image/jpeg;base64,/9j/") for frame in frames)
    assert thumbnails(named(tour, "no/such/file.mp4")) == ()


@pytest.fixture
def opened(chromium: Any, tour: dict[str, Any], tmp_path: Path) -> Any:
    """A batch of hostile names in a browser."""
    clips = [Shown(name, named(tour, name), "") for name in HOSTILE]
    clips += [Shown("tour.mp4", tour), Shown("broken.mp4", error="the file is empty")]
    path = tmp_path / "report.html"
    path.write_text(report(clips, "the card"), encoding="utf-8")
    chromium.set_window_size(420, 900)
    chromium.get(path.as_uri())
    return chromium


def test_a_browser_shows_it_without_a_complaint(opened: Any) -> None:
    assert opened.get_log("browser") == []
    assert opened.title == "7 clips: what was recognised"
    sides = "return [document.documentElement.scrollWidth, innerWidth]"
    width, room = opened.execute_script(sides)
    assert width <= room, "a phone would have to scroll sideways"
    sizes = opened.execute_script("return [...document.images].map((i) => i.naturalWidth)")
    assert sizes == [160] * 16


def test_search_sort_and_timeline(opened: Any) -> None:
    run = opened.execute_script
    heads = "[...document.querySelectorAll('article:not([hidden]) h2')]"
    shown = f"return {heads}.map((h) => h.textContent)"
    assert len(run(shown)) == 7
    find = "search.value = arguments[0]; search.dispatchEvent(new Event('input'))"
    run(find, "zoom TOUR")
    assert run(shown) == ["tour.mp4"]
    assert run("return count.textContent") == "1 of 7 shown"
    run(find, "")
    run("order.value = 'probability'; order.dispatchEvent(new Event('change'))")
    assert run(shown)[0] == "broken.mp4"
    run("order.value = 'place'; order.dispatchEvent(new Event('change'))")
    assert run(shown)[-1] == "broken.mp4"
    button = (
        "[...document.querySelectorAll('article')].at(-2).querySelectorAll('.timeline button')[1]"
    )
    run(f"{button}.click()")
    assert run(f"return {button}.getAttribute('aria-pressed')") == "true"
    assert "pan right" in run("return [...document.querySelectorAll('.told')].at(-1).textContent")
    assert run("return document.querySelectorAll('figure.in').length") > 0
    run(f"{button}.click()")
    assert run("return document.querySelectorAll('figure.in').length") == 0


def test_it_can_be_used_without_eyes_or_mouse(opened: Any) -> None:
    """The checks of an accessibility tool that apply to such a page."""
    run = opened.execute_script
    assert run("return document.documentElement.lang") == "en"
    assert run("return document.querySelectorAll('h1').length") == 1
    assert run("return [...document.images].every((i) => i.alt)")
    assert run(
        "return [...document.querySelectorAll('input, select')].every((i) => i.labels.length)"
    )
    assert run("return [...document.querySelectorAll('button')].every((b) => b.ariaLabel)")
    regions = run("return [...document.querySelectorAll('[role=region]')].map((r) => r.ariaLabel)")
    assert len(set(regions)) == len(regions)
    assert _contrast(run) >= 4.5


def _contrast(run: Any) -> float:
    """The least contrast of text to its ground (WCAG 2, 1.4.3)."""
    script = """
      const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map((v) => v / 255)
          .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
      const ground = (e) => { const c = getComputedStyle(e).backgroundColor;
        return e === document.documentElement || !/, 0\\)/.test(c) ? c : ground(e.parentElement); };
      const texts = document.querySelectorAll('h1, h2, p, td, th, button, figcaption, label');
      return Math.min(...[...texts]
        .map((e) => { const a = light(getComputedStyle(e).color), b = light(ground(e));
          return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); }));"""
    return float(run(script))
