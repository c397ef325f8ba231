"""Anchors, offsets, suppression and pooling of regions: published numbers, and plain loops."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsm_ref import reference as ref
from tsm_ref.reference.detection import LARGEST_OFFSET

PUBLISHED = [
    *[(-84, -40, 99, 55), (-176, -88, 191, 103), (-360, -184, 375, 199)],
    *[(-56, -56, 71, 71), (-120, -120, 135, 135), (-248, -248, 263, 263)],
    *[(-36, -80, 51, 95), (-80, -168, 95, 183), (-168, -344, 183, 359)],
]
"""The nine anchors of Faster R-CNN's code, which names the last pixel of a box."""


def some_boxes(count: int, seed: int = 0, size: float = 90.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, size, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(1, size, (count, 2))], 1)


def test_the_anchors_are_the_published_ones() -> None:
    found = ref.anchors(3, 5)
    assert found.shape == (3, 5, 9, 4)
    assert [tuple(box) for box in (found[0, 0] - (0, 0, 1, 1)).tolist()] == PUBLISHED
    np.testing.assert_array_equal(found[2, 4] - found[0, 0], np.tile([64.0, 32.0], (9, 2)))


def test_offsets_there_and_back() -> None:
    boxes, wanted = some_boxes(50, 1), some_boxes(50, 2)
    found = ref.decode_boxes(boxes, ref.encode_boxes(boxes, wanted))
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ref.decode_boxes(boxes, np.zeros((50, 4))), boxes, rtol=1e-12)


def test_no_offset_makes_a_box_without_end() -> None:
    found = ref.decode_boxes([[0.0, 0.0, 16.0, 16.0]], [[0.0, 0.0, 1e30, LARGEST_OFFSET]])
    np.testing.assert_allclose(found, [[-492.0, -492.0, 508.0, 508.0]])


