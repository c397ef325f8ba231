"""The suite's own rules for frames and pixels, against the package, Pillow and golden numbers."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conformance.questions import film, pixels
from tsm_ref.profile import Preprocess
from tsm_ref.video import SAMPLERS, preprocess, read_frames, resize_opencv, resize_pil
from tsm_ref.video.transforms import geometry, views

SIDES = st.integers(1, 40)


@given(st.sampled_from(sorted(SAMPLERS)), st.integers(1, 400), st.integers(1, 20))
def test_sampling_is_that_of_the_package(policy, frames, segments):
    np.testing.assert_array_equal(
        pixels.sample_frames(policy, frames, segments), SAMPLERS[policy](frames, segments)
    )


@pytest.mark.parametrize(
    ("frames", "golden"),
    [
        (4, [1, 1, 2, 2, 3, 3, 4, 4]),
        (37, [3, 7, 12, 17, 21, 26, 31, 35]),
        (300, [19, 57, 94, 132, 169, 207, 244, 282]),
    ],
)
def test_uniform_sampling_is_the_published_one(frames, golden):
    assert (pixels.sample_frames("uniform", frames, 8)[0] + 1).tolist() == golden


@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 2**16))
def test_resizing_is_that_of_the_package_and_of_opencv(h, w, height, width, seed):
    image = np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)
    ours = pixels.resize_pil(image, height, width)
    np.testing.assert_array_equal(ours, resize_pil(image, height, width))
    ours = pixels.resize_opencv(image, height, width)
    np.testing.assert_array_equal(ours, resize_opencv(image, height, width))


def test_resizing_is_that_of_the_libraries():
    image = np.random.default_rng(1).integers(0, 256, (37, 52, 3), dtype=np.uint8)
    by_pillow = Image.fromarray(image).resize((23, 21), Image.Resampling.BILINEAR)
    by_opencv = cv2.resize(image, (23, 21), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(pixels.resize_pil(image, 21, 23), np.asarray(by_pillow))
    np.testing.assert_array_equal(pixels.resize_opencv(image, 21, 23), by_opencv)


@pytest.mark.parametrize("long_side", ["floor", "half_up", "four_thirds"])
@given(st.integers(20, 700), st.integers(20, 700))
def test_geometry_is_that_of_the_package(long_side, height, width):
    spec = Preprocess(long_side=long_side)
    assert pixels.geometry(height, width, 256, long_side) == geometry(height, width, spec)


@pytest.mark.parametrize("offset", ["round", "floor"])
@pytest.mark.parametrize("crops", ["center", "three", "ten"])
@given(st.integers(224, 300), st.integers(224, 500))
def test_crops_are_those_of_the_package(offset, crops, height, width):
    spec = Preprocess(crops=crops, crop_offset=offset)
    ours = pixels.views(height, width, (224, 224), crops, offset)
    assert ours.tolist() == [[int(v) for v in view] for view in views(height, width, spec)]


def test_preprocessing_is_that_of_the_package_to_its_rounding():
    frames = np.random.default_rng(2).integers(0, 256, (3, 41, 66, 3), dtype=np.uint8)
    spec = Preprocess(short_side=32, crop=(28, 30), channel_order="bgr")
    how = {"short_side": 32, "crop": (28, 30), "resize": "pil", "long_side": "floor"}
    how |= {"crop_offset": "round", "channel_order": "bgr", "scale": spec.scale}
    how |= {"mean": spec.mean, "std": spec.std}
    np.testing.assert_allclose(
        pixels.preprocess(frames, how), preprocess(frames, spec), rtol=0, atol=2e-6
    )


@pytest.mark.parametrize("width", [16, 17, 18, 19])
def test_any_decoder_reads_the_film_to_the_bit(tmp_path, width):
    frames = np.random.default_rng(3).integers(0, 256, (4, 13, width, 3), dtype=np.uint8)
    path = tmp_path / "film.avi"
    path.write_bytes(film.avi(frames))
    decoded = read_frames(path, [0, 1, 2, 3])
    np.testing.assert_array_equal(film.read_avi(path), frames)
    np.testing.assert_array_equal(decoded.pixels, frames)
