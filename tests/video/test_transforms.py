import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsm_ref.errors import VideoError
from tsm_ref.profile import Preprocess
from tsm_ref.video.transforms import (
    BN_INCEPTION,
    MIT,
    MMACTION2,
    ONLINE_DEMO,
    PADDLE,
    PRESETS,
    full_resolution,
    geometry,
    normalize,
    preprocess,
    resize_and_crop,
    views,
)


def frame(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("spec", "before", "after"),
    [
        (MIT, (240, 320), (256, 341)),
        (MIT, (320, 240), (341, 256)),
        (MIT, (256, 340), (256, 340)),
        (MIT, (1080, 1920), (256, 455)),
        (MIT, (47, 65), (256, 354)),
        (MIT, (64, 65), (256, 260)),
        (MMACTION2, (240, 427), (256, 455)),  # 455.47 both ways
        (MIT, (360, 637), (256, 452)),
        (MMACTION2, (360, 637), (256, 453)),  # 452.98
        (MMACTION2, (637, 360), (453, 256)),
        (PADDLE, (720, 1280), (256, 341)),
        (PADDLE, (1280, 720), (341, 256)),
        (PADDLE, (256, 455), (256, 455)),  # a frame of the right height is left alone
        (Preprocess(short_side=None, size=(36, 48), crop=None), (480, 640), (36, 48)),
    ],
)
def test_geometry(spec: Preprocess, before: tuple[int, int], after: tuple[int, int]) -> None:
    assert geometry(*before, spec) == after


def test_a_strip_is_refused_before_it_is_resized() -> None:
    with pytest.raises(VideoError, match="9000x1 is too long and thin"):
        resize_and_crop(np.zeros((1, 9000, 3), np.uint8), MIT)


def test_an_empty_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        geometry(0, 5, MIT)


@pytest.mark.parametrize(("width", "left"), [(341, 58), (342, 59), (343, 60), (345, 60), (347, 62)])
def test_the_centre_rounds_half_to_even(width: int, left: int) -> None:
    assert views(256, width, MIT) == [(16, left, False)]


@pytest.mark.parametrize(("width", "left"), [(341, 58), (343, 59), (347, 61)])
def test_the_centre_of_mmaction2_rounds_down(width: int, left: int) -> None:
    assert views(256, width, MMACTION2) == [(16, left, False)]


def test_three_crops() -> None:
    mit, mmaction2 = full_resolution(MIT), full_resolution(MMACTION2)
    assert views(256, 342, mit) == [(0, 0, False), (0, 84, False), (0, 42, False)]
    assert views(256, 342, mmaction2) == [(0, 0, False), (0, 86, False), (0, 43, False)]
    assert views(342, 256, mit) == [(42, 0, False)] * 3  # MIT steps along the width alone
    assert views(342, 256, mmaction2) == [(0, 0, False), (86, 0, False), (43, 0, False)]


def test_five_and_ten_crops() -> None:
    corners = [(0, 0), (0, 116), (32, 0), (32, 116), (16, 58)]
    assert views(256, 341, replace(MIT, crops="five")) == [(*at, False) for at in corners]
    assert views(256, 341, replace(MIT, crops="ten")) == [
        (*at, mirrored) for at in corners for mirrored in (False, True)
    ]


def test_ten_crops_of_pixels() -> None:
    pixels = frame(256, 341)
    cut = resize_and_crop(pixels, replace(MIT, crops="ten"))
    assert cut.shape == (10, 224, 224, 3)
    np.testing.assert_array_equal(cut[6], pixels[32:256, 116:340])
    np.testing.assert_array_equal(cut[7], pixels[32:256, 339:115:-1])
    np.testing.assert_array_equal(cut[8], pixels[16:240, 58:282])


def test_a_crop_must_fit() -> None:
    with pytest.raises(ValueError, match=r"`crop` \(=224x224\) must fit the resized frame 200x300"):
        views(200, 300, MIT)
    with pytest.raises(ValueError, match=r"`crops` \(='ten'\) needs a `crop`"):
        views(256, 256, replace(MIT, crop=None, crops="ten"))
    with pytest.raises(ValueError, match=r"`short_side` \(=None\)"):
        full_resolution(Preprocess(short_side=None, size=(9, 9)))


@pytest.mark.parametrize(("height", "width"), [(240, 320), (256, 340), (360, 203), (47, 65)])
def test_mit_equals_its_pillow_pipeline(height: int, width: int) -> None:
    image_module = pytest.importorskip("PIL.Image")
    pixels = frame(height, width)
    if width < height:
        size = (256, int(256 * height / width))
    else:
        size = (int(256 * width / height), 256)
    image = image_module.fromarray(pixels).resize(size, image_module.Resampling.BILINEAR)
    left, top = round((size[0] - 224) / 2.0), round((size[1] - 224) / 2.0)
    expected = np.asarray(image.crop((left, top, left + 224, top + 224)))
    np.testing.assert_array_equal(resize_and_crop(pixels, MIT), expected[None])


