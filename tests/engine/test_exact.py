"""Quantised networks give the same bits on every engine, in streams, and by the reference."""

import numpy as np
import pytest

from tests.quantised_networks import clip, network
from tsm_ref.engine import make_engine
from tsm_ref.engine.oracle import run_oracle, run_with_bound
from tsm_ref.engine.stream.stream import Stream
from tsm_ref.errors import GraphError, UsageError
from tsm_ref.graph_json import from_json, to_json
from tsm_ref.models import random_weights

ENGINES = ("numpy", "loops", "auto")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("fill", ["zero", "replicate", "circular"])
def test_every_value_is_that_of_the_reference(engine, dtype, fill):
    graph, weights = network(fill, dtype=dtype)
    graph = graph.with_outputs([node.name for node in graph.nodes if node.name != "shift"])
    expected = run_oracle(graph, weights, clip(), np.float32)
    found = make_engine(graph, weights, engine).run(clip())
    assert graph.types["sum"].dtype == dtype
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value, name)
        assert len(np.unique(value)) > 4, f"{name} says nothing"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("fill", ["zero", "replicate"])
def test_a_stream_gives_what_the_clip_gives(engine, causal, fill):
    graph, weights = network(fill, causal)
    made = make_engine(graph, weights, engine)
    x = clip(9)
    stream = Stream(made, 2)
    parts = [stream.steps(x["x"][:, :, :4])]
    kept = stream.state
    assert {"uint8", "int8"} <= {str(value.dtype) for value in kept.values()}
    stream.step(x["x"][:, :, 0])
    stream.state = kept
    parts += [stream.steps(x["x"][:, :, 4:]), stream.flush()]
    found = np.concatenate([part for part in parts if part is not None], axis=1)
    np.testing.assert_array_equal(found, made.run(x)["logits"].swapaxes(1, 2))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_sums_and_means_as_litert_rounds_them(engine, dtype):
    graph, weights = network(dtype=dtype, litert=True)
    graph = graph.with_outputs([node.name for node in graph.nodes if node.name != "shift"])
    expected = run_oracle(graph, weights, clip(), np.float32)
    found = make_engine(graph, weights, engine).run(clip())
    plain = run_oracle(
        network(dtype=dtype)[0].with_outputs(graph.outputs), weights, clip(), np.float32
    )
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, name)
    for name in ("sum", "mean", "gate"):  # as near as steps of whole numbers are
        away = np.abs(expected[name].astype(int) - plain[name])
        assert away.max() <= (2 if name == "gate" else 1)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stream_of_what_litert_rounds(engine):
    graph, weights = network(causal=True, litert=True)
    made = make_engine(graph, weights, engine)
    x, stream = clip(9), Stream(made, 2)
    parts = [stream.steps(x["x"][:, :, t : t + 3]) for t in (0, 3, 6)] + [stream.flush()]
    found = np.concatenate([part for part in parts if part is not None], axis=1)
    np.testing.assert_array_equal(found, made.run(x)["logits"].swapaxes(1, 2))


def test_a_shift_fills_with_the_zero_point():
    graph, weights = network()
    shifted = graph.with_outputs(["stem", "shift"])
    found = make_engine(shifted, weights, "numpy").run(clip(3))
    assert (found["shift"][:, 0, 0] == 7).all()
    assert (found["shift"][:, 2, -1] == 7).all()
    assert (found["shift"][:, 4:] == found["stem"][:, 4:]).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_sums_beyond_float32_and_beyond_32_bits(engine):
    """Long sums leave what float32 holds; a bias near the end of int32 makes them wrap."""
    graph, weights = network(channels=64)
    weights = {n: np.full_like(w, 127) if w.dtype == np.int8 else w for n, w in weights.items()}
    weights["b1"] = np.full_like(weights["b1"], 2**31 - 1)
    weights["s1"][::2] = 1e-9
    graph = graph.with_outputs(["conv"])
    small = {"x": clip(2)["x"][:, :, :, :6, :6]}
    expected = run_oracle(graph, weights, small, np.float32)["conv"]
    np.testing.assert_array_equal(make_engine(graph, weights, engine).run(small)["conv"], expected)
    assert expected.min() < 0 < expected.max(), "nothing wrapped"


def test_weights_can_be_drawn_for_a_quantised_graph():
    graph, _ = network(dtype="int8")
    weights = random_weights(graph, 3)
    assert weights["w1"].dtype == np.int8
    assert weights["t"].dtype == np.int8
    assert np.isfinite(make_engine(graph, weights, "numpy").run(clip())["logits"]).all()


def test_there_is_no_bound_on_what_is_exact():
    graph, weights = network()
    with pytest.raises(UsageError, match="quantised values have no bound"):
        run_with_bound(graph, weights, clip(), 1e-7)


WRONG = [
    ("stem", {"x_scale": 0.5}, "its x_scale is 0.5, but 'q' was made with 0.03"),
    ("stem", {"x_zero_point": 8}, "its x_zero_point is 8, but 'q' was made with 7"),
    ("shift", {"x_zero_point": 0}, "its x_zero_point is 0, but 'stem' was made with 7"),
    ("q", {"y_zero_point": -1}, "the zero point -1 is not one of uint8: 0 to 255"),
    ("stem", {"low": 100, "high": 50}, r"it is clamped to 100 \.\. 50, where uint8 has no value"),
    ("conv", {"low": 128}, r"it is clamped to 128 \.\. 255, where int8 has no value"),
    ("q", {"y_scale": 0.0}, "'y_scale' .* must be a positive number of float32"),
    ("q", {"dtype": "float32"}, "its output cannot be float32"),
    ("q", {"dtype": "int4"}, "'dtype' .* must be one of"),
]


@pytest.mark.parametrize(("name", "attrs", "message"), WRONG)
def test_a_graph_that_contradicts_itself_is_refused(name, attrs, message):
    graph, _ = network()
    nodes = tuple(
        type(node)(node.name, node.op, node.inputs, {**node.attrs, **attrs})
        if node.name == name else node
        for node in graph.nodes
    )  # fmt: skip
    with pytest.raises(GraphError, match=message):
        graph.with_nodes(nodes)


def test_a_real_layer_does_not_read_whole_numbers():
    graph, _ = network()
    nodes = [type(n)(n.name, "Relu", n.inputs) if n.name == "back" else n for n in graph.nodes]
    with pytest.raises(GraphError, match=r"\(Relu\): it reads int8 values; it takes float32"):
        graph.with_nodes(nodes)


def test_a_quantised_graph_survives_json():
    graph, _ = network()
    assert from_json(to_json(graph)) == graph
