"""A stream gives what the clip gives, for every family, engine, chunking, batch and thread."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.stream.families import (
    CUTS,
    FAMILIES,
    SLOW,
    clip,
    engine,
    family,
    in_time,
    per_frame,
    streamed,
)
from tsm_ref.engine import make_engine
from tsm_ref.engine.oracle import run_with_bound
from tsm_ref.engine.stream.stream import Stream
from tsm_ref.models import (
    build_graph,
    random_weights,
)
from tsm_ref.profile import ShiftRule


@pytest.mark.parametrize("name", FAMILIES)
@given(cuts=CUTS, n=st.sampled_from([1, 1, 2]), threads=st.sampled_from([1, 2]))
def test_numba_streams_equal_clips_bit_for_bit(name, cuts, n, threads):
    graph, _ = family(name)
    frames = sum(cuts)
    if name == "temporal taps without padding" and frames < 3:
        return
    if name == "temporal pools" and frames < 3:
        return
    x = clip(graph, n, frames, seed=frames)
    expected = in_time(per_frame(name, "numba").run(x))
    found = streamed(Stream(engine(name, "numba", threads), n), x, cuts)
    assert found.keys() == expected.keys()
    for output, value in expected.items():
        assert found[output].shape == value.shape
        assert found[output].tobytes() == value.tobytes()


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("cuts", [(1,) * 7, (5, 12, 1)])
def test_numpy_streams_equal_clips_within_the_derived_bound(name, cuts):
    graph, weights = family(name)
    x = clip(graph, 1, sum(cuts))
    wanted = [graph.frame_logits] if graph.frame_logits else graph.outputs
    bounded = run_with_bound(graph.with_outputs(wanted), weights, x, 2.0**-24)
    found = streamed(Stream(engine(name, "numpy")), x, cuts)
    for output, value in in_time({n: b.value for n, b in bounded.items()}).items():
        tolerance = in_time({output: bounded[output].tolerance()})[output]
        assert found[output].shape == value.shape
        assert (np.abs(found[output] - value) <= tolerance).all()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("mobilenetv2", "online"),
        ("mobilenetv2", "mit"),
        pytest.param("resnet50", "online", marks=SLOW),
        pytest.param("resnet50", "mit", marks=SLOW),
    ],
)
def test_networks_of_full_size_stream_bit_for_bit(name, rule, threads):
    graph = build_graph(name, num_classes=400, placement="blockres", shift=ShiftRule(rule))
    graph = graph.with_outputs([graph.frame_logits])
    weights = random_weights(graph)
    made = make_engine(graph, weights, "numba", threads)
    x = {"x": np.random.default_rng(4).standard_normal((1, 3, 40, 224, 224)).astype("f4")}
    expected = in_time(make_engine(graph, weights, "numba").run(x))
    for cuts in ((1,) * 40, (17, 3, 20)):
        found = streamed(Stream(made), x, cuts)
        assert found[graph.outputs[0]].tobytes() == expected[graph.outputs[0]].tobytes()
