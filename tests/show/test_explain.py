"""The pictures of the shift: the terminal, SVG, the page in a browser, and which frames decided."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

import tsm_ref
from tsm_ref import explain
from tsm_ref.checkpoint import weights_folder
from tsm_ref.profile import PROFILES
from tsm_ref.reference import temporal_shift
from tsm_ref.show.occlusion import occlusion
from tsm_ref.show.shift_picture import drawing, page, sources, svg

ROOT = Path(__file__).resolve().parent.parent.parent
PAN = weights_folder() / "samples" / "pan_left.mp4"


@pytest.mark.parametrize("name", sorted(PROFILES))
@pytest.mark.parametrize("channels", [4, 16, 25])
def test_sources_are_those_of_the_reference(name: str, channels: int, rng) -> None:
    rule = PROFILES[name].shift
    frames = rule.segment or 8
    found = sources(rule.d(channels), frames, rule.fill, rule.segment)
    x = rng.normal(size=(1, channels, frames, 1, 1))
    expected = temporal_shift(x, rule.d(channels), fill=rule.fill)[0, :, :, 0, 0]
    c = np.arange(channels)[:, None]
    assert np.array_equal(np.where(found < 0, 0, x[0, :, :, 0, 0][c, found]), expected)


def test_fills_and_segments() -> None:
    assert sources([1], 3, "replicate").tolist() == [[0, 0, 1]]
    assert sources([1], 3, "circular").tolist() == [[2, 0, 1]]
    assert sources([1], 5, "zero", 2).tolist() == [[-1, 0, -1, 2, -1]]


def test_the_svg_names_every_frame() -> None:
    found = sources([-1, 1, 0, 0], 4)
    tree = ET.fromstring(svg(found, "<b> & more"))
    texts = [e.text for e in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert [t for t in texts if t in ("0", "t0", "t1", "t2", "t3")] == [
        *("t0", "t1", "t2", "t3"),
        *("t1", "t2", "t3", "0"),
        *("0", "t0", "t1", "t2"),
        *("t0", "t1", "t2", "t3"),
    ]
    assert "c2..3" in texts
    assert "<b> & more" in texts


def test_the_command_draws_profiles(capsys) -> None:
    for name in PROFILES:
        assert explain.main([name, "--frames", "4"]) == 0
        assert capsys.readouterr().out.startswith(f"{name}: ")
    assert explain.main(["mit"]) == 0
    out = capsys.readouterr().out
    assert "0..1           1  2  3  4  5  6  7  .   the frame after" in out
    assert "4..15          0  1  2  3  4  5  6  7   its own frame" in out


def test_the_command_draws_models(capsys) -> None:
    assert explain.main(["camera-motion", "--engine", "numpy", "--clip", str(PAN)]) == 0
    out = capsys.readouterr().out
    model = tsm_ref.load("camera-motion", engine="numpy")
    assert all(f"  {shift.name} " in out for shift in model.shifts)
    last = next(line for line in out.splitlines() if line.startswith(f"  {model.shifts[-1].name} "))
    before, after = map(int, re.findall(r" (\d+)", last[len(model.shifts[-1].name) + 2 :])[:2])
    assert before + after + 1 == model.stream().receptive_field
    assert out.count("  frame ") == 8 + 1
    assert "pan left (" in out


def test_pictures_are_written(capsys, tmp_path: Path) -> None:
    code = explain.main(
        ["paddle", "--svg", str(tmp_path / "x.svg"), "--html", str(tmp_path / "x.html")]
    )
    assert code == 0
    assert (tmp_path / "x.svg").read_text().startswith("<svg")
    assert "selected>paddle<" in (tmp_path / "x.html").read_text()


def test_the_picture_of_the_readme_is_what_the_command_draws() -> None:
    rule = PROFILES["mit"].shift
    drawn = svg(sources(rule.d(16), 8), f"mit: {rule}, 16 channels")
    assert (ROOT / "docs" / "shift.svg").read_text("utf-8") == drawn


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["no-such"], 2, "'no-such' is no profile, no model and no file"),
        (["mit", "--clip", str(PAN)], 2, "--clip needs a model"),
        (["mit", "--frames", "65"], 2, "at most 64 frames"),
        (["camera-motion-tsn"], 2, "no temporal shift"),
        (["mit", "--svg", "no/such/x.svg"], 5, "no/such/x.svg"),
        (["camera-motion", "--clip", "no-such.mp4", "--engine", "numpy"], 3, "no-such.mp4: no"),
    ],
)
def test_what_cannot_be_drawn(capsys, arguments: list[str], code: int, sentence: str) -> None:
    assert explain.main(arguments) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert sentence in err


def test_the_frames_that_decide() -> None:
    """The loss of each is what running the clip without it gives."""
    model = tsm_ref.load("camera-motion", engine="numpy")
    label, chance, frames = occlusion(model, PAN)
    assert label == "pan left"
    assert [f.time for f in frames] == sorted(f.time for f in frames)
    for frame in frames:
        assert frame.loss == pytest.approx(chance - frame.probability)
    assert max(frame.loss for frame in frames) > 0.01


def test_a_shift_of_nothing() -> None:
    assert drawing(sources([0, 0], 3)).splitlines()[1].endswith("its own frame")


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_the_page_computes_what_the_reference_does(chromium, tmp_path: Path, name: str) -> None:
    path = tmp_path / "shift.html"
    path.write_text(page(name), encoding="utf-8")
    chromium.get(path.as_uri())
    assert chromium.get_log("browser") == []
    cells = "return [...document.querySelectorAll('td button')].map((b) => Number(b.dataset.from))"
    rule = PROFILES[name].shift
    for frames in (1, 8, 16):
        chromium.execute_script(
            "const f = document.getElementById('frames'); f.value = arguments[0];"
            "f.dispatchEvent(new Event('input'))",
            frames,
        )
        expected = sources(rule.d(16), frames, rule.fill, rule.segment)
        assert chromium.execute_script(cells) == expected.ravel().tolist()
    button = "document.querySelectorAll('td button')[0]"
    chromium.execute_script(f"{button}.click()")
    assert "Channel 0 of frame t0" in chromium.execute_script("return told.textContent")
    fields = "[...document.querySelectorAll('select, input')].every((f) => f.labels.length)"
    assert chromium.execute_script(f"return {fields}")
    assert chromium.execute_script(
        "return [...document.querySelectorAll('button')].every((b) => b.ariaLabel)"
    )


def test_a_profile_of_ones_own(capsys, tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "mit"\n[shift]\ndivisor = 4\n')
    assert explain.main([str(path), "--channels", "8", "--html", str(tmp_path / "x.html")]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{path}: mit (divisor 4, fill zero), 8 channels")
    assert "0..1" in out
    assert "mine.toml" in (tmp_path / "x.html").read_text("utf-8")
    path.write_text("nonsense")
    assert explain.main([str(path)]) == 2
    assert "mine.toml: this is not a profile" in capsys.readouterr().err
