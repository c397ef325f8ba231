"""The one table of operations: inputs, attributes, shape rule, cost and reach in time of each.

Names and attributes follow ONNX where ONNX has the op. Where a network of this field needs an idea
that ONNX has no single op for (`TemporalShift`, `SpatialShift`, `Consensus`, `AttentionMask`,
`NonLocal`), the name is the paper's. `FusedConv` is what the passes make of a shift, a convolution,
a residual and an activation; only engines meet it.

Values are float32, or quantised: uint8 or int8, of which the node that makes them says scale and
zero point (``y_scale``, ``y_zero_point``), and a node that computes with them says them again, as
in ONNX. ``QLinear...`` compute with whole numbers alone, exactly (`tsm_ref.reference.quantised`).

What each attribute may hold is in `tsm_ref.op_attributes`, the shape rules and the costs are in
`tsm_ref.op_rules`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tsm_ref.op_attributes import ATTRIBUTES, INTEGERS, REAL
from tsm_ref.op_rules import (
    CONV_ATTRS,
    KEEPING,
    POOL_ATTRS,
    REQUIRED,
    RULES,
    Attrs,
    Shape,
    Shapes,
    batch_norm_shape,
    broadcast,
    concatenated,
    consensus_shape,
    conv_macs,
    conv_shape,
    dynamic_conv_shape,
    dynamic_linear_shape,
    flatten_shape,
    frame_tuple_shape,
    fused_shape,
    global_pool_shape,
    history_shape,
    linear_macs,
    linear_shape,
    look_up_shape,
    mask_shape,
    no_macs,
    non_local_macs,
    non_local_shape,
    pool_shape,
    quantised_conv_shape,
    quantised_linear_shape,
    same,
    shift_shape,
    softmax_shape,
    spatial_shift_shape,
    squeeze_shape,
    whole_pool_shape,
    whole_sum_shape,
)

__all__ = [
    "DYNAMIC",
    "FRAME",
    "OPS",
    "PARAMETER_ROLES",
    "SUMS",
    "WINDOW",
    "Attrs",
    "InTime",
    "Op",
    "Shape",
    "Shapes",
]

SUMS = ("QLinearConv", "QLinearMatMul")
"""The quantised ops that have weights: sums of products of whole numbers."""

DYNAMIC = ("DynamicQuantizeConv", "DynamicQuantizeMatMul")
"""The ops that round what they read by its range at run time; their weights are whole numbers."""

PARAMETER_ROLES = frozenset({"weight", "bias", "scale", "mean", "variance", "table"})
"""The tensor inputs that a checkpoint holds; all others but ``a`` and ``b`` are computed values."""

ANY = (*REAL, *INTEGERS)
"""All types of values."""


class InTime(Enum):
    """Which frames of its inputs an output frame of an op depends on."""

    FRAME = "the same frame alone"
    WINDOW = "a fixed number of frames around it"


FRAME, WINDOW = InTime


@dataclass(frozen=True)
class Op:
    """One row: the names of the tensor inputs (``?`` marks an optional one) and the rules.

    ``in_time`` says which frames an output frame depends on, or in a sentence why the op cannot run
    frame by frame. ``takes`` are the types that its values may have; ``gives`` those that its
    output may have: the attribute ``dtype`` says which of several, and none are that of the first
    input. ``stored`` are the types of the parameters that are not float32, by role; none are that
    of the output.
    """

    inputs: tuple[str, ...]
    shape: Callable[[Shapes, Attrs], Shape]
    attrs: Attrs = field(default_factory=dict)
    macs: Callable[[Shapes, Shape, Attrs], int] = no_macs
    statistics: frozenset[str] = frozenset()
    in_time: InTime | str = "nothing is known about how it acts in time"
    takes: tuple[str, ...] = REAL
    gives: tuple[str, ...] = REAL
    stored: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def keeps_shape(self) -> bool:
        """True where the output has the shape of the first input, whatever that is."""
        return self.shape in KEEPING

    def check(self, input_count: int, attrs: Attrs) -> None:
        """Raise `ValueError` for a wrong number of inputs, or a missing or unknown attribute."""
        least = sum(not name.endswith("?") for name in self.inputs)
        if not least <= input_count <= len(self.inputs):
            raise ValueError(f"takes {', '.join(self.inputs)}; {input_count} inputs were given")
        unknown = sorted(set(attrs) - set(self.attrs))
        if unknown:
            raise ValueError(f"unknown attribute {unknown[0]!r}; known are {sorted(self.attrs)}")
        missing = sorted(
            name
            for name, default in self.attrs.items()
            if default is REQUIRED and name not in attrs
        )
        if missing:
            raise ValueError(f"the attribute {missing[0]!r} is missing")
        for name, value in attrs.items():
            sentence, fits = ATTRIBUTES[name]
            if not fits(value):
                raise ValueError(f"the attribute {name!r} (={value!r}) must be {sentence}")
        if "dtype" in attrs and attrs["dtype"] not in self.gives:
            raise ValueError(f"its output cannot be {attrs['dtype']}")

    def output_type(self, inputs: Sequence[str], attrs: Attrs) -> str:
        """The type of the output for values of these types; `ValueError` where one does not fit."""
        for given in inputs:
            if given not in self.takes:
                raise ValueError(f"it reads {given} values; it takes {' or '.join(self.takes)}")
        if "dtype" in self.attrs:
            return str(self.value(attrs, "dtype"))
        return self.gives[0] if self.gives else inputs[0]

    def stored_types(self, role: str, attrs: Attrs) -> tuple[str, ...]:
        """The types that a parameter may have in its role."""
        return self.stored.get(role, REAL) or (str(attrs["dtype"]),)

    def value(self, attrs: Attrs, name: str) -> Any:
        """An attribute of a node, or its default."""
        return attrs.get(name, self.attrs[name])


_FACTORS = {"precision": "float32"}
_MOVES: dict[str, Any] = {"takes": ANY, "gives": ()}
_WHOLE: dict[str, Any] = {"takes": INTEGERS, "gives": INTEGERS}
_SUMS: dict[str, Any] = {
    "takes": INTEGERS,
    "gives": ANY,
    "stored": {"weight": ("int8", "int16"), "bias": ("int32",)},
}
_DYNAMIC: dict[str, Any] = {
    "in_time": "it rounds what it reads by the range of the whole clip",
    "stored": {"weight": ("int8", "int16")},
}
_X: dict[str, Any] = {"x_scale": REQUIRED, "x_zero_point": 0}
_Y: dict[str, Any] = {"dtype": REQUIRED, "y_scale": 1.0, "y_zero_point": 0}
_CLAMP: dict[str, Any] = {"low": -128, "high": 255}
_RULE: dict[str, Any] = {"rule": RULES[0]}
_PAIR: dict[str, Any] = _X | {"other_scale": REQUIRED, "other_zero_point": 0} | _Y | _CLAMP

OPS: Mapping[str, Op] = {
    "Conv": Op(
        ("x", "weight", "bias?"), conv_shape, CONV_ATTRS | _FACTORS, conv_macs, in_time=WINDOW
    ),
    "BatchNormalization": Op(
        ("x", "scale", "bias", "mean", "variance"),
        batch_norm_shape,
        {"epsilon": 1e-5},
        statistics=frozenset({"mean", "variance"}),
        in_time=FRAME,
    ),
    "Relu": Op(("x",), same, in_time=FRAME),
    "Clip": Op(("x",), same, {"min": REQUIRED, "max": REQUIRED}, in_time=FRAME),
    "LeakyRelu": Op(("x",), same, {"alpha": 0.01}, in_time=FRAME),
    "HardSwish": Op(("x",), same, in_time=FRAME),
    "HardSigmoid": Op(("x",), same, in_time=FRAME),
    "Tanh": Op(("x",), same, in_time=FRAME),
    "Sigmoid": Op(("x",), same, in_time=FRAME),
    "Softmax": Op(("x",), softmax_shape, {"axis": 1}, in_time=FRAME),
    "LogSoftmax": Op(("x",), softmax_shape, {"axis": 1}, in_time=FRAME),
    "Add": Op(("a", "b"), broadcast, in_time=FRAME),
    "Mul": Op(("a", "b"), broadcast, in_time=FRAME),
    "Concat": Op(("x", "y"), concatenated, in_time=FRAME),
    "MaxPool": Op(
        ("x",), pool_shape, POOL_ATTRS | {"dilations": (1, 1, 1)}, in_time=WINDOW, **_MOVES
    ),
    "AveragePool": Op(
        ("x",), pool_shape, POOL_ATTRS | {"count_include_pad": False}, in_time=WINDOW
    ),
    "GlobalAveragePool": Op(("x",), global_pool_shape, in_time=FRAME),
    "Flatten": Op(("x",), flatten_shape, {"order": "CHW"}, in_time=FRAME, **_MOVES),
    "Squeeze": Op(("x",), squeeze_shape, {"axes": REQUIRED}, in_time=FRAME, **_MOVES),
    "Linear": Op(("x", "weight", "bias?"), linear_shape, {}, linear_macs, in_time=FRAME),
    "TemporalShift": Op(
        ("x",),
        shift_shape,
        {"d": REQUIRED, "fill": "zero", "segment": 0, "x_zero_point": 0},
        in_time=WINDOW,
        **_MOVES,
    ),
    "SpatialShift": Op(
        ("x",),
        spatial_shift_shape,
        {"dh": REQUIRED, "dw": REQUIRED, "fill": "zero", "x_zero_point": 0},
        in_time=FRAME,
        **_MOVES,
    ),
    "FrameTuple": Op(
        ("x",),
        frame_tuple_shape,
        {"frames": REQUIRED},
        in_time="it chooses frames of the whole clip",
    ),
    "Consensus": Op(
        ("x",),
        consensus_shape,
        {"over": "mean"},
        in_time="the average over the whole clip is read by another node",
    ),
    "AttentionMask": Op(("x",), mask_shape, in_time=FRAME),
    "NonLocal": Op(
        ("theta", "phi", "g"),
        non_local_shape,
        {"mode": "embedded_gaussian"},
        non_local_macs,
        in_time="its attention looks at the whole clip",
    ),
    "FusedConv": Op(
        ("x", "weight", "bias", "residual?"),
        fused_shape,
        CONV_ATTRS
        | _FACTORS
        | {"d": (), "fill": "zero", "segment": 0}
        | {"activation": "", "min": 0.0, "max": 0.0, "alpha": 0.0},
        conv_macs,
        in_time=WINDOW,
    ),
    "History": Op(
        ("x",),
        history_shape,
        {"d": REQUIRED, "before": 0, "past": "zero", "x_zero_point": 0},
        **_MOVES,
    ),
    "QuantizeLinear": Op(("x",), same, _Y | {"y_scale": REQUIRED}, in_time=FRAME, gives=INTEGERS),
    "DequantizeLinear": Op(("x",), same, _X, in_time=FRAME, takes=INTEGERS),
    "QLinearConv": Op(
        ("x", "weight", "scale", "bias"),
        quantised_conv_shape,
        CONV_ATTRS | {"d": (), "fill": "zero", "segment": 0} | _X | _Y | _CLAMP,
        conv_macs,
        in_time=WINDOW,
        **_SUMS,
    ),
    "QLinearMatMul": Op(
        ("x", "weight", "scale", "bias"),
        quantised_linear_shape,
        _X | _Y | _CLAMP,
        linear_macs,
        in_time=FRAME,
        **_SUMS,
    ),
    "QLinearAdd": Op(("x", "other"), whole_sum_shape, _PAIR | _RULE, in_time=FRAME, **_WHOLE),
    "QLinearMul": Op(("x", "other"), broadcast, _PAIR, in_time=FRAME, **_WHOLE),
    "QLinearAveragePool": Op(
        ("x",),
        whole_pool_shape,
        POOL_ATTRS | {"count_include_pad": False} | _X | _Y | _CLAMP | _RULE,
        in_time=WINDOW,
        **_WHOLE,
    ),
    "QLinearGlobalAveragePool": Op(
        ("x",), whole_pool_shape, _X | _Y | _CLAMP | _RULE, in_time=FRAME, **_WHOLE
    ),
    "DynamicQuantizeConv": Op(
        ("x", "weight", "scale", "bias?"), dynamic_conv_shape, CONV_ATTRS, conv_macs, **_DYNAMIC
    ),
    "DynamicQuantizeMatMul": Op(
        ("x", "weight", "scale", "bias?"), dynamic_linear_shape, {}, linear_macs, **_DYNAMIC
    ),
    "LookUp": Op(("x", "table"), look_up_shape, _Y, in_time=FRAME, stored={"table": ()}, **_WHOLE),
}
"""Every op that a graph may contain.

