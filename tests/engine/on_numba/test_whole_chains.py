"""An inverted residual block that is carried out as one has the bits of its layers."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.quantised_networks import drawn, steps
from tsm_ref.engine.on_numba.whole_numbers import WholeNumbersEngine
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.kernels.integer import blocks, inverted

pytestmark = pytest.mark.skipif(not blocks.TRIED, reason="layers are not joined on this unit")

ZERO = {"uint8": 117, "int8": -9, "rectified": 0}
SCALE = 0.03


def network(
    channels=16, hidden=40, outputs=16, kernel=1, step=1, stride=1, pads=(1, 1, 1, 1), add="",
    dtypes=("uint8", "uint8", "uint8", "uint8"), **more,
):  # fmt: skip
    """(graph, weights): quantise, expand, depthwise, project, and add what was quantised."""

    def layer(i, name, **attrs):
        ends = {"low": max(ZERO[dtypes[i]] - 90, -128), "high": ZERO[dtypes[i]] + 100}
        known = {**steps("x", SCALE, ZERO[dtypes[i - 1]]), **made(i), **ends}
        source = ("q", "expand", "depthwise")[i - 1]
        return Node(name, "QLinearConv", (source, f"w{i}", f"s{i}", f"b{i}"), {**known, **attrs})

    def made(i):
        dtype = "uint8" if dtypes[i] == "rectified" else dtypes[i]
        return {"dtype": dtype, **steps("y", SCALE, ZERO[dtypes[i]])}

    side = kernel // 2
    nodes = [
        Node("q", "QuantizeLinear", ("x",), made(0)),
        layer(1, "expand", strides=(1, step, step), pads=(0, side, side) * 2, **more),
        layer(2, "depthwise", strides=(1, stride, stride), group=hidden,
              pads=(0, *pads[:2], 0, *pads[2:])),
        layer(3, "project"),
    ]  # fmt: skip
    if add:
        ends = ("project", "q") if add == "first" else ("q", "project")
        zeros = {"project": ZERO[dtypes[3]], "q": ZERO[dtypes[0]]}
        both = {**steps("x", SCALE, zeros[ends[0]]), **steps("other", SCALE, zeros[ends[1]])}
        sums = {"dtype": "int8", **steps("y", 0.05, 3), "low": -100, "high": 90}
        nodes.append(Node("sum", "QLinearAdd", ends, {**both, **sums}))
    shapes = {
        "w1": (hidden, channels, 1, kernel, kernel),
        "w2": (hidden, 1, 1, 3, 3),
        "w3": (outputs, hidden, 1, 1, 1),
    }
    shapes |= {f"{kind}{i}": shapes[f"w{i}"][:1] for kind in "sb" for i in (1, 2, 3)}
    entry = Input("x", ("N", channels, "T", "H", "W"))
    graph = Graph("block", (entry,), tuple(nodes), (nodes[-1].name,), shapes)
    return graph, drawn(graph)


SIGNED = {"dtypes": ("int8", "int8", "int8", "int8"), "add": "first"}
MIXED = {"dtypes": ("uint8", "int8", "uint8", "int8"), "add": "second"}

RECTIFIED = {"dtypes": ("uint8", "rectified", "rectified", "uint8")}

BLOCKS = {
    "plain": ((3, 9, 11), {}),
    "added": ((3, 9, 11), {"add": "first"}),
    "signed": ((2, 9, 11), SIGNED),
    "mixed": ((2, 9, 11), MIXED),
    "stride 2": ((3, 9, 12), {"stride": 2}),
    "stride 2, even": ((2, 8, 12), {"stride": 2, "pads": (0, 0, 1, 1)}),
    "rectified": ((2, 9, 11), RECTIFIED),
    "rectified, stride 2": ((2, 9, 12), {"stride": 2, "pads": (0, 0, 1, 1), **RECTIFIED}),
    "no padding": ((2, 8, 12), {"pads": (0, 0, 0, 0)}),
    "stem": ((2, 13, 18), {"channels": 3, "kernel": 3, "step": 2, "outputs": 5}),
    "3x3, signed": ((2, 9, 7), {"kernel": 3, **SIGNED}),
    "few channels": ((2, 9, 7), {"channels": 5, "hidden": 7, "outputs": 5, "add": "first"}),
    "many channels": ((1, 5, 7), {"channels": 50, "hidden": 100, "outputs": 33}),
    "a block and a half": ((2, 9, 11), {"outputs": 24, "dtypes": SIGNED["dtypes"]}),
    "shifted": ((5, 6, 7), {"d": (1, 1, -1, -1, 2) + (0,) * 11, "fill": "zero", **MIXED}),
    "one place": ((2, 1, 1), {"add": "first"}),
    "one column": ((2, 19, 1), {"add": "first"}),
    "one row": ((2, 1, 19), {"stride": 2}),
    "large": ((2, 41, 67), {"add": "second"}),
    "large, stride 2": ((1, 41, 67), {"stride": 2}),
}


def clip(graph, shape, rng):
    """Clips whose quantised values are spread over the whole range."""
    return {"x": rng.uniform(-4, 4, (2, graph.inputs[0].shape[1], *shape)).astype(np.float32)}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("case", BLOCKS)
def test_blocks(case, threads, rng):
    shape, how = BLOCKS[case]
    graph, weights = network(**how)
    x = clip(graph, shape, rng)
    (expected,) = NumpyEngine(graph, weights).run(x).values()
    engine = WholeNumbersEngine(graph, weights, threads)
    joined = engine.joined(engine.graph, engine.graph.shapes({"x": x["x"].shape}))
    assert [len(nodes) for nodes in joined] == [1, 4 if "add" in how else 3]
    (found,) = engine.run(x).values()
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(expected)) > min(60, expected.size // 3)


@pytest.mark.parametrize("rows", [1, 2, 4, 9])
@pytest.mark.parametrize("case", ["added", "stride 2, even", "stem"])
def test_bands_of_any_height(case, rows, rng, monkeypatch):
    shape, how = BLOCKS[case]
    graph, weights = network(**how)
    x = clip(graph, shape, rng)
    (expected,) = NumpyEngine(graph, weights).run(x).values()
    monkeypatch.setattr(
        inverted, "choose_rows", lambda blocks, hidden, size, *_: min(rows, size[0])
    )
    (found,) = WholeNumbersEngine(graph, weights).run(x).values()
    np.testing.assert_array_equal(found, expected)


def joined(graph, weights):
    engine = WholeNumbersEngine(graph, weights)
    shapes = engine.graph.shapes({"x": (1, 16, 2, 8, 8)})
    return [[node.name for node in nodes] for nodes in engine.joined(engine.graph, shapes)]


def test_what_others_look_into_is_not_joined():
    graph, weights = network(add="first")
    whole = ["expand", "depthwise", "project", "sum"]
    assert joined(graph, weights) == [["q"], whole]
    for name in whole[:2]:
        assert ["project", "sum"] not in joined(graph.with_outputs([name, "sum"]), weights)
        assert len(joined(graph.with_outputs([name, "sum"]), weights)) == 5
    assert joined(graph.with_outputs(["project", "sum"]), weights) == [["q"], whole[:3], ["sum"]]


@pytest.mark.parametrize("add", ["", "first"])
def test_one_hidden_channel_is_no_depthwise_convolution(add, rng):
    graph, weights = network(hidden=1, add=add)
    assert ["expand", "depthwise", "project"] not in [nodes[:3] for nodes in joined(graph, weights)]
    x = clip(graph, (3, 9, 11), rng)
    (expected,) = NumpyEngine(graph, weights).run(x).values()
    (found,) = WholeNumbersEngine(graph, weights).run(x).values()
    np.testing.assert_array_equal(found, expected)


def test_factors_that_could_leave_32_bits_are_not_joined(rng):
    graph, weights = network()
    weights["s2"][5] = 1.0
    weights["w2"][5] = 1
    assert len(joined(graph, weights)) == 4


@pytest.mark.skipif(
    os.environ.get("TSM_REF_SLOW") != "1", reason="minutes of work: set TSM_REF_SLOW=1"
)
@pytest.mark.parametrize(
    "other",
    [
        {"TSM_REF_INTEGER_UNIT": "quads"},
        {"TSM_REF_INTEGER_UNIT": "signed quads"},
        {"NUMBA_CPU_NAME": "nehalem"},
    ],
    ids=str,
)
def test_other_units_are_packed_for_rightly(other):
    """Everything here once more, with values packed as for VNNI, and as for short vectors."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, **other, "TSM_REF_SLOW": ""}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-2000:]
