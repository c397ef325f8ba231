"""Animations without delays: counted, and said."""

from pathlib import Path

import numpy as np
import pytest

from tests.video.conftest import picture
from tsm_ref.video import open_clip
from tsm_ref.video.delays import undelayed

pytest.importorskip("av")
pillow = pytest.importorskip("PIL.Image")
FORMATS = {"a.gif": "gif", "a.apng": "apng", "a.webp": "webp"}


def animation(path: Path, delays: list[int]) -> Path:
    """A picture for each delay in thousandths of a second."""
    images = [pillow.fromarray(picture(i)) for i in range(len(delays))]
    kind = "PNG" if path.suffix == ".apng" else None
    more = {"disposal": 2} if path.suffix == ".gif" else {}
    images[0].save(path, kind, save_all=True, append_images=images[1:], duration=delays, **more)
    return path


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("delays", [[40] * 6, [0, 40, 0, 40, 40, 0], [0] * 6])
def test_missing_delays_are_counted_and_said(delays: list[int], name: str, tmp_path: Path) -> None:
    path = animation(tmp_path / name, delays)
    count = delays.count(0)
    if name != "a.webp":
        assert undelayed(str(path), FORMATS[name]) == count
    known = open_clip(path).survey()
    said = [w for w in known.info.warnings if w.startswith("delays are missing")]
    assert [f"(of {count} frames)" in w for w in said] == [True] * bool(count)
    assert len(known.times) == 6
    assert (np.diff(known.times) >= 0.039).all()


@pytest.mark.parametrize("name", ["gif", "apng"])
def test_what_is_cut_anywhere_ends_the_count(name: str, tmp_path: Path) -> None:
    path = animation(tmp_path / f"a.{name}", [0] * 3)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert undelayed(str(path), name) <= 3
