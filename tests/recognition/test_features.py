"""The features of videos: a row for each clip or window, and what they were made of."""

import io

import numpy as np
import pytest

import tsm_ref
from tsm_ref.checkpoint import weights_folder
from tsm_ref.errors import CheckpointError, UsageError, VideoError
from tsm_ref.profile import Profile
from tsm_ref.recognition import as_npz, features_of, recognize, sampled

SAMPLES = weights_folder() / "samples"
PAN = SAMPLES / "pan_left.mp4"


@pytest.fixture(scope="module")
def model():
    return tsm_ref.load("camera-motion", engine="numpy")


def test_the_head_makes_of_them_what_is_recognised(model) -> None:
    profile = sampled(model.profile, policy="twice")
    found, seen = features_of(model, PAN, profile=profile), recognize(model, PAN, profile=profile)
    logits = found.clips @ model.weights["fc.weight"].T + model.weights["fc.bias"]
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(shares, seen.probabilities, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.indices, seen.indices)
    np.testing.assert_array_equal(found.times, seen.times)
    assert found.sha256 == seen.sha256


def test_windows_are_the_shortest_ones(model) -> None:
    found = features_of(model, SAMPLES / "tour.mp4")
    np.testing.assert_allclose(found.end - found.start, 1.0)
    np.testing.assert_allclose(np.diff(found.start), 0.5)
    assert found.frames.shape == (len(found.start), 8, 64)
    assert ((found.times >= found.start[:, None]) & (found.times <= found.end[:, None])).all()


def test_crops_are_averaged() -> None:
    model = tsm_ref.build("mobilenetv2", num_classes=3, width=0.35, engine="numpy", segments=2)
    one, three = (features_of(model, PAN, profile=crops(model.profile, n)) for n in (1, 3))
    assert one.frames.shape == three.frames.shape == (1, 2, 1280)
    assert not np.allclose(one.frames, three.frames)


def crops(profile: Profile, count: int) -> Profile:
    return sampled(profile, crops=count)


def test_an_array_of_frames_is_a_video(model) -> None:
    frames = np.zeros((16, 48, 64, 3), np.uint8)
    assert features_of(model, frames, fps=8, layer="layer1").frames.shape[2] == 16


def test_the_file_holds_plain_arrays_and_says_what_made_them(model) -> None:
    found = [features_of(model, SAMPLES / name) for name in ("tour.mp4", "zoom_in.mp4")]
    with np.load(io.BytesIO(as_npz(found, model, model.profile)), allow_pickle=False) as file:
        read = dict(file)
    assert [str(name) for name in read["names"]] == [each.path for each in found]
    assert read["video"].tolist() == [0] * len(found[0].start) + [1] * len(found[1].start)
    np.testing.assert_allclose(read["features"], read["frame_features"].mean(1), rtol=1e-5)
    assert str(read["digest"]) == model.digest()
    assert str(read["layer"]) == "flatten"
    assert Profile.from_json(str(read["profile"])) == model.profile
    rows = len(read["video"])
    assert all(len(read[name]) == rows for name in ("start", "end", "times", "indices"))


def test_what_cannot_be_is_refused(model) -> None:
    with pytest.raises(VideoError, match="no such file"):
        features_of(model, "no-such.mp4")
    with pytest.raises(UsageError, match="no layer 'x'"):
        features_of(model, PAN, layer="x")
    with pytest.raises(UsageError, match="window"):
        features_of(model, PAN, profile=sampled(model.profile, stride=1e-9))
    pulse = tsm_ref.build("ts-can", engine="numpy")
    with pytest.raises(CheckpointError, match="does not look at clips"):
        features_of(pulse, PAN)
