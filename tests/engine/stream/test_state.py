"""The state of a stream: kept, copied, handed on, and that of each clip of a batch its own."""

import copy

import numpy as np
import pytest

from tests.engine.stream.families import clip, engine, family, same
from tsm_ref.engine import make_engine
from tsm_ref.engine.stream.stream import Stream
from tsm_ref.errors import UsageError
from tsm_ref.models import build_mobilenet_v2, random_weights
from tsm_ref.profile import ShiftRule


@pytest.mark.parametrize("kind", ["numpy", "numba"])
@pytest.mark.parametrize("name", ["resnet, bi-directional", "resnet, replicate", "temporal pools"])
def test_streams_of_a_batch_are_independent_and_reset_alone(name, kind):
    graph, _ = family(name)
    x = clip(graph, 3, 13)["x"]
    batch = Stream(engine(name, kind), 3)
    alone = [Stream(engine(name, kind)) for _ in range(3)]
    for t in range(13):
        if t == 5:
            batch.reset(1)
            alone[1].reset()
        found = batch.step(x[:, :, t])
        ones = [stream.step(x[i : i + 1, :, t]) for i, stream in enumerate(alone)]
        assert (found is None) == all(one is None for one in ones)
        for i, one in enumerate(ones):
            if one is not None:
                assert found[i : i + 1].tobytes() == one.tobytes()
            elif found is not None:
                assert np.isnan(found[i]).all()
    assert batch.frames.tolist() == [13, 8, 13]
    found = batch.flush()
    for i, stream in enumerate(alone):
        there = ~np.isnan(found[i]).reshape(len(found[i]), -1).any(axis=1)
        assert found[i][there].tobytes() == stream.flush().tobytes()


@pytest.mark.parametrize("kind", ["numpy", "numba"])
def test_a_copy_and_a_state_go_on_where_the_stream_was(kind):
    name = "bottleneck, in place, replicate"
    graph, _ = family(name)
    x = clip(graph, 2, 12)["x"]
    stream, third = Stream(engine(name, kind), 2), Stream(engine(name, kind), 2)
    for t in range(5):
        stream.step(x[:, :, t])
    saved, twin = stream.state, stream.copy()
    third.steps(x[:, :, 6:9])  # its own frames must not matter afterwards
    third.state = saved
    stream.steps(x[:, :, 8:])  # nor those of the original
    for value in saved.values():
        value[...] = 1
    expected = Stream(engine(name, kind), 2)
    expected.steps(x[:, :, :5])
    for t in range(5, 12):
        wanted = expected.step(x[:, :, t])
        assert same(twin.step(x[:, :, t]), wanted)
        assert same(third.step(x[:, :, t]), wanted)
    assert same(twin.mean, expected.mean)
    assert same(third.flush(), expected.flush())


@pytest.mark.parametrize("kind", ["numpy", "numba"])
@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy])
def test_a_copy_by_the_library_is_a_copy(kind, how):
    name = "resnet, bi-directional"
    x = clip(family(name)[0], 1, 9)["x"]
    stream, expected = Stream(engine(name, kind)), Stream(engine(name, kind))
    expected.steps(x[:, :, :4])
    stream.steps(x[:, :, :4])
    twin = how(stream)
    stream.steps(x[:, :, 5:])
    assert same(twin.steps(x[:, :, 4:]), expected.steps(x[:, :, 4:]))


def test_a_state_means_the_same_to_both_engines():
    name = "mobilenet, bi-directional"
    graph, _ = family(name)
    x = clip(graph, 1, 16)["x"]
    one, other = Stream(engine(name, "numba")), Stream(engine(name, "numpy"))
    one.steps(x[:, :, :13])
    other.steps(np.zeros((1, 3, 1, 20, 20), np.float32))
    other.state = one.state
    for t in range(13, 16):
        np.testing.assert_allclose(other.step(x[:, :, t]), one.step(x[:, :, t]), atol=1e-5)


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing():
    stream = Stream(engine("resnet, causal", "numpy"))
    x = clip(family("resnet, causal")[0], 1, 3)["x"]
    stream.steps(x)
    before = stream.state
    for change, words in (
        (lambda s: s.pop("ticks"), "'ticks' is not in both"),
        (lambda s: s.update(other=np.zeros(1)), "'other' is not in both"),
        (lambda s: s.update(ticks=np.zeros(2, np.int64)), r"'ticks' of the state is int64 \(2,\)"),
        (lambda s: s.update(ticks=np.full(1, -3)), "must be 0 or more"),
        (lambda s: s.update({k: v.astype("f8") for k, v in s.items() if "[" in k}), "float64"),
    ):
        state = stream.state
        change(state)
        with pytest.raises(UsageError, match=words):
            stream.state = state
    after = stream.state
    assert all(after[name].tobytes() == value.tobytes() for name, value in before.items())


@pytest.mark.parametrize("kind", ["numpy", "numba"])
def test_buffers_of_mobilenet_are_the_ten_of_the_online_demo(kind):
    """conventions.md 6: 3x56x56, 4x28x28 twice, 8x14x14 three times, 12x14x14 and 20x7x7 twice."""
    graph = build_mobilenet_v2(num_classes=2, shift=ShiftRule("online"))
    made = make_engine(graph, random_weights(graph), kind)
    stream = Stream(made, shapes={"x": (1, 3, 1, 224, 224)})
    buffers = [value.shape for name, value in stream.state.items() if "[" in name]
    expected = [(3, 56)] + [(4, 28)] * 2 + [(8, 14)] * 3 + [(12, 14)] * 2 + [(20, 7)] * 2
    assert buffers == [(1, fold, 1, side, side) for fold, side in expected]
    assert stream.state_bytes == 4 * sum(f * side * side for f, side in expected) == 108_192
    assert (stream.delay, stream.receptive_field) == (0, 11)
