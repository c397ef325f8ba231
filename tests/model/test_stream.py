import numpy as np
import pytest

import tsm_ref
from tsm_ref.errors import CheckpointError, NotStreamable


@pytest.fixture(scope="module")
def model():
    return tsm_ref.load("camera-motion")


def frames(count, n=1):
    shape = (n, 3, count, 64, 64)
    return np.random.default_rng(count).standard_normal(shape).astype(np.float32)


def test_a_model_streams_what_it_says_of_the_clip(model):
    x = frames(12)
    found = model.stream().steps(x)
    assert found.tobytes() == model.frame_logits(x).tobytes()
    np.testing.assert_allclose(found.mean(1), model(x), rtol=1e-5, atol=1e-6)


def test_sizes_are_known_before_the_first_frame(model):
    stream = model.stream(3)
    assert stream.state_bytes == 3 * model.stream().state_bytes > 0
    assert (stream.delay, stream.receptive_field) == (0, 6)


def test_a_saved_state_goes_on_in_another_process_or_stream(model, tmp_path):
    x = frames(9, 2)
    stream = model.stream(2)
    stream.steps(x[:, :, :4])
    stream.save(tmp_path / "state.h5")
    expected = stream.steps(x[:, :, 4:])
    other = tsm_ref.load("camera-motion").stream(2)
    other.load(tmp_path / "state.h5")
    assert other.steps(x[:, :, 4:]).tobytes() == expected.tobytes()
    assert other.mean.tobytes() == stream.mean.tobytes()


def test_a_state_belongs_to_its_network_weights_and_number_of_streams(model, tmp_path):
    model.stream().save(tmp_path / "state.h5")
    with pytest.raises(CheckpointError, match="expected"):
        model.stream(2).load(tmp_path / "state.h5")
    offline = tsm_ref.load("camera-motion-offline")
    with pytest.raises(CheckpointError, match="another model"):
        offline.stream().load(tmp_path / "state.h5")
    with pytest.warns(UserWarning, match="lookahead"):
        changed = offline.stream(lookahead="past")
    with pytest.raises(CheckpointError, match="another model"):
        changed.load(tmp_path / "state.h5")
    twins = [tsm_ref.build("resnet18", num_classes=2, seed=seed) for seed in (0, 0, 1)]
    digests = [twin.stream().digest for twin in twins]
    assert digests[0] == digests[1] != digests[2]


def test_a_changed_network_says_so_in_its_profile():
    offline = tsm_ref.load("camera-motion-offline")
    assert offline.stream().profile == offline.profile
    with pytest.warns(UserWarning, match="published accuracy does not hold"):
        stream = offline.stream(lookahead="zero")
    assert stream.profile.measured.startswith("changed: looks nowhere ahead (lookahead='zero')")
    assert offline.profile.measured in stream.profile.measured
    assert (stream.delay, offline.stream().delay) == (0, 5)


def test_the_summary_tells_how_a_model_streams(model):
    assert "streaming      no delay, each output depends on 6 frames" in model.summary()
    late = tsm_ref.load("camera-motion-offline").summary()
    assert "streaming      5 frames late, each output depends on 11 frames" in late
    can = tsm_ref.build("ts-can", engine="numpy")
    assert "streaming      no: node 'motion_shift1'" in can.summary()
    with pytest.raises(NotStreamable, match="'motion_shift1'"):
        can.stream()
