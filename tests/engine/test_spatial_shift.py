"""Networks that shift along height and width: every engine, fused or not, streamed and saved."""

import numpy as np
import pytest

from tests.judging import U32, assert_within
from tsm_ref.checkpoint import load_checkpoint, save
from tsm_ref.engine import make_engine
from tsm_ref.engine.on_numba import lowering
from tsm_ref.engine.oracle import run_with_bound
from tsm_ref.engine.stream.stream import Stream
from tsm_ref.errors import GraphError
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.models import random_weights
from tsm_ref.models.builder import Builder
from tsm_ref.profile import Profile, ShiftRule

FUSED, PLAIN = ["SpatialShift", "FusedConv"], ["SpatialShift"]


def network(*, channels: int = 40, kernel: int = 1, stride: int = 1, fill: str = "zero") -> Graph:
    """A residual block that shifts in time and in space, as one of this extension has."""
    b = Builder("cross")
    x = b.input("x", ("N", channels, "T", "H", "W"))
    y = b.shift(x, "shift", ShiftRule("mit", 4))
    y = b.relu(b.batch_norm(b.conv(y, "conv1", 24, kernel=3, padding=1), "bn1"), "relu1")
    y = b.spatial_shift(y, "cross", 5, fill)
    y = b.conv(y, "conv2", channels, kernel=kernel, stride=stride, padding=kernel // 2)
    return b.graph([b.relu(y if stride > 1 else b.add(y, x, "add"), "relu2")])


def clip(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("engine", ["numba", "numpy", "loops"])
@pytest.mark.parametrize(
    "options",
    [{}, {"stride": 2}, {"kernel": 3}, {"fill": "replicate"}, {"fill": "circular"},
     {"channels": 3}],
    ids=str,
)  # fmt: skip
def test_every_engine_is_within_the_bound(engine, options) -> None:
    graph = network(**options)
    weights, x = random_weights(graph), clip(2, options.get("channels", 40), 5, 9, 11)
    (bounded,) = run_with_bound(graph, weights, {"x": x}, U32).values()
    (found,) = make_engine(graph, weights, engine).run({"x": x}).values()
    assert_within(found, bounded)


@pytest.mark.parametrize(
    ("options", "nodes"),
    [({}, FUSED), ({"stride": 2}, FUSED), ({"kernel": 3}, PLAIN), ({"fill": "circular"}, PLAIN)],
    ids=str,
)
def test_a_pointwise_convolution_reads_the_shift_itself(options, nodes) -> None:
    engine = make_engine(graph := network(**options), random_weights(graph), "numba")
    engine.run({"x": clip(1, 40, 5, 9, 11)})
    layers = lowering.lower(engine.graph, engine.graph.shapes({"x": (1, 40, 5, 9, 11)}))
    assert nodes in [[node.op for node in layer.nodes] for layer in layers]
    assert engine.fallbacks() == ([] if nodes == FUSED else ["cross"])


def test_far_shifts_and_several_readers() -> None:
    for reach, readers in ((3, 2), (4, 2), (20, 1)):
        dh, dw = (tuple(np.random.default_rng(s).integers(-reach, reach + 1, 24).tolist())
                  for s in (1, 2))  # fmt: skip
        nodes = [Node("s", "SpatialShift", ("x",), {"dh": dh, "dw": dw})]
        nodes += [Node(f"c{i}", "Conv", ("s", f"w{i}")) for i in range(readers)]
        shapes = {f"w{i}": (16, 24, 1, 1, 1) for i in range(readers)}
        outputs = tuple(node.name for node in nodes[1:])
        graph = Graph("g", (Input("x", ("N", 24, "T", "H", "W")),), tuple(nodes), outputs, shapes)
        weights, x = random_weights(graph), clip(1, 24, 3, 9, 11)
        bounds = run_with_bound(graph, weights, {"x": x}, U32)
        for name, found in make_engine(graph, weights, "numba").run({"x": x}).items():
            assert_within(found, bounds[name])


@pytest.mark.parametrize("options", [{}, {"kernel": 3}, {"fill": "replicate"}], ids=str)
def test_a_stream_gives_the_bits_of_the_clip(options) -> None:
    graph = network(**options)
    engine = make_engine(graph, random_weights(graph), "numba")
    x = clip(2, 40, 12, 9, 11)
    (whole,) = engine.run({"x": x}).values()
    stream = Stream(engine, 2)
    assert stream.delay == 1
    parts = [stream.steps(x[:, :, :1]), stream.steps(x[:, :, 1:]), stream.flush()]
    made = np.concatenate([part for part in parts if part is not None], 1)
    assert made.swapaxes(1, 2).tobytes() == whole.tobytes()


def test_threads_change_no_bit() -> None:
    graph, x = network(), clip(1, 40, 8, 16, 16)
    one, two = (make_engine(graph, random_weights(graph), "numba", n) for n in (1, 2))
    assert one.run({"x": x})["relu2"].tobytes() == two.run({"x": x})["relu2"].tobytes()


def test_it_is_saved_and_loaded(tmp_path) -> None:
    graph = network()
    weights = random_weights(graph)
    save(tmp_path / "m.h5", graph, weights, Profile())
    assert load_checkpoint(tmp_path / "m.h5").graph == graph


def test_shifts_that_fit_no_value_are_refused() -> None:
    entry = (Input("x", ("N", 4, "T", "H", "W")),)
    node = Node("y", "SpatialShift", ("x",), {"dh": (0,) * 4, "dw": (0,) * 3})
    with pytest.raises(GraphError, match="3 shifts cannot move the 4 channels"):
        Graph("g", entry, (node,), ("y",), {}).shapes({"x": (1, 4, 2, 3, 3)})
    with pytest.raises(GraphError, match="one integer per channel"):
        Graph("g", entry, (Node("y", "SpatialShift", ("x",), {"dh": (0.5,), "dw": (1,)}),),
              ("y",), {})  # fmt: skip
