"""From maps to boxes: planted objects are found, and what is left out is left out."""

import numpy as np
import pytest

from tsm_ref import reference as ref
from tsm_ref.detection.boxes import Settings, boxes_of, classes_of, proposals
from tsm_ref.errors import CheckpointError, UsageError

BINS, CLASSES, PLACES = 3, 2, (12, 20)
SIZE = (PLACES[0] * 16, PLACES[1] * 16)
CENTRE = 3  # the anchor of 128 x 128 pixels: the second ratio, the first scale


def planted(*objects: tuple[int, int, int]) -> dict[str, np.ndarray]:
    """Maps of a network that sees objects of 128 x 128: (row, column, class from 0 on).

    Around an object its class is seen, and background everywhere else.
    """
    maps = {
        "objectness": np.zeros((18, *PLACES), np.float32),
        "offsets": np.zeros((36, *PLACES), np.float32),
        "score_maps": np.zeros((CLASSES + 1, BINS, BINS, *PLACES), np.float32),
        "box_maps": np.zeros((4 * BINS**2, *PLACES), np.float32),
    }
    maps["objectness"][:9] = 5
    maps["score_maps"][0] = 4
    for row, column, kind in objects:
        maps["objectness"][9 + CENTRE, row, column] = 20
        rows, columns = slice(row - 3, row + 5), slice(column - 3, column + 5)
        maps["score_maps"][0, :, :, rows, columns] = 0
        maps["score_maps"][1 + kind, :, :, rows, columns] = 10
    maps["score_maps"] = maps["score_maps"].reshape(-1, *PLACES)
    return maps


def test_planted_objects_are_found_where_they_are() -> None:
    found = boxes_of(planted((5, 4, 0), (5, 14, 1)), SIZE, Settings(threshold=0.9, proposals=2))
    wanted = {0: [8.0, 24.0, 136.0, 152.0], 1: [168.0, 24.0, 296.0, 152.0]}
    assert {kind: box for box, kind in zip(found.boxes.tolist(), found.classes.tolist(),
                                           strict=True)} == wanted  # fmt: skip
    assert len(found.boxes) == 2
    assert (found.scores > 0.99).all()


def test_the_maps_of_boxes_move_them() -> None:
    maps = planted((5, 4, 0))
    maps["box_maps"][: BINS**2] = 0.25  # a quarter of the width to the right
    maps["box_maps"][3 * BINS**2 :] = np.log(0.5)  # half as high
    (box,) = boxes_of(maps, SIZE, Settings(threshold=0.9, proposals=1)).boxes
    np.testing.assert_allclose(box, [40, 56, 168, 120], atol=1e-4)


def test_what_is_moved_out_of_the_picture_is_no_box() -> None:
    maps = planted((5, 4, 0))
    maps["box_maps"][: BINS**2] = 100
    assert boxes_of(maps, SIZE, Settings(threshold=0.01)).boxes.shape == (0, 4)


def test_of_two_that_are_almost_certain_the_likelier_comes_first() -> None:
    """In float64 both probabilities are 1."""
    maps = planted((5, 4, 0), (5, 14, 1))
    maps["objectness"][9 + CENTRE, 5, [4, 14]] = 50, 60
    places = proposals(maps["objectness"], maps["offsets"], SIZE, Settings(proposals=2))
    assert places[:, 0].tolist() == [168.0, 8.0]


def test_no_proposals_are_no_boxes() -> None:
    maps = planted((5, 4, 0))
    maps["offsets"][:] = -100  # every anchor leaves the picture, or becomes nothing
    assert proposals(maps["objectness"], maps["offsets"], SIZE, Settings()).shape == (0, 4)
    found = boxes_of(maps, SIZE, Settings())
    assert [part.shape for part in found] == [(0, 4), (0,), (0,)]


def test_the_numbers_are_limits() -> None:
    rng = np.random.default_rng(1)
    maps = {name: rng.standard_normal(value.shape) for name, value in planted().items()}
    few = Settings(threshold=0.01, most=5, proposals=20, candidates=200, least=40)
    places = proposals(maps["objectness"], maps["offsets"], SIZE, few)
    assert len(places) == 20
    assert (places[:, 2:] - places[:, :2]).min() >= 40
    overlaps = ref.iou(places, places) - np.eye(20)
    assert overlaps.max() <= 0.7
    found = boxes_of(maps, SIZE, few)
    assert len(found.boxes) == 5
    assert (np.diff(found.scores) <= 0).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [SIZE[1], SIZE[0]] * 2).all()
    for kind in set(found.classes.tolist()):
        same = found.boxes[found.classes == kind]
        assert (ref.iou(same, same) - np.eye(len(same))).max() <= 0.3


def test_maps_of_something_else_are_refused() -> None:
    right = {"objectness": 18, "offsets": 36, "score_maps": 27, "box_maps": 36}
    assert classes_of(right) == 2
    for name, channels in (("objectness", 9), ("offsets", 4), ("score_maps", 28), ("box_maps", 8),
                           ("box_maps", 0), ("score_maps", 9)):  # fmt: skip
        with pytest.raises(CheckpointError, match=f"{channels} of {name}"):
            classes_of(right | {name: channels})
    maps = planted()
    maps["offsets"][0, 0, 0] = np.nan
    with pytest.raises(CheckpointError, match="its offsets are not finite"):
        boxes_of(maps, SIZE, Settings())


@pytest.mark.parametrize(
    "options", [{"threshold": 0}, {"threshold": 1.5}, {"overlap": 1}, {"most": 0}, {"least": 0.5}]
)
def test_settings_that_cannot_be(options) -> None:
    (name,) = options
    with pytest.raises(UsageError, match=f"`{name}`"):
        Settings(**options)
