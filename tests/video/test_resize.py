import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsm_ref.video.resize import RESIZERS, resize_opencv, resize_pil

sides = st.integers(1, 70)
sizes = st.tuples(sides, sides, sides, sides)
channels = st.sampled_from([None, 1, 3, 4])

# the sizes that the presets make of common videos, and their borders
REAL = [
    (240, 320, 256, 341),
    (256, 340, 256, 340),
    (256, 340, 224, 298),
    (1080, 1920, 256, 455),
    (1280, 720, 455, 256),
    (47, 65, 256, 354),
    (1, 1, 256, 256),
    (512, 680, 256, 340),
    (511, 680, 256, 340),
    (36, 36, 72, 72),
]


def image(height: int, width: int, depth: int | None, seed: int = 0) -> np.ndarray:
    shape = (height, width) if depth is None else (height, width, depth)
    noise = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return noise if seed % 2 else (noise > 127).astype(np.uint8) * 255


def by_pillow(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    module = pytest.importorskip("PIL.Image")
    return np.asarray(module.fromarray(pixels).resize((width, height), module.Resampling.BILINEAR))


def by_opencv(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    cv2 = pytest.importorskip("cv2")
    resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized).reshape((height, width, *pixels.shape[2:]))


def pillow_may_start_with_the_columns() -> bool:
    """Pillow 13 shrinks the height first where that saves work; the rounding then differs."""
    pil = pytest.importorskip("PIL")
    return int(pil.__version__.split(".")[0]) >= 13


@given(sizes, st.sampled_from([None, 3]), st.integers(0, 9))
def test_pil_equals_pillow(size: tuple[int, int, int, int], depth: int | None, seed: int) -> None:
    height, width, new_height, new_width = size
    pixels = image(height, width, depth, seed)
    expected = by_pillow(pixels, new_height, new_width)
    got = resize_pil(pixels, new_height, new_width)
    if pillow_may_start_with_the_columns() and not np.array_equal(got, expected):
        got = resize_pil(resize_pil(pixels, new_height, width), new_height, new_width)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("size", REAL)
@pytest.mark.parametrize("seed", [0, 1])
def test_pil_equals_pillow_on_real_sizes(size: tuple[int, int, int, int], seed: int) -> None:
    pixels = image(*size[:2], 3, seed)
    np.testing.assert_array_equal(resize_pil(pixels, *size[2:]), by_pillow(pixels, *size[2:]))


@given(sizes, channels, st.integers(0, 9))
def test_opencv_equals_opencv(
    size: tuple[int, int, int, int], depth: int | None, seed: int
) -> None:
    pixels = image(size[0], size[1], depth, seed)
    np.testing.assert_array_equal(resize_opencv(pixels, *size[2:]), by_opencv(pixels, *size[2:]))


@pytest.mark.parametrize("size", REAL)
@pytest.mark.parametrize("seed", [0, 1])
def test_opencv_equals_opencv_on_real_sizes(size: tuple[int, int, int, int], seed: int) -> None:
    pixels = image(*size[:2], 3, seed)
    np.testing.assert_array_equal(resize_opencv(pixels, *size[2:]), by_opencv(pixels, *size[2:]))


def triangle(size: int, target: int, *, antialias: bool) -> np.ndarray:
    """The exact weights of one pass as a matrix (target, size), straight from the definition."""
    scale = size / target
    stretch = max(scale, 1.0) if antialias else 1.0
    weights = np.zeros((target, size))
    for i in range(target):
        centre = (i + 0.5) * scale - 0.5
        if antialias:
            for j in range(size):
                weights[i, j] = max(0.0, 1.0 - abs(j - centre) / stretch)
        else:
            low = int(np.floor(centre))
            for j, part in ((low, low + 1 - centre), (low + 1, centre - low)):
                weights[i, min(max(j, 0), size - 1)] += part
    return weights / weights.sum(axis=1, keepdims=True)


@given(sizes, st.integers(0, 9))
def test_pil_is_within_rounding_of_the_definition(
    size: tuple[int, int, int, int], seed: int
) -> None:
    pixels = image(size[0], size[1], None, seed)
    down = triangle(size[0], size[2], antialias=True)
    across = triangle(size[1], size[3], antialias=True)
    exact = down @ pixels.astype(np.float64) @ across.T
    assert abs(resize_pil(pixels, *size[2:]) - exact).max() <= 1.01  # half a level in each pass


@given(sizes.filter(lambda s: s[0] != 2 * s[2] or s[1] != 2 * s[3]), st.integers(0, 9))
def test_opencv_is_within_rounding_of_the_definition(
    size: tuple[int, int, int, int], seed: int
) -> None:
    pixels = image(size[0], size[1], None, seed)
    down = triangle(size[0], size[2], antialias=False)
    across = triangle(size[1], size[3], antialias=False)
    exact = down @ pixels.astype(np.float64) @ across.T
    assert abs(resize_opencv(pixels, *size[2:]) - exact).max() <= 1.0


@pytest.mark.parametrize("name", sorted(RESIZERS))
@given(value=st.integers(0, 255), size=sizes)
def test_an_even_colour_stays(name: str, value: int, size: tuple[int, int, int, int]) -> None:
    resized = RESIZERS[name](np.full((*size[:2], 3), value, np.uint8), *size[2:])
    assert (resized == value).all()


def test_opencv_halves_by_the_mean_of_four() -> None:
    pixels = np.array([[0, 1, 10, 20], [0, 1, 30, 41]], np.uint8)
    np.testing.assert_array_equal(resize_opencv(pixels, 1, 2), [[1, 25]])


@pytest.mark.parametrize("name", sorted(RESIZERS))
def test_the_result_is_a_copy_of_its_own(name: str) -> None:
    pixels = image(8, 8, 3)
    same = RESIZERS[name](pixels, 8, 8)
    np.testing.assert_array_equal(same, pixels)
    assert not np.shares_memory(same, pixels)


@pytest.mark.parametrize("name", sorted(RESIZERS))
def test_reads_images_that_are_not_contiguous(name: str) -> None:
    pixels = image(20, 30, 3, 1)
    turned = pixels[::-1].transpose(1, 0, 2)
    expected = RESIZERS[name](np.ascontiguousarray(turned), 11, 7)
    np.testing.assert_array_equal(RESIZERS[name](turned, 11, 7), expected)


@pytest.mark.parametrize("name", sorted(RESIZERS))
@pytest.mark.parametrize(
    ("pixels", "size", "message"),
    [
        (np.zeros((2, 2)), (1, 1), "float64"),
        (np.zeros(4, np.uint8), (1, 1), "must be uint8 \\(H, W\\)"),
        (np.zeros((2, 2), np.uint8), (0, 1), "cannot become 0x1"),
        (np.zeros((0, 2), np.uint8), (1, 1), "no empty side"),
    ],
)
def test_impossible_sizes(
    name: str, pixels: np.ndarray, size: tuple[int, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        RESIZERS[name](pixels, *size)
