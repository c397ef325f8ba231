"""Activations in place, against their definitions one number at a time."""

import math

import numpy as np
import pytest

from tsm_ref.engine.on_numpy.activations import activation
from tsm_ref.op_attributes import ACTIVATIONS

X = [-1e4, -200.0, -88.0, -85.0, -7.0, -3.0, -2.5, -1e-3, -0.0, 0.0, 1e-3, 0.5, 3.0, 6.5, 90.0, 1e4]


def gate(v: float) -> float:
    return min(max(v + 3, 0), 6) / 6


def logistic(v: float) -> float:
    return 1 / (1 + math.exp(-v)) if v > -700 else 0.0


DEFINITIONS = {
    "Relu": ({}, lambda v: max(v, 0.0)),
    "Clip": ({"min": -1.5, "max": 2.0}, lambda v: min(max(v, -1.5), 2.0)),
    "LeakyRelu": ({"alpha": 0.3}, lambda v: v if v >= 0 else 0.3 * v),
    "HardSwish": ({}, lambda v: v * gate(v)),
    "HardSigmoid": ({}, gate),
    "Tanh": ({}, math.tanh),
    "Sigmoid": ({}, logistic),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("op", ACTIVATIONS)
def test_each_is_its_definition_even_far_out(op, dtype):
    attrs, definition = DEFINITIONS[op]
    block = np.array(X, dtype)
    activation(op, attrs)(block)
    assert block.dtype == dtype
    info = np.finfo(dtype)
    expected = [definition(v) for v in X]
    np.testing.assert_allclose(block, expected, rtol=8 * info.eps, atol=8 * info.tiny)


@pytest.mark.parametrize("op", ACTIVATIONS)
def test_each_works_on_a_part_of_a_larger_block(op):
    """An engine hands over slices of rows; what lies beside them must stay."""
    attrs, definition = DEFINITIONS[op]
    whole = np.full((4, 6), 2.5)
    activation(op, attrs)(whole[1:3, 2:5])
    assert whole[1:3, 2:5] == pytest.approx(definition(2.5))
    outside = np.ones((4, 6), bool)
    outside[1:3, 2:5] = False
    assert (whole[outside] == 2.5).all()


def test_no_name_is_no_activation():
    assert activation("", {}) is None


def test_the_slope_of_a_leaky_relu_has_onnx_s_default():
    block = np.array([-1.0])
    activation("LeakyRelu", {})(block)
    assert block[0] == -0.01


@pytest.mark.parametrize("op", sorted({*ACTIVATIONS} - {"Clip"}))
def test_a_nan_is_not_hidden(op):
    block = np.array([np.nan, 1.0])
    activation(op, {})(block)
    assert np.isnan(block[0])
    assert np.isfinite(block[1])
