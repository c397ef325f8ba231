"""The engine of loops: a graph run on the plain loops of `tsm_ref.kernels`, and on nothing else.

It is for reading, and for a second opinion: every op of an optimised graph is one loop that says
what the op is, scalar by scalar. Its arena, its plans and its streams are those of the NumPy
engine; only the table from op to computation is another one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.engine.on_numpy.ops import Step, StepMaker
from tsm_ref.graph import Node
from tsm_ref.kernels import loops, loops_of_values
from tsm_ref.kernels.loops import CIRCULAR, REPLICATE, ZERO
from tsm_ref.ops_table import OPS, PARAMETER_ROLES

__all__ = ["LOOPS", "TABLE", "LoopsEngine"]

Array = NDArray[Any]
Loop = Callable[..., Array]

_FILLS = {"zero": ZERO, "replicate": REPLICATE, "circular": CIRCULAR}


class LoopsEngine(NumpyEngine):
    """Runs a graph scalar by scalar, in float32 or the dtype that is asked for.

    >>> from tsm_ref.models import build_mobilenet_v2, random_weights
    >>> graph = build_mobilenet_v2(num_classes=3, width=0.35)
    >>> engine = LoopsEngine(graph, random_weights(graph))
    >>> clip = np.zeros((1, 3, 2, 32, 32), np.float32)
    >>> engine.run({"x": clip})["consensus"].shape
    (1, 3)
    """

    name = "loops"

    @property
    def table(self) -> Mapping[str, StepMaker]:
        """One maker of steps per op."""
        return TABLE


def _shift(node: Node, x: Array) -> Array:
    """Shift each segment of frames by itself; a `FusedConv` without a shift moves nothing."""
    d, length = np.array(node.attr("d"), np.int64), node.attr("segment") or x.shape[2]
    if not len(d):
        return x
    fill = _FILLS[node.attr("fill")]
    cuts = [np.ascontiguousarray(x[:, :, t : t + length]) for t in range(0, x.shape[2], length)]
    return np.concatenate([loops.temporal_shift(cut, d, fill) for cut in cuts], axis=2)


def _fused_conv(node: Node, y: Array, x: Array, weight: Array, bias: Array, *more: Array) -> Array:
    how = (node.attr(name) for name in ("strides", "pads", "dilations", "group"))
    found = loops.conv(_shift(node, x), weight, bias, *how)
    for residual in more:
        found = loops_of_values.add(found, residual)
    activation = node.attr("activation")
    return _ACTIVATIONS[activation](node, found) if activation else found


def _batch_norm(
    node: Node, y: Array, x: Array, scale: Array, bias: Array, mean: Array, variance: Array
) -> Array:
    five = x.reshape(*x.shape, *[1] * (5 - x.ndim))
    return loops.batch_norm(five, mean, variance, scale, bias, node.attr("epsilon"))


def _max_pool(node: Node, y: Array, x: Array) -> Array:
    kernel, strides, pads = (node.attr(name) for name in ("kernel_shape", "strides", "pads"))
    return loops.max_pool(x, kernel, strides, pads, node.attr("dilations"), _sizes(y))


def _average_pool(node: Node, y: Array, x: Array) -> Array:
    kernel, strides, pads = (node.attr(name) for name in ("kernel_shape", "strides", "pads"))
    return loops.average_pool(x, kernel, strides, pads, node.attr("count_include_pad"), _sizes(y))


def _sizes(y: Array) -> tuple[int, int, int]:
    _, frames, height, width = y.shape
    return frames, height, width


def _linear(node: Node, y: Array, x: Array, weight: Array, *bias: Array) -> Array:
    return loops.linear(x, weight, bias[0] if bias else np.zeros(len(weight), x.dtype))


def _softmax(node: Node, y: Array, x: Array) -> Array:
    last = np.moveaxis(x, node.attr("axis"), -1)
    rows = np.ascontiguousarray(last).reshape(-1, last.shape[-1])
    logarithm = node.op == "LogSoftmax"
    loop = loops_of_values.log_softmax if logarithm else loops_of_values.softmax
    return np.moveaxis(loop(rows).reshape(last.shape), -1, node.attr("axis"))


def _binary(loop: Loop) -> Loop:
    def apply(node: Node, y: Array, a: Array, b: Array) -> Array:
        wide = (np.ascontiguousarray(np.broadcast_to(v, (1, *y.shape))) for v in (a, b))
        return loop(*wide)

    return apply


def _non_local(node: Node, y: Array, theta: Array, phi: Array, g: Array) -> Array:
    theta, phi, g = (v.reshape(*v.shape[:2], -1) for v in (theta, phi, g))
    return loops_of_values.non_local(theta, phi, g, node.attr("mode") == "dot_product")


def _leaky_relu(node: Node, x: Array) -> Array:
    return loops_of_values.leaky_relu(x, node.attr("alpha"))


_ACTIVATIONS: Mapping[str, Callable[[Node, Array], Array]] = {
    "Relu": lambda node, x: loops_of_values.clamp(x, 0.0, np.inf),
    "Clip": lambda node, x: loops_of_values.clamp(x, node.attr("min"), node.attr("max")),
    "LeakyRelu": _leaky_relu,
    "HardSwish": lambda node, x: loops_of_values.hard_swish(x),
    "HardSigmoid": lambda node, x: loops_of_values.hard_sigmoid(x),
    "Tanh": lambda node, x: loops_of_values.tanh(x),
    "Sigmoid": lambda node, x: loops_of_values.sigmoid(x),
}


def _activation(op: str) -> Loop:
    return lambda node, y, x: _ACTIVATIONS[op](node, x)


LOOPS: Mapping[str, Loop] = {
    "FusedConv": _fused_conv,
    "BatchNormalization": _batch_norm,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Add": _binary(loops_of_values.add),
    "Mul": _binary(loops_of_values.multiply),
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda node, y, x: loops.global_average_pool(x),
    "Flatten": lambda node, y, x: loops.flatten(x, node.attr("order") != "CHW"),
    "Squeeze": lambda node, y, x: x,
    "Linear": _linear,
    "TemporalShift": lambda node, y, x: _shift(node, x),
    "Consensus": lambda node, y, x: loops.consensus(x),
    "AttentionMask": lambda node, y, x: loops_of_values.attention_mask(x),
    "NonLocal": _non_local,
    **{op: _activation(op) for op in _ACTIVATIONS},
}
"""The loop of every op of an optimised graph: (node, y, operands) -> values, with a batch axis.

The operands have a batch axis too, and `y` is where the values will go, for its shape alone.
"""


def _step(loop: Loop) -> StepMaker:
    """A step that puts what a loop gives into an array without a batch axis."""

    def make(node: Node, inputs: Sequence[Array], y: Array) -> Step:
        roles = [role.removesuffix("?") for role in OPS[node.op].inputs]
        operands = [
            value if role in PARAMETER_ROLES or (role in "ab" and value.ndim > y.ndim)
            else value[None]
            for role, value in zip(roles, inputs, strict=False)
        ]  # fmt: skip
        return lambda: np.copyto(y, loop(node, y, *operands).reshape(y.shape))

    return make


TABLE: Mapping[str, StepMaker] = {op: _step(loop) for op, loop in LOOPS.items()}
"""One maker of steps per op, as `tsm_ref.engine.on_numpy.ops.STEPS`."""
