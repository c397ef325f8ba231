"""Regions: what is accepted, and what detectors say."""

import os
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tsm_ref.errors import MissingDependency, UsageError
from tsm_ref.pulse.regions import Region, detector

PICTURE = np.zeros((60, 80, 3), np.uint8)


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5", "1.5,2,3,4", "-1,2,3,4", "1,2,0,4", "a"]
)
def test_what_is_no_region(text: str) -> None:
    with pytest.raises(UsageError, match=r"must be x,y,w,h"):
        Region.parse(text)


def test_a_region_is_cut_out() -> None:
    picture = np.arange(60 * 80 * 3).reshape(60, 80, 3)
    found = Region.parse("10,20,30,40").cut(picture)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, picture[20:60, 10:40])


@pytest.mark.parametrize("text", ["51,0,30,10", "0,51,10,10", "0,0,81,60"])
def test_a_region_outside_the_picture(text: str) -> None:
    with pytest.raises(UsageError, match=r"reaches outside the picture of 80x60"):
        Region.parse(text).cut(PICTURE)


def fake(boxes: Any, **more: Any) -> SimpleNamespace:
    """An OpenCV that finds these faces."""
    classifier = SimpleNamespace(detectMultiScale=lambda grey: boxes)
    return SimpleNamespace(
        __version__="4.99",
        COLOR_RGB2GRAY=1,
        cvtColor=lambda pixels, code: pixels[..., 0],
        CascadeClassifier=lambda path: classifier,
        **more,
    )


@pytest.fixture
def cascades(tmp_path: Any) -> SimpleNamespace:
    """The folder in which an OpenCV keeps what it knows of faces."""
    (tmp_path / "haarcascade_frontalface_default.xml").write_text("<x/>")
    return SimpleNamespace(haarcascades=str(tmp_path))


def test_the_widest_face_comes_first_and_all_are_cut_off(monkeypatch, cascades) -> None:
    boxes = np.array([[5, 5, 10, 10], [60, 30, 40, 40]])
    monkeypatch.setitem(sys.modules, "cv2", fake(boxes, data=cascades))
    assert detector()(PICTURE) == [Region(60, 30, 20, 30), Region(5, 5, 10, 10)]
    monkeypatch.setitem(sys.modules, "cv2", fake((), data=cascades))
    assert detector()(PICTURE) == []


def test_without_opencv_or_its_detector_the_way_out_is_told(monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingDependency, match=r"--roi x,y,w,h"):
        detector()
    bare = SimpleNamespace(haarcascades=str(tmp_path))
    monkeypatch.setitem(sys.modules, "cv2", fake((), data=bare))
    with pytest.raises(UsageError, match=r"\(4.99\) brings no face detector: give .*--roi"):
        detector()


def test_a_model_of_yunet_that_is_none(tmp_path) -> None:
    pytest.importorskip("cv2")
    with pytest.raises(UsageError, match=r"there is no such file"):
        detector(str(tmp_path / "none.onnx"))
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(UsageError, match=r"is no YuNet of OpenCV"):
        detector(str(tmp_path / "bad.onnx"))


@pytest.mark.parametrize("kind", ["haar", "yunet"])
def test_the_detectors_that_are_really_there(kind: str) -> None:
    """Nothing is a face in noise, or in a picture smaller than any; of any size and shape."""
    cv2 = pytest.importorskip("cv2")
    model = os.environ.get("TSM_REF_YUNET") if kind == "yunet" else None
    if kind == "yunet" and model is None:
        pytest.skip("no model of YuNet: TSM_REF_YUNET is not set")
    if kind == "haar" and not hasattr(cv2, "CascadeClassifier"):
        with pytest.raises(UsageError, match="brings no face detector"):
            detector()
        return
    find, noise = detector(model), np.random.default_rng(7)
    for size in ((37, 53), (300, 400), (301, 377)):
        assert find(noise.integers(0, 256, (*size, 3), np.uint8)) == []
