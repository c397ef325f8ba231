"""What is fast gives the bits of the reference, compiled and in whole arrays."""

import importlib.util
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsm_ref import reference as ref
from tsm_ref.detection.boxes import Settings, boxes_of
from tsm_ref.detection.regions import moved, pooled, suppressed
from tsm_ref.models import MAPS

WAYS = [False] + [True] * (importlib.util.find_spec("numba") is not None)
ways = pytest.mark.parametrize("compiled", WAYS)
seeds = st.integers(0, 10**6)
SIZE = (9 * 16, 12 * 16)


def boxes_inside(rng: np.random.Generator, count: int, step: float = 0.0) -> np.ndarray:
    """Boxes in a picture of `SIZE`; whole multiples of a `step`, so that many are the same."""
    height, width = SIZE
    corner = rng.uniform(0, [width - 1, height - 1], (count, 2))
    far = corner + rng.uniform(0.02, 1, (count, 2)) * ([width, height] - corner)
    if step:
        corner, far = np.floor(corner / step) * step, np.ceil(far / step) * step
    return np.concatenate([corner, far], 1)


@ways
@given(seeds, st.integers(0, 60), st.sampled_from([0.0, 8.0, 64.0]),
       st.sampled_from([0.0, 0.3, 0.7, 1.0]), st.integers(1, 70))  # fmt: skip
def test_suppression(compiled, seed, count, step, threshold, most) -> None:
    """Equal scores, the same box twice, and fewer boxes than are asked for."""
    rng = np.random.default_rng(seed)
    boxes, scores = boxes_inside(rng, count, step), rng.integers(0, 4, count) / 3
    wanted = ref.nms(boxes, scores, threshold, most)
    found = suppressed(boxes, scores, threshold, most, compiled=compiled)
    np.testing.assert_array_equal(found, wanted)


@ways
@given(seeds, st.integers(0, 40), st.integers(1, 7), st.sampled_from([1, 2, 5]),
       st.sampled_from([np.float32, np.float64]), st.sampled_from([0.0, 1.0, 16.0]))  # fmt: skip
def test_pooling(compiled, seed, count, bins, classes, dtype, step) -> None:
    """Magnitudes far apart: another order of the sums gives other bits."""
    rng = np.random.default_rng(seed)
    maps = rng.standard_normal((classes * bins**2, 9, 12)) * 10.0 ** rng.integers(-9, 9, (9, 12))
    boxes = boxes_inside(rng, count, step)
    wanted = ref.ps_roi_pool(maps.astype(dtype).astype(np.float64), boxes, bins)
    found = pooled(maps.astype(dtype), boxes, bins, 16, compiled=compiled)
    np.testing.assert_array_equal(found, wanted)


def test_another_order_of_the_sums_would_be_seen() -> None:
    """The sum of a bin of 1e16, 1, -1e16 is 0 from the left, and 1 otherwise."""
    maps = np.zeros((1, 1, 3))
    maps[0, 0] = 1e16, 1, -1e16
    for compiled in WAYS:
        assert pooled(maps, np.array([[0.0, 0, 48, 16]]), 1, 16, compiled=compiled).item() == 0
    assert ref.ps_roi_pool(maps, [[0.0, 0, 48, 16]], 1).item() == 0


@ways
@given(seeds, st.integers(0, 40))
def test_offsets(compiled, seed, count) -> None:
    """Also out of the picture, and larger than a box may grow."""
    rng = np.random.default_rng(seed)
    boxes, offsets = boxes_inside(rng, count), 3 * rng.standard_normal((count, 4))
    wanted = ref.clip_boxes(ref.decode_boxes(boxes, offsets), *SIZE)
    found = moved(boxes, offsets, SIZE, compiled=compiled)
    np.testing.assert_array_equal(found, wanted)


@ways
@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
def test_maps_in_any_layout_of_memory(compiled, layout) -> None:
    maps = np.random.default_rng(5).standard_normal((18, 9, 12)).astype(np.float32)
    boxes = boxes_inside(np.random.default_rng(6), 7)
    np.testing.assert_array_equal(
        pooled(layout(maps), boxes, 3, 16, compiled=compiled),
        pooled(maps, boxes, 3, 16),
    )


def frame_of(rng: np.random.Generator) -> dict[str, Any]:
    """Maps of three classes for 38 x 63 places, as of a frame of 600 x 1000."""
    shapes = {"objectness": 18, "offsets": 36, "score_maps": 4 * 49, "box_maps": 4 * 49}
    spread = {"offsets": 0.3, "box_maps": 0.3}
    return {
        name: (spread.get(name, 3) * rng.standard_normal((shapes[name], 38, 63))).astype(np.float32)
        for name in MAPS
    }


def test_a_frame_of_the_published_size_is_the_same_in_every_way() -> None:
    maps, loose = frame_of(np.random.default_rng(1)), Settings(threshold=0.05)
    found = [boxes_of(maps, (600, 1000), loose, compiled=compiled) for compiled in WAYS]
    assert len(found[0].boxes) == 100
    for one, other in zip(found[0], found[-1], strict=True):
        np.testing.assert_array_equal(one, other)