@pytest.mark.parametrize(("height", "width"), [(240, 320), (256, 340), (360, 203), (47, 65)])
def test_mmaction2_equals_its_opencv_pipeline(height: int, width: int) -> None:
    cv2 = pytest.importorskip("cv2")
    pixels = frame(height, width)
    factor = 256 / min(height, width)
    size = (int(width * factor + 0.5), int(height * factor + 0.5))
    resized = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
    left, top = (size[0] - 224) // 2, (size[1] - 224) // 2
    expected = resized[top : top + 224, left : left + 224]
    np.testing.assert_array_equal(resize_and_crop(pixels, MMACTION2), expected[None])


@pytest.mark.parametrize("spec", PRESETS.values(), ids=PRESETS.keys())
def test_every_value_is_normalised_in_three_float32_steps(spec: Preprocess) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16, 1).repeat(3, axis=-1)
    got = normalize(levels, spec)[0, :, 0].reshape(3, 256)
    for channel in range(3):
        mean, std = np.float32(spec.mean[channel]), np.float32(spec.std[channel])
        for level in range(256):
            value = np.float32(level)
            if spec.scale != 1:
                value = value / np.float32(255)
            assert got[channel, level] == (value - mean) / std
    assert got.dtype == np.float32


@pytest.mark.parametrize("spec", PRESETS.values(), ids=PRESETS.keys())
def test_normalisation_is_the_formula(spec: Preprocess) -> None:
    pixels = frame(5, 7).reshape(1, 1, 5, 7, 3)
    source = pixels[0, 0][..., ::-1] if spec.channel_order == "bgr" else pixels[0, 0]
    mean, std = np.array(spec.mean), np.array(spec.std)
    exact = (source.astype(np.float64) * spec.scale - mean) / std
    # three roundings of at most half a unit of 255 levels, magnified by the division
    bound = 3 * 2.0**-24 * (255 * spec.scale + mean) / std
    got = normalize(pixels, spec)[0, :, 0].transpose(1, 2, 0)
    assert (abs(got - exact) <= bound).all()


def test_statistics_of_255_levels_are_those_of_the_unit_interval() -> None:
    np.testing.assert_allclose(np.array(MMACTION2.mean) / 255, MIT.mean, rtol=1e-12)
    np.testing.assert_allclose(np.array(MMACTION2.std) / 255, MIT.std, rtol=1e-12)


def test_blue_comes_first_where_it_should() -> None:
    red = np.zeros((1, 1, 1, 1, 3), np.uint8)
    red[..., 0] = 255
    np.testing.assert_array_equal(normalize(red, BN_INCEPTION).ravel(), [-104, -117, 255 - 128])
    demo = normalize(red, ONLINE_DEMO).ravel()
    np.testing.assert_allclose(
        demo, [-0.485 / 0.229, -0.456 / 0.224, (1 - 0.406) / 0.225], rtol=1e-6
    )


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3))
def test_views_are_the_outer_and_clips_the_inner_order(K: int, T: int, V: int) -> None:
    spec = Preprocess(crop=None, scale=1.0, mean=(0, 0, 0), std=(1, 1, 1))
    numbered = np.arange(K * T * V * 3, dtype=np.uint8).reshape(K, T, V, 1, 1, 3)
    got = normalize(numbered, spec)
    assert got.shape == (V * K, 3, T, 1, 1)
    for v in range(V):
        for k in range(K):
            np.testing.assert_array_equal(
                got[v * K + k, :, :, 0, 0], numbered[k, :, v, 0, 0].T.astype(np.float32)
            )


def test_preprocess_is_its_steps() -> None:
    clip = np.stack([frame(60, 80, seed) for seed in range(3)])
    spec = Preprocess(short_side=32, crop=(24, 28), crops="ten")
    got = preprocess(clip, spec)
    assert got.shape == (10, 3, 3, 24, 28)
    for t in range(3):
        one = preprocess(clip[t : t + 1], spec)
        np.testing.assert_array_equal(got[:, :, t], one[:, :, 0])
    np.testing.assert_array_equal(got[1], got[0, ..., ::-1])


@pytest.mark.parametrize("spec", PRESETS.values(), ids=PRESETS.keys())
def test_presets_survive_json(spec: Preprocess) -> None:
    assert Preprocess(**json.loads(json.dumps(asdict(spec)))) == spec


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)]
)
def test_a_frame_is_rgb_of_eight_bits(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"`frame` .* must be uint8 \(H, W, 3\)"):
        resize_and_crop(wrong, MIT)


def test_normalize_wants_views_of_frames() -> None:
    with pytest.raises(ValueError, match=r"must be uint8 \(T, V, h, w, 3\)"):
        normalize(np.zeros((4, 4, 4, 3), np.uint8), MIT)


def test_a_clip_has_frames() -> None:
    with pytest.raises(ValueError, match="T at least 1"):
        preprocess(np.zeros((0, 9, 9, 3), np.uint8), MIT)
