"""Attributes that an op cannot have are refused, and named."""

import pytest

from tsm_ref.ops_table import OPS

BAD_ATTRIBUTES = [
    ("Conv", {"strides": (1, 2)}, "strides"),
    ("Conv", {"strides": (0, 1, 1)}, "strides"),
    ("Conv", {"strides": [1, 1, 1]}, "strides"),
    ("Conv", {"pads": (0, 0, 0, 0, 0, -1)}, "pads"),
    ("Conv", {"pads": (0, 0, 0)}, "pads"),
    ("Conv", {"dilations": (1, 1, 2.0)}, "dilations"),
    ("Conv", {"group": 0}, "group"),
    ("Conv", {"group": True}, "group"),
    ("Conv", {"group": 2**40}, "group"),
    ("MaxPool", {}, "'kernel_shape' is missing"),
    ("MaxPool", {"kernel_shape": (1, 3, 3), "ceil_mode": 1}, "ceil_mode"),
    ("MaxPool", {"kernel_shape": (1, 3, 3), "auto_pad": "SAME"}, "unknown attribute 'auto_pad'"),
    ("Clip", {"min": 0.0}, "'max' is missing"),
    ("Clip", {"min": 0.0, "max": float("inf")}, "max"),
    ("Clip", {"min": 0.0, "max": 10**400}, "max"),
    ("Clip", {"min": float("nan"), "max": 1.0}, "min"),
    ("LeakyRelu", {"alpha": "0.1"}, "alpha"),
    ("TemporalShift", {}, "'d' is missing"),
    ("TemporalShift", {"d": (0.5,)}, "'d'"),
    ("TemporalShift", {"d": (1,), "fill": "edge"}, "fill"),
    ("TemporalShift", {"d": (1,), "fill": ["zero"]}, "fill"),
    ("TemporalShift", {"d": (1,), "segment": -1}, "segment"),
    ("Flatten", {"order": "WHC"}, "order"),
    ("NonLocal", {"mode": "cosine"}, "mode"),
    ("FusedConv", {"activation": "Gelu"}, "activation"),
    ("BatchNormalization", {"epsilon": None}, "epsilon"),
]


@pytest.mark.parametrize(("op", "attrs", "message"), BAD_ATTRIBUTES)
def test_bad_attributes_are_named(op, attrs, message):
    with pytest.raises(ValueError, match=message):
        OPS[op].check(len(OPS[op].inputs), attrs)
