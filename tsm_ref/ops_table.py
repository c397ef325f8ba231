"""The one table of operations: inputs, attributes, shape rule, cost and reach in time of each.

Names and attributes follow ONNX where ONNX has the op. Where a network of this field needs an idea
that ONNX has no single op for (`TemporalShift`, `Consensus`, `AttentionMask`, `NonLocal`), the name
is the paper's. `FusedConv` is what the passes make of a shift, a convolution, a residual and an
activation; only engines meet it.

Spatial attributes list T, H and W in that order; ``pads`` lists the three begins, then the three
ends.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

Shape = tuple[int, ...]
Shapes = Sequence[Shape]
Attrs = Mapping[str, Any]

ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "HardSwish", "HardSigmoid", "Tanh", "Sigmoid")
"""The ops that a `FusedConv` can apply to its output."""

PARAMETER_ROLES = frozenset({"weight", "bias", "scale", "mean", "variance"})
"""The tensor inputs that a checkpoint holds; all others but ``a`` and ``b`` are computed values."""

REQUIRED: Any = object()
"""The default of an attribute that a node must give."""


def _is_int(value: Any, least: int) -> bool:
    return type(value) is int and least <= value < 2**31


def _ints(length: int, least: int) -> Callable[[Any], bool]:
    """A predicate: a tuple of that many integers (0: of any length), none below `least`."""
    return lambda value: (
        isinstance(value, tuple)
        and len(value) == (length or len(value))
        and all(_is_int(v, least) for v in value)
    )


def _one_of(*choices: Any) -> tuple[str, Callable[[Any], bool]]:
    return f"one of {choices}", lambda value: type(value) is type(choices[0]) and value in choices


_LARGEST = 3.4028234663852886e38
_NUMBER = (
    "a number that float32 can hold",
    lambda v: type(v) in (int, float) and -_LARGEST <= v <= _LARGEST,
)
_FLAG = _one_of(True, False)
_SIZES = ("three positive integers (T, H, W)", _ints(3, 1))

ATTRIBUTES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "strides": _SIZES,
    "dilations": _SIZES,
    "kernel_shape": _SIZES,
    "pads": ("six integers of 0 or more (T, H, W begins, then ends)", _ints(6, 0)),
    "group": ("a positive integer", lambda v: _is_int(v, 1)),
    "segment": ("an integer of 0 or more", lambda v: _is_int(v, 0)),
    "axis": ("an axis", lambda v: _is_int(v, -5) and v < 5),
    "axes": ("a list of axes", _ints(0, 0)),
    "d": ("one integer per channel", _ints(0, -(2**31))),
    "fill": _one_of("zero", "replicate", "circular"),
    "before": ("a number of frames of 0 or more", lambda v: _is_int(v, 0)),
    "past": _one_of("zero", "replicate", "lowest"),
    "order": _one_of("CHW", "HWC"),
    "over": _one_of("mean", "max", "last"),
    "mode": _one_of("embedded_gaussian", "gaussian", "dot_product"),
    "activation": _one_of("", *ACTIVATIONS),
    "ceil_mode": _FLAG,
    "count_include_pad": _FLAG,
    "epsilon": _NUMBER,
    "alpha": _NUMBER,
    "min": _NUMBER,
    "max": _NUMBER,
}
"""What every attribute may hold, in words and as a predicate; a file's attributes are checked."""


class InTime(Enum):
    """Which frames of its inputs an output frame of an op depends on."""

    FRAME = "the same frame alone"
    WINDOW = "a fixed number of frames around it"


FRAME, WINDOW = InTime


def _no_macs(inputs: Shapes, output: Shape, attrs: Attrs) -> int:
    return 0


@dataclass(frozen=True)
class Op:
    """One row: the names of the tensor inputs (``?`` marks an optional one) and the rules.

    ``in_time`` says which frames an output frame depends on, or in a sentence why the op cannot run
    frame by frame.
    """

    inputs: tuple[str, ...]
    shape: Callable[[Shapes, Attrs], Shape]
    attrs: Attrs = field(default_factory=dict)
    macs: Callable[[Shapes, Shape, Attrs], int] = _no_macs
    statistics: frozenset[str] = frozenset()
    in_time: InTime | str = "nothing is known about how it acts in time"

    @property
    def keeps_shape(self) -> bool:
        """True where the output has the shape of the first input, whatever that is."""
        return self.shape in _KEEPING

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

    def value(self, attrs: Attrs, name: str) -> Any:
        """An attribute of a node, or its default."""
        return attrs.get(name, self.attrs[name])


