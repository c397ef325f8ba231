"""Every quantised layer that is compiled has the bits of the reference, whatever its shape."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.quantised_networks import clip, network
from tsm_ref.engine.exact import FORMULAS
from tsm_ref.engine.on_numba.whole_numbers import MAKERS, WholeNumbersEngine
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.engine.on_numpy.frames import ShiftedFrames, copy_frames
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.op_rules import pool_shape

DTYPES = ("uint8", "int8")


def whole(rng, shape, dtype):
    ends = np.iinfo(dtype)
    return rng.integers(ends.min, ends.max + 1, shape).astype(dtype)


def run_kernel(node, operands, y, threads=1):
    """The result of the kernel of a node; an error where it has none."""
    engine = WholeNumbersEngine(Graph("none", (Input("x", ("N",)),), (), ("x",), {}), {}, threads)
    memory = np.zeros(operands[0].nbytes + 64, np.uint8)  # as in an arena, with a line behind
    x = memory[: operands[0].nbytes].view(operands[0].dtype).reshape(operands[0].shape)
    x[...] = operands[0]
    step = engine.table[node.op](node, [x, *operands[1:]], y)
    assert not engine.fallbacks()
    step()
    return y


def shifted(node, x):
    """What a shift inside a convolution presents."""
    frames = ShiftedFrames(x, *(node.attr(name) for name in ("d", "fill", "segment")))
    y = np.empty_like(x)
    copy_frames(y, x, frames.copies(0, x.shape[1]), node.attr("x_zero_point"))
    return y


def a_conv(rng, x, y, kernel=(1, 1, 1), stride=1, group=1, dilation=1, dtype="uint8", **more):
    """A convolution (node, operands) whose results spread over all values."""
    zero = 7 if x[0] == "uint8" else -20
    (kt, kh, kw), (channels, *_) = kernel, x[1]
    taps = channels // group * kt * kh * kw
    pads = (kt // 2, kh // 2 * dilation, kw // 2 * dilation) * 2
    attrs = {
        "strides": (1, stride, stride), "dilations": (1, dilation, dilation), "group": group,
        "pads": pads, "x_scale": 0.02, "x_zero_point": zero, "y_scale": 400.0 * taps**0.5,
        "y_zero_point": 128, "dtype": dtype, "low": 60, "high": 250, **more,
    }  # fmt: skip
    operands = (
        whole(rng, x[1], x[0]),
        whole(rng, (y, channels // group, *kernel), "int8"),
        rng.uniform(50, 150, y).astype(np.float32),
        rng.integers(-3000, 3000, y).astype(np.int32),
    )
    return Node("y", "QLinearConv", ("x", "w", "s", "b"), attrs), operands


SHIFTS = {"d": (1, 1, -1, -1, 2) + (0,) * 11}

NARROW = {"d": (1,) * 5 + (-1,) * 5 + (0,) * 8}

CONVOLUTIONS = {
    "1x1": ((16, 3, 9, 7), 20, {}),
    "1x1, shifted": ((16, 5, 9, 7), 20, SHIFTS),
    "1x1, around": ((16, 5, 9, 7), 20, {**SHIFTS, "fill": "circular"}),
    "1x1, segments": ((16, 6, 5, 7), 20, {**SHIFTS, "fill": "replicate", "segment": 3}),
    "1x1, one place": ((16, 1, 1, 1), 3, {}),
    "1x1, stride 2": ((16, 2, 9, 8), 20, {"stride": 2}),
    "odd channels": ((3, 2, 11, 10), 5, {"kernel": (1, 7, 7), "stride": 2}),
    "real": ((16, 2, 9, 8), 20, {"dtype": "float32"}),
    "real, 3x3": ((16, 2, 9, 8), 16, {"dtype": "float32", "kernel": (1, 3, 3)}),
    "3x3": ((16, 2, 9, 8), 20, {"kernel": (1, 3, 3), **SHIFTS}),
    "3x3, even": ((18, 3, 8, 20), 37, {"kernel": (1, 3, 3)}),
    "3x3, narrow": ((18, 3, 14, 13), 20, {"kernel": (1, 3, 3), **NARROW}),
    "3x3, in eights": ((18, 2, 27, 28), 20, {"kernel": (1, 3, 3)}),
    "3x3, wide": ((16, 1, 5, 75), 16, {"kernel": (1, 3, 3)}),
    "3x3, few": ((6, 3, 8, 20), 7, {"kernel": (1, 3, 3)}),
    "3x3, stride 2": ((16, 2, 9, 8), 20, {"kernel": (1, 3, 3), "stride": 2, **SHIFTS}),
    "3x3, dilated": ((16, 2, 9, 8), 20, {"kernel": (1, 3, 3), "dilation": 2}),
    "in time": ((16, 5, 6, 6), 20, {"kernel": (3, 3, 3), **SHIFTS}),
    "groups": ((16, 5, 6, 6), 24, {"kernel": (1, 3, 3), "group": 4, **SHIFTS}),
    "depthwise": ((16, 3, 11, 9), 16, {"kernel": (1, 3, 3), "group": 16}),
    "depthwise, shifted": ((16, 3, 11, 9), 16, {"kernel": (1, 3, 3), "group": 16, **SHIFTS}),
    "depthwise, stride 2": ((8, 3, 11, 9), 8, {"kernel": (1, 3, 3), "group": 8, "stride": 2}),
    "depthwise, 5x5": ((8, 3, 11, 9), 8, {"kernel": (1, 5, 5), "group": 8}),
    "depthwise, 5x5, stride 2": ((8, 3, 17, 40), 8, {"kernel": (1, 5, 5), "group": 8, "stride": 2}),
    "depthwise, dilated": ((8, 3, 11, 9), 8, {"kernel": (1, 3, 3), "group": 8, "dilation": 2}),
    "long": ((700, 1, 4, 5), 5, {"kernel": (1, 3, 3), "stride": 2}),
}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions(case, dtype, threads, rng):
    x, outputs, more = CONVOLUTIONS[case]
    node, operands = a_conv(rng, (dtype, x), outputs, **more)
    inputs = (shifted(node, operands[0])[None], *operands[1:])
    expected = FORMULAS["QLinearConv"](node, *inputs)[0]
    found = run_kernel(node, operands, np.zeros_like(expected), threads)
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(expected)) > min(20, expected.size // 2)


@pytest.mark.parametrize("kernel", [(1, 1, 1), (1, 3, 3)])
@pytest.mark.parametrize("ends", [(0, 255), (255, 0)])
@pytest.mark.parametrize("channels", [1024, 114])
def test_the_largest_sums(kernel, ends, channels, rng):
    """All products at their ends: nothing saturates, and nothing wraps too early."""
    node, operands = a_conv(rng, ("uint8", (channels, 1, 4, 4)), 16, kernel, x_zero_point=ends[0])
    x, weight, scale, bias = operands
    x[...], weight[...] = ends[1], -128
    scale = np.full_like(scale, node.attr("y_scale") / 0.02 / (channels * 32640 * 9 / 100))
    operands = (x, weight, scale, bias)
    expected = FORMULAS["QLinearConv"](node, x[None], *operands[1:])[0]
    found = run_kernel(node, operands, np.zeros_like(expected))
    np.testing.assert_array_equal(found, expected)


VALUES = {
    "x_scale": 0.03, "x_zero_point": 9, "other_scale": 0.041, "other_zero_point": -7,
    "y_scale": 0.05, "y_zero_point": 120, "dtype": "uint8", "low": 110, "high": 250,
}  # fmt: skip


@pytest.mark.parametrize("shape", [(8, 3, 7, 5), (3, 1, 1, 1), (4, 5, 16, 16)])
@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
def test_pairs(op, shape, rng):
    a, b = whole(rng, shape, "uint8"), whole(rng, shape, "int8")
    node = Node("y", op, ("a", "b"), VALUES)
    expected = FORMULAS[op](node, a, b)
    np.testing.assert_array_equal(run_kernel(node, (a, b), np.zeros_like(expected)), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_to_bytes_and_back(dtype, rng):
    x = rng.normal(0, 3, (5, 3, 7, 5)).astype(np.float32)
    x.flat[:4] = np.inf, -np.inf, np.nan, 0.015
    attrs = {"y_scale": 0.03, "y_zero_point": 3, "dtype": dtype}
    node = Node("y", "QuantizeLinear", ("x",), attrs)
    expected = FORMULAS[node.op](node, x)
    found = run_kernel(node, (x,), np.zeros_like(expected))
    np.testing.assert_array_equal(found, expected)
    node = Node("y", "DequantizeLinear", ("x",), {"x_scale": 0.03, "x_zero_point": 3})
    back = FORMULAS[node.op](node, found)
    np.testing.assert_array_equal(run_kernel(node, (found,), np.zeros_like(back)), back)


@pytest.mark.parametrize("dtype", DTYPES)
def test_tables_and_means(dtype, rng):
    x, table = whole(rng, (9, 3, 7, 5), dtype), whole(rng, 256, "int8")
    node = Node("y", "LookUp", ("x", "t"), {"dtype": "int8", "y_scale": 1.0, "y_zero_point": 0})
    expected = FORMULAS[node.op](node, x, table)
    np.testing.assert_array_equal(run_kernel(node, (x, table), np.zeros_like(expected)), expected)
    node = Node("y", "QLinearGlobalAveragePool", ("x",), {**VALUES, "y_scale": 0.004})
    expected = FORMULAS[node.op](node, x[None])[0]
    np.testing.assert_array_equal(run_kernel(node, (x,), np.zeros_like(expected)), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize(("width", "stride"), [(11, 2), (37, 2), (16, 1), (70, 1)])
def test_the_largest_of_a_window(kernel, width, stride, dtype, rng):
    x = whole(rng, (4, 2, 9, width), dtype)
    pads, size = (0, kernel // 2, kernel // 2) * 2, (kernel, kernel)
    attrs = {"kernel_shape": (1, *size), "strides": (1, stride, stride), "pads": pads}
    node = Node("y", "MaxPool", ("x",), attrs)
    shape = pool_shape([(1, *x.shape)], attrs)[1:]
    y = np.zeros(shape, dtype)
    edges = ((0, 0), (0, 0), *[(pads[1], pads[1])] * 2)
    padded = np.pad(x, edges, constant_values=np.iinfo(dtype).min)
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, (2, 3))
    expected = windows[:, :, ::stride, ::stride].max((-2, -1))[:, :, : shape[2], : shape[3]]
    np.testing.assert_array_equal(run_kernel(node, (x,), y), expected)


def test_a_fully_connected_layer(rng):
    x, weight = whole(rng, (300, 3), "uint8"), whole(rng, (7, 300), "int8")
    operands = (x, weight, np.full(7, 0.01, np.float32), np.arange(7, dtype=np.int32))
    node = Node("y", "QLinearMatMul", ("x", "w", "s", "b"), {**VALUES, "dtype": "float32"})
    expected = FORMULAS[node.op](node, x[None], *operands[1:])[0]
    np.testing.assert_array_equal(run_kernel(node, operands, np.zeros_like(expected)), expected)


def test_inputs_are_quantised_wherever_they_lie():
    graph, weights = network()
    x = clip()["x"]
    engine = WholeNumbersEngine(graph, weights)
    (expected,) = NumpyEngine(graph, weights).run({"x": x}).values()
    fixed = x.copy()
    fixed.flags.writeable = False
    turned = np.ascontiguousarray(x.swapaxes(2, 4)).swapaxes(2, 4)
    for given in (x, fixed, turned, x.astype(np.float64), np.repeat(x, 2, axis=0)[::2]):
        (found,) = engine.run({"x": given}).values()
        np.testing.assert_array_equal(found, expected)


def test_what_has_no_kernel_is_named():
    graph, weights = network()
    engine = WholeNumbersEngine(graph, weights, 2)
    engine.run(clip(2))
    assert set(engine.fallbacks()) == {"max", "mean", "product", "relu"}
    assert {node.op for node in graph.nodes} - {"Relu", "Flatten", "TemporalShift"} - set(
        MAKERS
    ) == {"QLinearAveragePool"}


@pytest.mark.skipif(
    os.environ.get("TSM_REF_SLOW") != "1", reason="minutes of work: set TSM_REF_SLOW=1"
)
@pytest.mark.parametrize(
    "other",
    [
        {"TSM_REF_INTEGER_UNIT": "quads"},
        {"TSM_REF_INTEGER_UNIT": "signed quads"},
        {"TSM_REF_INTEGER_UNIT": "tiles"},
        {"TSM_REF_INTEGER_UNIT": "pairs (AVX2)"},
        {"NUMBA_CPU_NAME": "nehalem"},
    ],
    ids=str,
)
def test_other_units_are_packed_for_rightly(other):
    """Everything here once more, packed as for VNNI, as for AMX, and as for short vectors."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, **other, "TSM_REF_SLOW": ""}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-2000:]