======================  ==========================================================================
``Conv``                N-d cross-correlation; a 2-D convolution has kT = 1. ``precision``
                        "bfloat16" rounds what it reads of `x` to that, not what it sums up
``BatchNormalization``  ``(x - mean) / sqrt(variance + epsilon) * scale + bias``
``GlobalAveragePool``   the mean over H and W: (N, C, T, H, W) -> (N, C, T, 1, 1)
``Flatten``             (N, C, T, H, W) -> (N, C*H*W, T); ``order`` names the axis order inside
``Linear``              per frame: (N, C, T) -> (N, K, T)
``TemporalShift``       ``out[n, c, t] = x[n, c, t - d[c]]``; ``segment`` > 0: inside each stretch
                        of that many frames, 0: over the whole clip
``SpatialShift``        ``out[n, c, t, h, w] = x[n, c, t, h - dh[c], w - dw[c]]``
``Consensus``           the mean over T: (N, K, T) -> (N, K); ``over`` may say the largest or the
                        last frame instead
``AttentionMask``       ``0.5 * x / mean_hw(x)`` (TS-CAN)
``NonLocal``            ``softmax(theta^T phi) g^T``
``FusedConv``           ``activation(conv(shift(x)) + bias + residual)``
``History``             only in a step graph (`tsm_ref.passes.streaming`): the frames of `x` and
                        ``before`` frames in front of them, every channel `d` frames late; what came
                        before the step is state, what came before the stream ``past``
``QuantizeLinear``      ``saturate(round(x / y_scale) + y_zero_point)``, halves to even
``DequantizeLinear``    ``(x - x_zero_point) * x_scale``
``QLinearConv``         a convolution of whole numbers behind a shift, requantised and clamped to
                        ``low .. high``; real if ``dtype`` is float32. ``scale`` is that of the
                        weights, per output channel
``QLinearMatMul``       the same as a layer per frame: (N, C, T) -> (N, K, T)
``QLinearAdd``, ...     as the op without ``QLinear``, from whole numbers to whole numbers; sums and
                        means are rounded by the ``rule`` of ONNX Runtime, or of LiteRT (that of
                        ``xnnpack``, or its own; `tsm_ref.reference.litert`)
``DynamicQuantize...``  a layer of reals that rounds them to uint8 by the range of the clip, sums
                        whole numbers, and gives reals (`tsm_ref.reference.dynamic`)
``LookUp``              any function of one value: ``table[x - least value of its type]``
======================  ==========================================================================
"""