def _same(inputs: Shapes, attrs: Attrs) -> Shape:
    return inputs[0]


def _broadcast(inputs: Shapes, attrs: Attrs) -> Shape:
    a, b = inputs[0], inputs[1]
    if len(a) != len(b) or any(p != q and 1 not in (p, q) for p, q in zip(a, b, strict=True)):
        raise ValueError(f"the shapes {a} and {b} cannot be combined")
    return tuple(max(p, q) for p, q in zip(a, b, strict=True))


def _ncthw(shape: Shape) -> None:
    if len(shape) != 5:
        raise ValueError(f"the input must be (N, C, T, H, W), not {shape}")


def window_sizes(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    ceil_mode: bool = False,
) -> Shape:
    """Output sizes of a sliding window: ``floor((size + pads - reach) / stride) + 1`` per axis.

    With ``ceil_mode`` the division rounds up, but a last window that would start in the padding
    behind the input is left out.

    >>> window_sizes((8, 224, 224), (1, 7, 7), (1, 2, 2), (0, 3, 3, 0, 3, 3), (1, 1, 1))
    (8, 112, 112)
    """
    result = []
    for axis, size in enumerate(sizes):
        before, after = pads[axis], pads[len(sizes) + axis]
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        span = size + before + after - reach
        if span < 0:
            raise ValueError(f"the window of {reach} is larger than the padded size {span + reach}")
        stride = strides[axis]
        count = (span + stride - 1 if ceil_mode else span) // stride + 1
        if ceil_mode and (count - 1) * stride >= size + before:
            count -= 1
        result.append(count)
    return tuple(result)


CONV_ATTRS: dict[str, Any] = {
    "strides": (1, 1, 1),
    "pads": (0, 0, 0, 0, 0, 0),
    "dilations": (1, 1, 1),
    "group": 1,
}


def _conv_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    x, weight = inputs[0], inputs[1]
    _ncthw(x)
    if len(weight) != 5:
        raise ValueError(f"the weight must be (Cout, Cin/group, kT, kH, kW), not {weight}")
    group = attrs.get("group", 1)
    if group < 1 or weight[1] * group != x[1] or weight[0] % group:
        raise ValueError(
            f"a weight of shape {weight} in {group} group(s) cannot read {x[1]} channels"
        )
    if len(inputs) > 2 and inputs[2] != (weight[0],):
        raise ValueError(f"the bias has shape {inputs[2]}; expected ({weight[0]},)")
    sizes = window_sizes(x[2:], weight[2:], *(conv_attr(attrs, n) for n in _WINDOW))
    return (x[0], weight[0], *sizes)


_WINDOW = ("strides", "pads", "dilations")


def conv_attr(attrs: Attrs, name: str) -> Any:
    """An attribute of a convolution, or its default."""
    return attrs.get(name, CONV_ATTRS[name])


def _conv_macs(inputs: Shapes, output: Shape, attrs: Attrs) -> int:
    return _count(output) * _count(inputs[1][1:])


def _count(shape: Shape) -> int:
    result = 1
    for size in shape:
        result *= size
    return result


POOL_ATTRS: dict[str, Any] = {
    "kernel_shape": REQUIRED,
    "strides": (1, 1, 1),
    "pads": (0, 0, 0, 0, 0, 0),
    "ceil_mode": False,
}


def _pool_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    x = inputs[0]
    _ncthw(x)
    kernel, pads = attrs["kernel_shape"], attrs.get("pads", (0,) * 6)
    dilations = attrs.get("dilations", (1, 1, 1))
    if any(pads[i] > dilations[i % 3] * (kernel[i % 3] - 1) for i in range(6)):
        raise ValueError(f"the padding {pads} must be smaller than the window {kernel}")
    sizes = window_sizes(
        x[2:],
        kernel,
        attrs.get("strides", (1, 1, 1)),
        pads,
        dilations,
        attrs.get("ceil_mode", False),
    )
    return (*x[:2], *sizes)


