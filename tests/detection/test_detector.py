"""Frames in, boxes out: as the whole clip has them, in pixels of the frames, and refusals."""

import numpy as np
import pytest

import tsm_ref
from tsm_ref.checkpoint import export_onnx
from tsm_ref.detection import Detector, Seen, Settings
from tsm_ref.detection.boxes import boxes_of
from tsm_ref.errors import CheckpointError, UsageError, VideoError
from tsm_ref.model import Model
from tsm_ref.models import MAPS, RESNETS, build_rfcn, random_weights
from tsm_ref.profile import PROFILES, ShiftRule
from tsm_ref.profile_files import changed
from tsm_ref.video import Frame

LOOSE = Settings(threshold=0.2)


def network(size: str = "64", engine: str = "numba", **changes: object) -> Model:
    """A detector of two classes whose boxes are small enough for small frames."""
    options = {"num_classes": 2, "proposal": 16, "reduced": 24, "bins": 3} | changes
    model = tsm_ref.build("rfcn_resnet18", engine=engine, **options)  # type: ignore[arg-type]
    model.profile = changed(model.profile, size=size)
    return model


def film(count: int, height: int = 48, width: int = 72, aspect: float = 1.0) -> list[Frame]:
    pixels = np.random.default_rng(2).integers(0, 256, (count, height, width, 3), np.uint8)
    return [Frame(t, t / 10, pixels[t], aspect) for t in range(count)]


def edges(seen: Seen) -> np.ndarray:
    return np.array([(box.x1, box.y1, box.x2, box.y2) for box in seen.boxes]).reshape(-1, 4)


def test_each_frame_has_the_boxes_of_the_whole_clip() -> None:
    model, frames = network("48"), film(5)
    detector = Detector(model, LOOSE)
    clip = np.stack([detector._prepared(frame)[0] for frame in frames], 1)[None]
    assert clip.shape == (1, 3, 5, 48, 72)
    whole = model.run({"x": clip})
    found = list(detector.run(frames))
    assert [seen.time for seen in found] == [0, 0.1, 0.2, 0.3, 0.4]
    for t, seen in enumerate(found):
        wanted = boxes_of({name: whole[name][0, :, t] for name in MAPS}, (48, 72), LOOSE)
        np.testing.assert_array_equal(edges(seen), wanted.boxes)
        assert [box.score for box in seen.boxes] == wanted.scores.tolist()
        assert [box.index for box in seen.boxes] == wanted.classes.tolist()
    assert any(seen.boxes for seen in found)


def test_boxes_are_in_pixels_of_the_frame() -> None:
    """The same picture twice as large gives the same boxes twice as large."""
    small = film(1, 64, 96)[0]
    large = Frame(0, 0.0, small.pixels.repeat(2, 0).repeat(2, 1))
    detector = Detector(network("64", "numpy"), LOOSE)
    detector._prepared = lambda frame: Detector._prepared(detector, small)  # type: ignore[method-assign]
    a, b = (edges(next(detector.run([frame]))) for frame in (small, large))
    assert len(a)
    np.testing.assert_allclose(2 * a, b)


@pytest.mark.parametrize(
    ("frame", "size", "wanted"),
    [
        ((48, 72, 1.0), "64", (64, 96)),
        ((72, 48, 1.0), "64", (96, 64)),
        ((48, 72, 2.0), "64", (64, 192)),
        ((40, 400, 1.0), "600", (100, 1000)),
        ((30, 40, 1.0), "48x32", (48, 32)),
    ],
)
def test_what_the_network_sees(frame, size, wanted) -> None:
    detector = Detector(network(size, "numpy"))
    assert detector._prepared(film(1, *frame)[0]).shape == (1, 3, *wanted)


def test_labels_and_numbers() -> None:
    model = network(engine="numpy")
    model.profile = model.profile.with_changes(labels=("cat", "dog"))
    found = next(Detector(model, LOOSE).run(film(1)))
    assert {(box.label, box.index) for box in found.boxes} <= {("cat", 0), ("dog", 1)}
    model.profile = model.profile.with_changes(labels=("cat",))
    with pytest.raises(UsageError, match="has 2 classes and 1 labels"):
        Detector(model)


def test_a_file_in_onnx_is_a_detector_too(tmp_path) -> None:
    pytest.importorskip("onnx")
    model = network("48", "numpy")
    path = tmp_path / "d.onnx"
    sizes = {"T": 1, "H": 48, "W": 72}
    export_onnx(model.graph, model.weights, path, sizes=sizes, profile=model.profile)
    twin = tsm_ref.load(path, engine="numpy")
    a, b = (list(Detector(each, LOOSE).run(film(2))) for each in (model, twin))
    assert any(seen.boxes for seen in a)
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(edges(one), edges(other))


def test_what_cannot_be_is_refused() -> None:
    detector = Detector(network("16", "numpy"))
    with pytest.raises(VideoError, match="frame of 500x4 is 1000x8 for the network, smaller than"):
        list(Detector(network("600", "numpy")).run(film(1, 4, 500)))
    with pytest.raises(VideoError, match="frame 0 of 96x96 is 16x16 for the network, and those be"):
        list(detector.run([*film(1), *film(1, 96, 96)]))
    assert len(list(detector.run([*film(1), *film(1, 96, 144)]))) == 2  # of the same shape
    with pytest.raises(UsageError, match=r"`size` \(=15\) must be at least the network's stride"):
        Detector(network("15", "numpy"))
    with pytest.raises(CheckpointError, match="no detector: it has no output 'objectness'"):
        Detector(tsm_ref.build("resnet18", num_classes=2, engine="numpy"))


def test_a_network_that_looks_ahead_is_refused() -> None:
    graph = build_rfcn(RESNETS["resnet18"], num_classes=2, shift=ShiftRule("mit"), bins=3)
    model = Model(graph, lambda: random_weights(graph), PROFILES["rfcn"], engine="numpy")
    with pytest.raises(UsageError, match="looks 8 frames ahead: a detector that answers at once"):
        Detector(model)


def test_a_network_that_gives_no_numbers_is_told() -> None:
    model = network(engine="numpy")
    weights = {k: np.full_like(v, 1e38) if "reduce" in k else v for k, v in model.weights.items()}
    broken = Model(model.graph, lambda: weights, model.profile, name="broken", engine="numpy")
    with (
        pytest.warns(RuntimeWarning),
        pytest.raises(CheckpointError, match=r"the model 'broken': its .* are not finite"),
    ):
        list(Detector(broken).run(film(1)))
