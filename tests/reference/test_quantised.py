"""Quantised layers by formula, against sums by hand, the float definition and ONNX Runtime."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsm_ref import reference as ref
from tsm_ref.reference import quantised as q

F32 = np.float32


@given(st.floats(2**-10, 2**10, width=32), st.integers(0, 255), st.integers(0, 10**6))
def test_what_is_dequantised_is_quantised_to_itself(scale, zero, seed):
    values = np.random.default_rng(seed).integers(0, 256, 50).astype(np.uint8)
    real = q.dequantize_linear(values, scale, zero)
    np.testing.assert_array_equal(q.quantize_linear(real, scale, zero), values)


def test_halves_go_to_the_even_number_and_ends_saturate():
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 1e30, -1e30, np.inf, -np.inf, np.nan], F32)
    expected = [0, 2, 2, 0, -2, 127, -128, 127, -128, -128]
    assert q.quantize_linear(x, 1.0, 0, "int8").tolist() == expected


def test_a_scale_for_each_channel_along_an_axis():
    x = np.ones((2, 3, 2), F32)
    found = q.quantize_linear(x, np.array([0.5, 0.25, 0.125], F32), np.array([1, 0, 0]), axis=-2)
    assert found[:, :, 0].tolist() == [[3, 4, 8]] * 2
    back = q.dequantize_linear(found, np.array([0.5, 0.25, 0.125], F32), np.array([1, 0, 0]))
    np.testing.assert_array_equal(back, x)


REFUSED = [
    ({"scale": 0.0}, "must be positive and finite"),
    ({"scale": -1.0}, "must be positive and finite"),
    ({"scale": np.nan}, "must be positive and finite"),
    ({"scale": np.inf}, "must be positive and finite"),
    ({"scale": 1.0, "zero_point": 256}, "must be a whole number of uint8"),
    ({"scale": 1.0, "zero_point": -1}, "must be a whole number of uint8"),
    ({"scale": 1.0, "zero_point": 0.5}, "must be a whole number of uint8"),
    ({"scale": 1.0, "dtype": "int4"}, "must be one of"),
    ({"scale": np.ones(3)}, "do not fit axis 1"),
    ({"scale": np.ones(2), "axis": 5}, "does not exist"),
    ({"scale": np.ones(2), "zero_point": np.zeros(3, int)}, "do not fit axis 1"),
]


@pytest.mark.parametrize(("how", "message"), REFUSED)
def test_what_cannot_be_meant_is_refused(how, message):
    with pytest.raises(ValueError, match=message):
        q.quantize_linear(np.ones((4, 2), F32), **how)


def test_scales_that_combine_to_nothing_are_refused():
    for scales in ((1e-30, 1e-30, 1.0), (1e30, 1e30, 1.0), (1e-20, 1e-20, None)):
        with pytest.raises(ValueError, match="combine to no normal number"):
            q.combined_scale(*scales)


def test_a_sum_wraps_at_32_bits():
    x, w = np.full((1, 1, 3), 255, np.uint8), np.full((1, 1, 3), 127, np.int8)
    bias = np.array([2**31 - 1 - 3 * 255 * 127], np.int32)
    assert q.conv_integer(x, w, bias).item() == 2**31 - 1
    assert q.conv_integer(x, w, bias + 1).item() == -(2**31)


def case(seed):
    """A convolution of random type and shape, with what its values stand for."""
    rng = np.random.default_rng(seed)
    groups = int(rng.choice([1, 2, 4]))
    dtype, zero = rng.choice(["uint8", "int8"]), int(rng.integers(0, 128))
    least, most = q.limits(dtype)
    x = rng.integers(least, most + 1, (2, 4, 3, 6, 5)).astype(dtype)
    weight = rng.integers(-128, 128, (8, 4 // groups, 1, 3, 3)).astype(np.int8)
    bias = rng.integers(-5000, 5000, 8).astype(np.int32)
    scales = (F32(rng.uniform(0.01, 0.1)), rng.uniform(0.001, 0.01, 8).astype(F32),
              F32(rng.uniform(0.05, 0.2)))  # fmt: skip
    how = {"padding": (0, 1, 1), "stride": (1, 2, 1), "groups": groups}
    return x, zero, weight, bias, scales, how


@given(st.integers(0, 10**6))
def test_sums_are_those_of_a_convolution_of_reals(seed):
    x, zero, weight, bias, _, how = case(seed)
    expected = ref.conv(x.astype(float) - zero, weight.astype(float), bias.astype(float), **how)
    np.testing.assert_array_equal(q.conv_integer(x, weight, bias, zero, **how), expected)


@given(st.integers(0, 10**6))
def test_a_layer_is_the_float_definition_but_for_one_step_next_to_a_half(seed):
    x, zero, weight, bias, (x_scale, w_scale, y_scale), how = case(seed)
    acc = q.conv_integer(x, weight, bias, zero, **how)
    found = q.requantize(q.scaled(acc, q.combined_scale(x_scale, w_scale, y_scale)), 9, "uint8")
    real = q.dequantize_linear(x, x_scale, zero)
    weights = q.dequantize_linear(weight, w_scale, axis=0)
    biases = q.dequantize_linear(bias, x_scale * w_scale, axis=0)
    defined = q.quantize_linear(ref.conv(real, weights, biases, **how), y_scale, 9)
    exact = acc * (np.float64(x_scale) * w_scale.astype(np.float64)).reshape(-1, 1, 1, 1) / y_scale
    apart = found.astype(int) - defined
    assert np.abs(apart).max(initial=0) <= 1
    terms = weight[0].size + 1
    near = np.abs(np.abs(exact - np.floor(exact)) - 0.5)
    largest = np.abs(real).max() * np.abs(weights).max() * terms / y_scale
    assert (near[apart != 0] <= (terms + 4) * 2.0**-24 * largest).all()


def test_means_leave_padding_out_or_take_it_in():
    x = np.full((1, 1, 2, 2), 14, np.uint8)
    how = {"kernel": 2, "padding": (1, 0)}
    without = q.qlinear_average(x, (0.5, 4), 0.25, **how)
    counted = q.qlinear_average(x, (0.5, 4), 0.25, **how, count_include_pad=True)
    assert without[0, 0, :, 0].tolist() == [20.0, 20.0, 20.0]
    assert counted[0, 0, :, 0].tolist() == [10.0, 20.0, 10.0]


def session(op, operands, to, domain="", **attrs):
    """One op of ONNX Runtime on operands in order; single letters are fed, the rest is stored."""
    ort, onnx = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    make = onnx.helper
    fed = {name: value for name, value in operands.items() if len(name) == 1}
    graph = make.make_graph(
        [make.make_node(op, list(operands), ["out"], domain=domain, **attrs)],
        "one",
        [make.make_tensor_value_info(n, make.np_dtype_to_tensor_dtype(v.dtype), None)
         for n, v in fed.items()],
        [make.make_tensor_value_info("out", getattr(onnx.TensorProto, to), None)],
        [onnx.numpy_helper.from_array(np.asarray(v), n)
         for n, v in operands.items() if n not in fed],
    )  # fmt: skip
    opsets = [make.make_opsetid("", 17), make.make_opsetid("com.microsoft", 1)]
    model = make.make_model(graph, opset_imports=opsets, ir_version=8)
    made = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return made.run(None, fed)[0]


@pytest.mark.parametrize("seed", range(8))
def test_onnx_runtime_gives_the_same_bits(seed):
    """Its weights are kept small: without VNNI it adds products in pairs of 16 bits."""
    x, zero, weight, bias, (x_scale, w_scale, y_scale), how = case(seed)
    x, zero, weight = x[:, :, 0].astype(np.uint8), zero % 128, (weight[:, :, 0] // 2)
    found = session(
        "QLinearConv",
        {"x": x, "xs": x_scale, "xz": np.uint8(zero), "weight": weight, "ws": w_scale,
         "wz": np.zeros(8, np.int8), "ys": y_scale, "yz": np.uint8(3), "bias": bias},
        "UINT8", pads=[1, 1, 1, 1], strides=[2, 1], group=how["groups"],
    )  # fmt: skip
    acc = q.conv_integer(x, weight, bias, zero, stride=(2, 1), padding=1, groups=how["groups"])
    v = q.scaled(acc, q.combined_scale(x_scale, w_scale, y_scale))
    np.testing.assert_array_equal(found, q.requantize(v, 3, "uint8"))
    steps = {"xs": x_scale, "xz": np.uint8(zero)}
    more = {"ys": y_scale, "yz": np.uint8(3)}
    mean = session("QLinearGlobalAveragePool", {"x": x, **steps, **more}, "UINT8", "com.microsoft")
    v = q.qlinear_average(x, (x_scale, zero), y_scale, x.shape[2:])
    np.testing.assert_array_equal(mean, q.requantize(v, 3, "uint8"))
    real = np.random.default_rng(seed).standard_normal((3, 1000)).astype(F32) * 5
    rounded = session("QuantizeLinear", {"x": real, **steps}, "UINT8")
    np.testing.assert_array_equal(rounded, q.quantize_linear(real, x_scale, zero))
    back = session("DequantizeLinear", {"x": rounded, **steps}, "FLOAT")
    np.testing.assert_array_equal(back, q.dequantize_linear(rounded, x_scale, zero))


@pytest.mark.parametrize("op", ["Add", "Mul"])
def test_onnx_runtime_adds_and_multiplies_alike_but_for_one_step(op):
    rng = np.random.default_rng(4)
    a, b = (rng.integers(0, 256, (1, 4, 90, 90)).astype(np.uint8) for _ in range(2))
    scales, zeros = rng.uniform(0.01, 0.1, 3).astype(F32), [100, 140, 30]
    rest = {"as": scales[0], "az": np.uint8(zeros[0]), "b": b}
    more = {"bs": scales[1], "bz": np.uint8(zeros[1]), "ys": scales[2], "yz": np.uint8(zeros[2])}
    found = session(f"QLinear{op}", {"a": a, **rest, **more}, "UINT8", "com.microsoft")
    function = q.qlinear_add if op == "Add" else q.qlinear_mul
    v = function(a, b, (scales[0], zeros[0]), (scales[1], zeros[1]), scales[2])
    apart = np.abs(q.requantize(v, zeros[2], "uint8").astype(int) - found)
    assert apart.max() <= 1
    assert (np.abs(np.abs(v - np.floor(v)) - 0.5)[apart > 0] < 1e-4).all()