def _global_pool_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    _ncthw(inputs[0])
    return (*inputs[0][:3], 1, 1)


def _flatten_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    _ncthw(inputs[0])
    n, c, t, h, w = inputs[0]
    return (n, c * h * w, t)


def _linear_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    x, weight = inputs[0], inputs[1]
    if len(x) != 3 or len(weight) != 2 or weight[1] != x[1]:
        raise ValueError(f"a weight of shape {weight} cannot read {x}, which must be (N, C, T)")
    if len(inputs) > 2 and inputs[2] != (weight[0],):
        raise ValueError(f"the bias has shape {inputs[2]}; expected ({weight[0]},)")
    return (x[0], weight[0], x[2])


def _linear_macs(inputs: Shapes, output: Shape, attrs: Attrs) -> int:
    return _count(output) * inputs[1][1]


def _batch_norm_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    x = inputs[0]
    if any(shape != (x[1],) for shape in inputs[1:]):
        raise ValueError(f"scale, bias, mean and variance must have shape ({x[1]},)")
    return x


def _shift_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    x, d = inputs[0], attrs["d"]
    if len(x) < 3 or len(d) != x[1]:
        raise ValueError(f"{len(d)} shifts cannot move the {x[1]} channels of {x}")
    segment = attrs.get("segment", 0)
    if segment and x[2] % segment:
        raise ValueError(f"{x[2]} frames are not a multiple of the segment of {segment}")
    return x


def _fused_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    _shift_shape(inputs, {"d": attrs.get("d") or (0,) * inputs[0][1], **_segment(attrs)})
    output = _conv_shape(inputs[:3], attrs)
    if len(inputs) > 3 and inputs[3] != output:
        raise ValueError(f"the residual has shape {inputs[3]}; expected {output}")
    return output


def _segment(attrs: Attrs) -> Attrs:
    return {"segment": attrs.get("segment", 0)}


def _history_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    n, channels, frames, *rest = inputs[0]
    return (n, channels, frames + attrs["before"], *rest)


def _consensus_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    if len(inputs[0]) != 3:
        raise ValueError(f"the input must be (N, K, T), not {inputs[0]}")
    return inputs[0][:2]


def _softmax_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    axis, rank = attrs.get("axis", 1), len(inputs[0])
    if axis == 0 or not -rank < axis < rank:
        raise ValueError(f"the axis {axis} of {inputs[0]} must be one behind the batch")
    return inputs[0]


def _mask_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    _ncthw(inputs[0])
    return inputs[0]


def _squeeze_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    axes = attrs["axes"]
    if 0 in axes:
        raise ValueError("axis 0 is the batch and stays")
    if any(axis >= len(inputs[0]) or inputs[0][axis] != 1 for axis in axes):
        raise ValueError(f"the axes {axes} of {inputs[0]} are not all of size 1")
    return tuple(size for axis, size in enumerate(inputs[0]) if axis not in axes)


def _non_local_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    theta, phi, g = inputs
    for shape in inputs:
        _ncthw(shape)
    if phi[2:] != g[2:] or theta[1] != phi[1] or not theta[0] == phi[0] == g[0]:
        raise ValueError(f"theta {theta}, phi {phi} and g {g} do not fit together")
    return (theta[0], g[1], *theta[2:])


def _non_local_macs(inputs: Shapes, output: Shape, attrs: Attrs) -> int:
    theta, phi, g = inputs
    return theta[0] * _count(theta[2:]) * _count(phi[2:]) * (theta[1] + g[1])


_KEEPING = frozenset((_same, _batch_norm_shape, _shift_shape, _softmax_shape, _mask_shape))
"""The shape rules that give back the shape of the first input."""

