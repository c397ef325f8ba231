"""Convolutions of bfloat16 by kernels: exact where sums are, else within their bound."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

import tsm_ref
from tsm_ref.engine import make_engine
from tsm_ref.engine.on_numba.bfloat16 import BFloat16Engine
from tsm_ref.engine.oracle import run_oracle, run_with_bound
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.kernels.bfloat16 import units
from tsm_ref.kernels.bfloat16.units import TILES, UNIT
from tsm_ref.passes.bfloat16 import in_bfloat16
from tsm_ref.reference.rounding import unit_roundoff

SLOW = "ignore:this processor has no instruction for bfloat16"
pytestmark = pytest.mark.filterwarnings(SLOW)
U32 = unit_roundoff(np.float32)

CONVOLUTIONS = [
    # channels, outputs, kernel, strides, pads, dilations, groups
    (16, 32, (1, 1, 1), (1, 1, 1), (0,) * 6, (1, 1, 1), 1),
    (3, 5, (1, 7, 7), (1, 2, 2), (0, 3, 3, 0, 3, 3), (1, 1, 1), 1),
    (19, 33, (1, 3, 3), (1, 1, 1), (0, 1, 1, 0, 1, 1), (1, 1, 1), 1),
    (8, 6, (3, 1, 1), (2, 1, 1), (1, 0, 0, 1, 0, 0), (1, 1, 1), 1),
    (8, 70, (3, 2, 3), (1, 2, 1), (1, 0, 2, 0, 1, 1), (2, 1, 2), 2),
    (6, 9, (1, 1, 1), (1, 3, 3), (0,) * 6, (1, 1, 1), 3),
    (5, 4, (1, 4, 4), (1, 4, 4), (0, 2, 1, 0, 1, 2), (1, 1, 1), 1),
]


def network(case, shift=(), activation="", residual=False):
    """A shift, a convolution, a sum and an activation; what it reads is `x` and, added, `z`."""
    channels, outputs, kernel, strides, pads, dilations, group = case
    attrs = {"strides": strides, "pads": pads, "dilations": dilations, "group": group}
    nodes, value = [], "x"
    if shift:
        nodes.append(Node("shift", "TemporalShift", ("x",), {"d": shift}))
        value = "shift"
    nodes.append(Node("y", "Conv", (value, "w", "b"), attrs))
    inputs = [Input("x", ("N", channels, "T", "H", "W"))]
    parameters = {"w": (outputs, channels // group, *kernel), "b": (outputs,)}
    graph = Graph("one", tuple(inputs), tuple(nodes), ("y",), parameters)
    sizes = graph.shapes({"x": (1, channels, 5, 11, 13)})["y"]
    if residual:
        inputs.append(Input("z", ("N", *sizes[1:])))
        nodes.append(Node("sum", "Add", ("y", "z")))
    if activation:
        own = {"Clip": {"min": -20.0, "max": 35.0}, "LeakyRelu": {"alpha": 0.5}}.get(activation, {})
        nodes.append(Node("end", activation, (nodes[-1].name,), own))
    return Graph("one", tuple(inputs), tuple(nodes), (nodes[-1].name,), parameters), sizes


def drawn(graph, sizes, draw):
    channels = graph.inputs[0].shape[1]
    weights = {name: draw(shape) for name, shape in graph.parameters.items()}
    shapes = {"x": (1, channels, 5, 11, 13), "z": sizes}
    return weights, {entry.name: draw(shapes[entry.name]) for entry in graph.inputs}


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize(
    ("activation", "residual"), [("", False), ("Relu", True), ("Clip", True), ("LeakyRelu", False)]
)
def test_sums_that_are_exact_are_those_of_the_oracle(case, activation, residual, rng):
    """Small whole numbers: every unit gives them, whatever its order."""
    graph, sizes = network(case, activation=activation, residual=residual)

    def draw(shape):
        return rng.integers(-7, 8, shape).astype(np.float32)

    weights, inputs = drawn(graph, sizes, draw)
    engine = make_engine(graph, weights, "numba", 2, precision="bfloat16")
    (found,) = engine.run(inputs).values()
    (expected,) = run_oracle(*in_bfloat16(graph, weights), inputs, np.float32).values()
    np.testing.assert_array_equal(found, expected)
    assert list(engine.units().values()) == [UNIT.name]


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_other_sums_are_within_their_bound(case, rng):
    graph, sizes = network(case)

    def draw(shape):
        return rng.standard_normal(shape).astype(np.float32)

    weights, inputs = drawn(graph, sizes, draw)
    found = make_engine(graph, weights, "numba", precision="bfloat16").run(inputs)["y"]
    expected = run_with_bound(*in_bfloat16(graph, weights), inputs, U32)["y"]
    assert 0 < expected.used(found) <= 1
    plain = make_engine(graph, weights, "numpy").run(inputs)["y"]
    assert expected.used(plain) > 1


@pytest.mark.parametrize("fold", [1, 2, 5])
def test_a_shift_of_any_fold_costs_no_copy_and_moves_the_right_frames(fold, rng):
    case = CONVOLUTIONS[2]
    graph, sizes = network(case, shift=(1,) * fold + (-2,) * 3 + (0,) * (16 - fold))

    def draw(shape):
        return rng.integers(-7, 8, shape).astype(np.float32)

    weights, inputs = drawn(graph, sizes, draw)
    engine = make_engine(graph, weights, "numba", precision="bfloat16")
    found, expected = engine.run(inputs)["y"], run_oracle(graph, weights, inputs)["y"]
    np.testing.assert_array_equal(found, expected)
    assert [node.op for node in engine.graph.nodes] == ["FusedConv"]


def test_values_that_are_no_numbers_go_through_and_small_ones_are_zero():
    case = (2, 1, (1, 1, 1), (1, 1, 1), (0,) * 6, (1, 1, 1), 1)
    graph, _ = network(case)
    x = np.zeros((1, 2, 5, 11, 13), np.float32)
    x[0, 0, 0, 0, :4] = np.nan, np.inf, 1e-40, 1.00390625
    weights = {"w": np.float32([[2.0, 0.0]]).reshape(1, 2, 1, 1, 1), "b": np.zeros(1, np.float32)}
    y = make_engine(graph, weights, "numba", precision="bfloat16").run({"x": x})["y"]
    np.testing.assert_array_equal(y[0, 0, 0, 0, :4], [np.nan, np.inf, 0, 2])


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2"])
def test_streams_equal_clips_bit_for_bit_however_they_are_cut(name, rng):
    options = {"width": 0.35} if name == "mobilenetv2" else {}
    model = tsm_ref.build(
        name, num_classes=5, causal=True, engine="numba", precision="bfloat16", **options
    )
    clip = rng.standard_normal((1, 3, 7, 48, 48)).astype(np.float32)
    whole = model.frame_logits(clip)
    again = tsm_ref.build(
        name, num_classes=5, causal=True, engine="numba", threads=2, precision="bfloat16", **options
    )
    np.testing.assert_array_equal(again.frame_logits(clip), whole)
    stream, at = model.stream(), 0
    for length in (1, 3, 1, 2):
        found = stream.steps(clip[:, :, at : at + length])
        np.testing.assert_array_equal(found, whole[:, at : at + length])
        at += length


def test_a_network_is_within_its_bound_and_its_summary_names_the_unit(rng):
    model = tsm_ref.build("resnet18", num_classes=5, engine="numba", precision="bfloat16")
    clip = rng.standard_normal((1, 3, 4, 64, 64)).astype(np.float32)
    expected = run_with_bound(*in_bfloat16(model.graph, model.weights), {"x": clip}, U32)
    assert expected["consensus"].used(model(clip)) <= 1
    lines = model.summary().splitlines()
    said = {line.split()[0]: line for line in lines if " Conv " in line}
    assert len(said) == 20
    assert all(line.endswith(f"bfloat16 on {UNIT.name}") for line in said.values())
    assert any(line.startswith("fc ") and line.endswith("float32") for line in lines)


def test_what_is_slower_than_float32_says_so():
    graph, sizes = network(CONVOLUTIONS[0])
    weights, _ = drawn(graph, sizes, lambda shape: np.zeros(shape, np.float32))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        engine = make_engine(graph, weights, "numba", precision="bfloat16")
    slow = [] if UNIT.needs else [units.SLOW]
    assert isinstance(engine, BFloat16Engine)
    assert [str(one.message) for one in said] == slow
    assert [remark for remark in engine.remarks() if not remark.startswith("AMX")] == slow


@pytest.mark.skipif(
    os.environ.get("TSM_REF_SLOW") != "1", reason="minutes of work: set TSM_REF_SLOW=1"
)
@pytest.mark.parametrize(
    "other", [{units.VARIABLE: TILES.name}, {"NUMBA_CPU_NAME": "nehalem"}], ids=str
)
def test_other_units_are_packed_for_rightly(other):
    """Everything here once more, packed as for AMX, and with short vectors."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, **other, "TSM_REF_SLOW": ""}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-2000:]


@pytest.mark.parametrize("size", [14, 20, 28])
def test_what_has_no_kernel_is_the_same_on_two_threads(size, rng):
    """Attention is products of a BLAS, whose sums depend on how many threads it may use."""
    shape = ("N", 40, "T", "H", "W")
    graph = Graph(
        "attention", (Input("x", shape),),
        (Node("y", "NonLocal", ("x", "x", "x"), {}), Node("end", "Conv", ("y", "w"), {})),
        ("end",), {"w": (8, 40, 1, 1, 1)},
    )  # fmt: skip
    weights = {"w": rng.standard_normal((8, 40, 1, 1, 1)).astype(np.float32)}
    x = rng.standard_normal((1, 40, 4, size, size)).astype(np.float32) / 4
    results = [
        BFloat16Engine(*in_bfloat16(graph, weights), threads=threads).run({"x": x})["end"].tobytes()
        for threads in (1, 2)
    ]
    assert results[0] == results[1]
