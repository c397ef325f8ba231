"""What models, streams and results say of themselves in a line and in notebooks."""

import pytest

import tsm_ref
from tsm_ref.checkpoint import weights_folder
from tsm_ref.errors import UsageError


def test_a_model_in_a_line_and_as_a_table() -> None:
    model = tsm_ref.load("camera-motion", engine="numpy")
    said = "170,521 parameters, 9 classes, 5 shifts online_double (divisor 4, fill zero), on numpy"
    assert repr(model) == f"<Model camera-motion: {said}>"
    assert "<td>9 classes</td>" in model._repr_html_()
    none = tsm_ref.build("resnet18", num_classes=2, placement="none", engine="numpy")
    assert "no shift" in repr(none)


def test_hostile_names_are_text() -> None:
    model = tsm_ref.load("camera-motion", engine="numpy")
    model.name = "<script>\x1b[31m"
    assert "\x1b" not in repr(model)
    assert "<script>" not in model._repr_html_()


def test_a_stream_in_a_line() -> None:
    model = tsm_ref.load("camera-motion", engine="numpy")
    assert repr(model.stream(3)).startswith("<ModelStream of 3: delay 0, receptive field 6 frames")


def test_a_result_in_a_line_and_as_a_table() -> None:
    model = tsm_ref.load("camera-motion", engine="numpy")
    tour = model.recognize(weights_folder() / "samples" / "tour.mp4")
    assert repr(tour).endswith("tour.mp4 by camera-motion, 6 segments>")
    assert repr(tour).startswith("<Recognition static (")
    assert tour._repr_html_().count("<tr>") == 5 + 6


def test_a_stream_in_a_notebook() -> None:
    model = tsm_ref.load("camera-motion", engine="numpy")
    shown = model.stream()._repr_html_()
    assert "<caption>ModelStream</caption>" in shown
    assert "<th>delay</th><td>0 frames</td>" in shown


def test_a_path_is_no_clip() -> None:
    model = tsm_ref.load("camera-motion", engine="numpy")
    with pytest.raises(UsageError, match=r"a path: model\.recognize\('clip\.mp4'\) takes a video"):
        model("clip.mp4")  # type: ignore[arg-type]