def test_the_part_of_a_box_in_a_picture() -> None:
    boxes = [[-9.0, -9.0, -1.0, -1.0], [2.0, 3.0, 4.0, 5.0], [2.0, 3.0, 99.0, 99.0]]
    found = ref.clip_boxes(boxes, height=20, width=30)
    assert found.tolist() == [[0, 0, 0, 0], [2, 3, 4, 5], [2, 3, 30, 20]]


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of whole boxes by counting pixels."""

    def pixels(box: np.ndarray) -> set[tuple[int, int]]:
        x1, y1, x2, y2 = (int(v) for v in box)
        return {(x, y) for x in range(x1, x2) for y in range(y1, y2)}

    return len(pixels(a) & pixels(b)) / len(pixels(a) | pixels(b))


def test_overlap_is_counted_in_pixels() -> None:
    boxes = np.ceil(some_boxes(12, size=9.0))
    boxes[:, 2:] += 1
    found = ref.iou(boxes, boxes[::-1])
    for i, j in np.ndindex(found.shape):
        assert found[i, j] == pytest.approx(overlap(boxes[i], boxes[::-1][j]))
    assert ref.iou([[0.0, 0.0, 1.0, 1.0]], [[1.0, 0.0, 2.0, 1.0]]).item() == 0


@given(st.integers(0, 10**6), st.integers(0, 20), st.sampled_from([0.0, 0.3, 0.7, 1.0]))
def test_what_is_suppressed_overlaps_a_better_one_that_is_kept(seed, count, threshold) -> None:
    boxes = some_boxes(count, seed)
    scores = np.random.default_rng(seed).integers(0, 5, count) / 4  # with equal ones
    kept = ref.nms(boxes, scores, threshold).tolist()
    ranks = sorted(range(count), key=lambda r: (-scores[r], r))
    wanted: list[int] = []
    for r in ranks:
        if all(ref.iou(boxes[[r]], boxes[[k]]).item() <= threshold for k in wanted):
            wanted.append(r)
    assert kept == wanted
    assert ref.nms(boxes, scores, threshold, most=3).tolist() == wanted[:3]


def bin_by_formula(maps, box, bins, stride, c, i, j) -> float:
    """Equation 1 of R-FCN for one bin, pixel by pixel, in exact fractions."""
    x1, y1, x2, y2 = (Fraction(math.floor(side + 0.5), stride) for side in box)
    w, h = (max(side, Fraction(1, 10)) for side in (x2 - x1, y2 - y1))
    columns = range(math.floor(x1 + j * w / bins), math.ceil(x1 + (j + 1) * w / bins))
    rows = range(math.floor(y1 + i * h / bins), math.ceil(y1 + (i + 1) * h / bins))
    plane = maps[(c * bins + i) * bins + j]
    values = [
        plane[y, x] for y in rows for x in columns
        if 0 <= y < plane.shape[0] and 0 <= x < plane.shape[1]
    ]  # fmt: skip
    return sum(values) / len(values) if values else 0.0


@pytest.mark.parametrize(("bins", "stride"), [(1, 16), (2, 16), (3, 4), (7, 16)])
def test_every_bin_is_the_mean_of_its_own_map(bins, stride) -> None:
    maps = np.random.default_rng(3).standard_normal((2 * bins**2, 9, 12))
    whole = np.array([[0.0, 0.0, 12.0, 9.0], [1.0, 2.0, 8.0, 9.0]]) * stride
    outside = np.array([[150.0, 80.0, 400.0, 300.0], [-40.0, -40.0, 30.0, 20.0]])
    tiny = np.array([[10.1, 10.1, 10.2, 10.2]])
    boxes = np.concatenate([whole, outside, tiny, some_boxes(20, 4)])
    found = ref.ps_roi_pool(maps, boxes, bins, stride)
    assert found.shape == (len(boxes), 2, bins, bins)
    for r, c, i, j in np.ndindex(found.shape):
        wanted = bin_by_formula(maps, boxes[r], bins, stride, c, i, j)
        assert found[r, c, i, j] == pytest.approx(wanted, abs=1e-12)


def test_an_object_votes_where_it_lies() -> None:
    """Each map of a class knows its own part: only a box that fits finds all of them."""
    maps = np.zeros((9, 12, 12))
    for part in range(9):
        i, j = divmod(part, 3)
        maps[part, 3 + 2 * i : 5 + 2 * i, 3 + 2 * j : 5 + 2 * j] = 1
    right, left = [48.0, 48.0, 144.0, 144.0], [16.0, 48.0, 112.0, 144.0]
    scores = ref.vote(ref.ps_roi_pool(maps, [right, left], 3))
    assert scores[:, 0].tolist() == [1.0, 0.0]


def test_the_dtype_stays() -> None:
    boxes, maps = some_boxes(3), np.ones((4, 5, 5), np.float16)
    small = boxes.astype(np.float32)
    assert ref.decode_boxes(small, np.zeros_like(small)).dtype == np.float32
    assert ref.clip_boxes(small, 9, 9).dtype == np.float32
    assert ref.iou(small, small).dtype == np.float32
    pooled = ref.ps_roi_pool(maps, boxes, 2)
    assert pooled.dtype == ref.vote(pooled).dtype == np.float16


EMPTY = np.array([[0.0, 0.0, 4.0, 4.0], [3.0, 1.0, 3.0, 8.0]])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ref.nms(EMPTY, np.ones(2), 0.5), r"`boxes` \[1\] \(3, 1, 3, 8\) has no area"),
        (lambda: ref.iou(EMPTY, EMPTY), r"`a` \[1\] \(3, 1, 3, 8\) has no area"),
        (lambda: ref.ps_roi_pool(np.ones((4, 3, 3)), EMPTY, 2), "has no area"),
        (lambda: ref.ps_roi_pool(np.ones((4, 3, 3)), EMPTY * np.nan, 2), "has no area"),
        (lambda: ref.ps_roi_pool(np.ones((4, 3, 3)), [[0.0, 0.0, np.inf, 1.0]], 2), "has no area"),
        (lambda: ref.encode_boxes(EMPTY, EMPTY), "has no area"),
        (lambda: ref.ps_roi_pool(np.ones((5, 3, 3)), EMPTY[:1], 2), "must be"),
        (lambda: ref.nms(EMPTY[:1], np.ones(2), 0.5), "must be one for each"),
        (lambda: ref.nms(EMPTY[:1], np.full(1, np.nan), 0.5), "must be numbers"),
        (lambda: ref.nms(EMPTY[:1], np.ones(1), 1.5), "must be numbers, and `threshold`"),
        (lambda: ref.decode_boxes(np.ones((2, 3)), np.ones((2, 4))), r"`boxes` has shape \(2, 3\)"),
        (lambda: ref.decode_boxes([[0, 0, 1, 1]], [[0.0] * 4]), "`boxes` is int64"),
        (lambda: ref.iou(np.ones(4), EMPTY[:1]), r"has no area"),
        (lambda: ref.iou(EMPTY[0], EMPTY[:1]), "must be lists of boxes"),
        (lambda: ref.anchors(0, 1), "`height` "),
        (lambda: ref.anchors(1, 1, ratios=[0]), "must be above 0"),
        (lambda: ref.clip_boxes(EMPTY, 0, 4), "`height` "),
        (lambda: ref.vote(np.ones(3)), "is needed"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(call, said) -> None:
    with pytest.raises(ValueError, match=said):
        call()


def test_no_boxes_are_no_mistake() -> None:
    none = np.zeros((0, 4))
    assert ref.nms(none, np.zeros(0), 0.5).tolist() == []
    assert ref.ps_roi_pool(np.ones((8, 3, 3)), none, 2).shape == (0, 2, 2, 2)
    assert ref.vote(np.zeros((0, 2, 2, 2))).shape == (0, 2)