OPS: Mapping[str, Op] = {
    "Conv": Op(("x", "weight", "bias?"), _conv_shape, CONV_ATTRS, _conv_macs, in_time=WINDOW),
    "BatchNormalization": Op(
        ("x", "scale", "bias", "mean", "variance"),
        _batch_norm_shape,
        {"epsilon": 1e-5},
        statistics=frozenset({"mean", "variance"}),
        in_time=FRAME,
    ),
    "Relu": Op(("x",), _same, in_time=FRAME),
    "Clip": Op(("x",), _same, {"min": REQUIRED, "max": REQUIRED}, in_time=FRAME),
    "LeakyRelu": Op(("x",), _same, {"alpha": 0.01}, in_time=FRAME),
    "HardSwish": Op(("x",), _same, in_time=FRAME),
    "HardSigmoid": Op(("x",), _same, in_time=FRAME),
    "Tanh": Op(("x",), _same, in_time=FRAME),
    "Sigmoid": Op(("x",), _same, in_time=FRAME),
    "Softmax": Op(("x",), _softmax_shape, {"axis": 1}, in_time=FRAME),
    "LogSoftmax": Op(("x",), _softmax_shape, {"axis": 1}, in_time=FRAME),
    "Add": Op(("a", "b"), _broadcast, in_time=FRAME),
    "Mul": Op(("a", "b"), _broadcast, in_time=FRAME),
    "MaxPool": Op(("x",), _pool_shape, POOL_ATTRS | {"dilations": (1, 1, 1)}, in_time=WINDOW),
    "AveragePool": Op(
        ("x",), _pool_shape, POOL_ATTRS | {"count_include_pad": False}, in_time=WINDOW
    ),
    "GlobalAveragePool": Op(("x",), _global_pool_shape, in_time=FRAME),
    "Flatten": Op(("x",), _flatten_shape, {"order": "CHW"}, in_time=FRAME),
    "Squeeze": Op(("x",), _squeeze_shape, {"axes": REQUIRED}, in_time=FRAME),
    "Linear": Op(("x", "weight", "bias?"), _linear_shape, {}, _linear_macs, in_time=FRAME),
    "TemporalShift": Op(
        ("x",), _shift_shape, {"d": REQUIRED, "fill": "zero", "segment": 0}, in_time=WINDOW
    ),
    "Consensus": Op(
        ("x",),
        _consensus_shape,
        {"over": "mean"},
        in_time="the average over the whole clip is read by another node",
    ),
    "AttentionMask": Op(("x",), _mask_shape, in_time=FRAME),
    "NonLocal": Op(
        ("theta", "phi", "g"),
        _non_local_shape,
        {"mode": "embedded_gaussian"},
        _non_local_macs,
        in_time="its attention looks at the whole clip",
    ),
    "FusedConv": Op(
        ("x", "weight", "bias", "residual?"),
        _fused_shape,
        CONV_ATTRS
        | {"d": (), "fill": "zero", "segment": 0}
        | {"activation": "", "min": 0.0, "max": 0.0, "alpha": 0.0},
        _conv_macs,
        in_time=WINDOW,
    ),
    "History": Op(("x",), _history_shape, {"d": REQUIRED, "before": 0, "past": "zero"}),
}
"""Every op that a graph may contain.

======================  ==========================================================================
``Conv``                N-d cross-correlation; a 2-D convolution has kT = 1
``BatchNormalization``  ``(x - mean) / sqrt(variance + epsilon) * scale + bias``
``GlobalAveragePool``   the mean over H and W: (N, C, T, H, W) -> (N, C, T, 1, 1)
``Flatten``             (N, C, T, H, W) -> (N, C*H*W, T); ``order`` names the axis order inside
``Linear``              per frame: (N, C, T) -> (N, K, T)
``TemporalShift``       ``out[n, c, t] = x[n, c, t - d[c]]``; ``segment`` > 0: inside each stretch
                        of that many frames, 0: over the whole clip
``Consensus``           the mean over T: (N, K, T) -> (N, K); ``over`` may say the largest or the
                        last frame instead
``AttentionMask``       ``0.5 * x / mean_hw(x)`` (TS-CAN)
``NonLocal``            ``softmax(theta^T phi) g^T``
``FusedConv``           ``activation(conv(shift(x)) + bias + residual)``
``History``             only in a step graph (`tsm_ref.passes.streaming`): the frames of `x` and
                        ``before`` frames in front of them, every channel `d` frames late; what came
                        before the step is state, what came before the stream ``past``
======================  ==========================================================================
"""
