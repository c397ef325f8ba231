"""The rules of the table of operations: the shape of an output, and what it costs.

A shape rule takes the shapes of all inputs and the attributes, and raises `ValueError` where they
do not fit together. A cost is in multiply-accumulates.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

Shape = tuple[int, ...]
Shapes = Sequence[Shape]
Attrs = Mapping[str, Any]

REQUIRED: Any = object()
"""The default of an attribute that a node must give."""

RULES = ("onnxruntime", "xnnpack", "tflite")
"""Who rounds sums and means of whole numbers in this way."""


def no_macs(inputs: Shapes, output: Shape, attrs: Attrs) -> int:
    """No products: an op that only moves, compares or adds."""
    return 0


def same(inputs: Shapes, attrs: Attrs) -> Shape:
    """The shape of the first input."""
    return inputs[0]


def broadcast(inputs: Shapes, attrs: Attrs) -> Shape:
    """Two operands of equal shapes, but for axes of size 1, which are spread."""
    a, b = inputs[0], inputs[1]
    if len(a) != len(b) or any(p != q and 1 not in (p, q) for p, q in zip(a, b, strict=True)):
        raise ValueError(f"the shapes {a} and {b} cannot be combined")
    return tuple(max(p, q) for p, q in zip(a, b, strict=True))


def concatenated(inputs: Shapes, attrs: Attrs) -> Shape:
    """The channels of two values, one behind the other; all other axes are equal."""
    a, b = inputs[0], inputs[1]
    if len(a) < 2 or (*a[:1], *a[2:]) != (*b[:1], *b[2:]):
        raise ValueError(f"the channels of the shapes {a} and {b} cannot be put together")
    return (a[0], a[1] + b[1], *a[2:])


def frame_tuple_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """Features (N, C, T) of k frames behind each other: (N, k C, 1)."""
    x, frames = inputs[0], attrs["frames"]
    if len(x) != 3 or not frames or max(frames) >= x[2]:
        raise ValueError(f"the frames {frames} are not in {x}, which must be (N, C, T)")
    return (x[0], x[1] * len(frames), 1)


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


def conv_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """(N, C, T, H, W) through a weight (Cout, Cin / group, kT, kH, kW) and a bias (Cout,)."""
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


def conv_macs(inputs: Shapes, output: Shape, attrs: Attrs) -> int:
    """One for each output and each weight that it reads."""
    return prod(output) * prod(inputs[1][1:])


POOL_ATTRS: dict[str, Any] = {
    "kernel_shape": REQUIRED,
    "strides": (1, 1, 1),
    "pads": (0, 0, 0, 0, 0, 0),
    "ceil_mode": False,
}


def pool_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """(N, C, T, H, W) through windows that are larger than their padding."""
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


def global_pool_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """(N, C, T, H, W) -> (N, C, T, 1, 1)."""
    _ncthw(inputs[0])
    return (*inputs[0][:3], 1, 1)


def flatten_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """(N, C, T, H, W) -> (N, C*H*W, T)."""
    _ncthw(inputs[0])
    n, c, t, h, w = inputs[0]
    return (n, c * h * w, t)


def linear_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """(N, C, T) -> (N, K, T) by a weight (K, C) and a bias (K,)."""
    x, weight = inputs[0], inputs[1]
    if len(x) != 3 or len(weight) != 2 or weight[1] != x[1]:
        raise ValueError(f"a weight of shape {weight} cannot read {x}, which must be (N, C, T)")
    if len(inputs) > 2 and inputs[2] != (weight[0],):
        raise ValueError(f"the bias has shape {inputs[2]}; expected ({weight[0]},)")
    return (x[0], weight[0], x[2])


def linear_macs(inputs: Shapes, output: Shape, attrs: Attrs) -> int:
    """One for each output and each channel."""
    return prod(output) * inputs[1][1]


def batch_norm_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """The shape of x, with four vectors of a number per channel."""
    x = inputs[0]
    if any(shape != (x[1],) for shape in inputs[1:]):
        raise ValueError(f"scale, bias, mean and variance must have shape ({x[1]},)")
    return x


def shift_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """The shape of x, with a shift per channel and whole segments."""
    x, d = inputs[0], attrs["d"]
    if len(x) < 3 or len(d) != x[1]:
        raise ValueError(f"{len(d)} shifts cannot move the {x[1]} channels of {x}")
    segment = attrs.get("segment", 0)
    if segment and x[2] % segment:
        raise ValueError(f"{x[2]} frames are not a multiple of the segment of {segment}")
    return x


def spatial_shift_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """The shape of x, with a pair of shifts per channel."""
    x = inputs[0]
    for name in ("dh", "dw"):
        if len(x) != 5 or len(attrs[name]) != x[1]:
            raise ValueError(f"{len(attrs[name])} shifts cannot move the {x[1]} channels of {x}")
    return x


def fused_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """That of a convolution behind a shift, which a residual has too."""
    shift_shape(inputs, {"d": attrs.get("d") or (0,) * inputs[0][1], **_segment(attrs)})
    output = conv_shape(inputs[:3], attrs)
    if len(inputs) > 3 and inputs[3] != output:
        raise ValueError(f"the residual has shape {inputs[3]}; expected {output}")
    return output


def _segment(attrs: Attrs) -> Attrs:
    return {"segment": attrs.get("segment", 0)}


def quantised_conv_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """That of a convolution behind a shift; there is a scale for every output channel."""
    x, weight, scale, bias = inputs
    output = fused_shape((x, weight, bias), attrs)
    _channel_scales(scale, weight)
    return output


def quantised_linear_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """(N, C, T) -> (N, K, T) by a weight (K, C), K scales and a bias (K,)."""
    x, weight, scale, bias = inputs
    output = linear_shape((x, weight, bias), attrs)
    _channel_scales(scale, weight)
    return output


def whole_sum_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """As `broadcast`; XNNPACK adds values whose scales are not too far from each other."""
    rule = attrs.get("rule", RULES[0])
    scales = [attrs[f"{role}_scale"] for role in ("x", "other")]
    near = all(2.0**-10 <= scale / attrs["y_scale"] < 2.0**8 for scale in scales)
    if rule == "tflite" or (rule == "xnnpack" and not near):
        raise ValueError(f"values of the scales {scales} cannot be added by the rule {rule!r}")
    return broadcast(inputs, attrs)


def whole_pool_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """That of a pool; not every rule knows padding, or steps of the result that are other ones."""
    rule = attrs.get("rule", RULES[0])
    padded = any(attrs.get("pads", ())) or attrs.get("ceil_mode", False)
    if rule == "xnnpack" and padded:
        raise ValueError("the rule 'xnnpack' is for means without padding")
    if rule == "tflite" and (attrs.get("count_include_pad", False) or _rescales(attrs)):
        raise ValueError("the rule 'tflite' is for means in the steps of what they are taken of")
    return (pool_shape if "kernel_shape" in attrs else global_pool_shape)(inputs, attrs)


def _rescales(attrs: Attrs) -> bool:
    steps = [(attrs[f"{role}_scale"], attrs.get(f"{role}_zero_point", 0)) for role in ("x", "y")]
    return steps[0] != steps[1]


def dynamic_conv_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """That of a convolution; there is a scale for every output channel."""
    x, weight, scale, *bias = inputs
    _channel_scales(scale, weight)
    return conv_shape((x, weight, *bias), attrs)


def dynamic_linear_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """(N, C, T) -> (N, K, T) by a weight (K, C), K scales and perhaps a bias (K,)."""
    x, weight, scale, *bias = inputs
    _channel_scales(scale, weight)
    return linear_shape((x, weight, *bias), attrs)


def _channel_scales(scale: Shape, weight: Shape) -> None:
    if scale != weight[:1]:
        raise ValueError(f"the scales have shape {scale}; expected {weight[:1]}")


def look_up_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """The shape of x; a table has 256 entries."""
    if inputs[1] != (256,):
        raise ValueError(f"the table has shape {inputs[1]}; expected (256,)")
    return inputs[0]


def history_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """``before`` frames more than x."""
    n, channels, frames, *rest = inputs[0]
    return (n, channels, frames + attrs["before"], *rest)


def consensus_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """(N, K, T) -> (N, K)."""
    if len(inputs[0]) != 3:
        raise ValueError(f"the input must be (N, K, T), not {inputs[0]}")
    return inputs[0][:2]


def softmax_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """The shape of x; the axis is one behind the batch."""
    axis, rank = attrs.get("axis", 1), len(inputs[0])
    if axis == 0 or not -rank < axis < rank:
        raise ValueError(f"the axis {axis} of {inputs[0]} must be one behind the batch")
    return inputs[0]


def mask_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """The shape of x, (N, C, T, H, W)."""
    _ncthw(inputs[0])
    return inputs[0]


def squeeze_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """The shape of x without axes of size 1."""
    axes = attrs["axes"]
    if 0 in axes:
        raise ValueError("axis 0 is the batch and stays")
    if any(axis >= len(inputs[0]) or inputs[0][axis] != 1 for axis in axes):
        raise ValueError(f"the axes {axes} of {inputs[0]} are not all of size 1")
    return tuple(size for axis, size in enumerate(inputs[0]) if axis not in axes)


def non_local_shape(inputs: Shapes, attrs: Attrs) -> Shape:
    """Of theta (N, C, T, H, W), phi (N, C, T, h, w), g (N, D, T, h, w) -> (N, D, T, H, W)."""
    theta, phi, g = inputs
    for shape in inputs:
        _ncthw(shape)
    if phi[2:] != g[2:] or theta[1] != phi[1] or not theta[0] == phi[0] == g[0]:
        raise ValueError(f"theta {theta}, phi {phi} and g {g} do not fit together")
    return (theta[0], g[1], *theta[2:])


def non_local_macs(inputs: Shapes, output: Shape, attrs: Attrs) -> int:
    """One for each pair of places and each channel, twice."""
    theta, phi, g = inputs
    return theta[0] * prod(theta[2:]) * prod(phi[2:]) * (theta[1] + g[1])


KEEPING = frozenset(
    (
        same,
        batch_norm_shape,
        shift_shape,
        spatial_shift_shape,
        softmax_shape,
        mask_shape,
        look_up_shape,
    )
)
"""The shape rules that give back the shape of the first input."""
