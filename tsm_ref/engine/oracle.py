"""The oracle engine: a graph run node by node with the functions of the reference.

Nothing is folded, fused, planned or reused. `run_oracle` computes in any float dtype;
`run_with_bound` computes in float64 and carries along how far a correct implementation that
accumulates in another precision may be from it. One table of rules serves both: a rule is written
over a namespace of functions, the plain ones or those that propagate a bound.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tsm_ref import reference as ref
from tsm_ref.engine.exact import FORMULAS, pads_by_axis
from tsm_ref.errors import UsageError
from tsm_ref.graph import Graph, Node
from tsm_ref.reference import bounds, quantised, rounding
from tsm_ref.reference.bounded import Bounded, moved

Array = NDArray[Any]
Rule = Callable[..., Any]


def run_oracle(
    graph: Graph,
    weights: Mapping[str, Array],
    inputs: Mapping[str, Array],
    dtype: DTypeLike = np.float64,
) -> dict[str, Array]:
    """The graph's outputs by the reference, computed in `dtype`.

    Raises `GraphError` where the inputs do not fit. Shapes are those of the graph, NCTHW.

    >>> from tsm_ref.models import build_mobilenet_v2, random_weights
    >>> graph = build_mobilenet_v2(num_classes=3, width=0.35)
    >>> clip = np.zeros((1, 3, 4, 32, 32))
    >>> run_oracle(graph, random_weights(graph), {"x": clip})["consensus"].dtype
    dtype('float64')
    """
    values = {name: np.asarray(value, dtype) for name, value in inputs.items()}
    functions = SimpleNamespace(**vars(_PLAIN), dtype=dtype)
    return _run(graph, {n: _in_dtype(w, dtype) for n, w in weights.items()}, values, functions)


def run_with_bound(
    graph: Graph, weights: Mapping[str, Array], inputs: Mapping[str, Array], u: float
) -> dict[str, Bounded]:
    """The graph's outputs in float64, each with the variance that unit roundoff `u` explains.

    Weights and inputs are taken as the testee holds them; it may round a weight once more when it
    folds a batch norm. ``output.tolerance()`` is what `numpy.abs(testee - output.value)` must stay
    under (see `tsm_ref.reference.bounds`).

    Raises `UsageError` for a graph with quantised values: these are exact, and `run_oracle` says
    what they are.
    """
    if graph.quantised:
        raise UsageError("quantised values have no bound: they must be those of the oracle")
    functions = SimpleNamespace(
        **{name: partial(getattr(bounds, name), u=u) for name in _NAMES},
        moved=moved,
        clip=_clip_bounded,
    )
    functions.conv = partial(bounds.conv, u=u, rounded_weights=True)
    functions.add = lambda a, b: bounds.add(_bounded(a), _bounded(b), u=u)
    functions.multiply = lambda a, b: bounds.multiply(_bounded(a), _bounded(b), u=u)
    values = {name: Bounded.exact(value) for name, value in inputs.items()}
    exact = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    return _run(graph, exact, values, functions)


def _in_dtype(weight: Array, dtype: DTypeLike) -> Array:
    """A weight in the dtype of the run; whole numbers stay what they are."""
    weight = np.asarray(weight)
    return weight.astype(dtype) if weight.dtype.kind == "f" else weight


def _run(
    graph: Graph, weights: Mapping[str, Array], inputs: Mapping[str, Any], functions: Any
) -> dict[str, Any]:
    graph.shapes({name: getattr(v, "value", v).shape for name, v in inputs.items()})
    values: dict[str, Any] = {**weights, **inputs}
    alive = graph.consumers
    remaining = {name: len(readers) for name, readers in alive.items()}
    for node in graph.nodes:
        arguments = [values[name] for name in node.inputs]
        values[node.name] = _RULES[node.op](functions, node, *arguments)
        for name in set(node.inputs):
            remaining[name] -= 1
            if not remaining[name] and name not in graph.outputs:
                del values[name]
    return {name: values[name] for name in graph.outputs}


_NAMES = (
    "conv", "batch_norm", "relu", "leaky_relu", "hard_swish", "hard_sigmoid", "tanh", "sigmoid",
    "softmax", "log_softmax", "add", "multiply", "max_pool", "avg_pool", "global_avg_pool",
    "linear", "temporal_shift", "spatial_shift", "concatenate", "consensus", "attention_mask",
    "non_local", "bfloat16",
)  # fmt: skip

_PLAIN = SimpleNamespace(
    **{name: getattr(ref, name) for name in _NAMES if hasattr(ref, name)},
    add=np.add,
    multiply=np.multiply,
    concatenate=lambda x, y: np.concatenate((x, y), axis=1),
    clip=np.clip,
    bfloat16=rounding.bfloat16,
    moved=lambda x, move: move(x),
)


def _bounded(operand: Bounded | Array) -> Bounded:
    """An operand of a sum or a product, which may be a stored constant."""
    return operand if isinstance(operand, Bounded) else Bounded.exact(operand)


def _clip_bounded(x: Bounded, low: float, high: float) -> Bounded:
    """Clipping rounds nothing and moves two values no further apart."""
    return Bounded(np.clip(x.value, low, high), x.variance)


def _conv(f: Any, node: Node, x: Any, weight: Array, bias: Array | None = None) -> Any:
    stride, dilation, groups = (node.attr(n) for n in ("strides", "dilations", "group"))
    if node.attr("precision") == "bfloat16":
        x = f.bfloat16(x)
    return f.conv(x, weight, bias, stride, pads_by_axis(node), dilation, groups)


def _batch_norm(
    f: Any, node: Node, x: Any, scale: Array, shift: Array, mean: Array, variance: Array
) -> Any:
    return f.batch_norm(x, mean, variance, scale, shift, node.attr("epsilon"))


def _max_pool(f: Any, node: Node, x: Any) -> Any:
    kernel, stride, dilation = (node.attr(n) for n in ("kernel_shape", "strides", "dilations"))
    return f.max_pool(x, kernel, stride, pads_by_axis(node), dilation, node.attr("ceil_mode"))


def _average_pool(f: Any, node: Node, x: Any) -> Any:
    kernel, stride = (node.attr(n) for n in ("kernel_shape", "strides"))
    rest = node.attr("ceil_mode"), node.attr("count_include_pad")
    return f.avg_pool(x, kernel, stride, pads_by_axis(node), *rest)


def _flatten(f: Any, node: Node, x: Any) -> Any:
    """(N, C, T, H, W) -> (N, C*H*W, T)."""
    axes = (0, 1, 3, 4, 2) if node.attr("order") == "CHW" else (0, 3, 4, 1, 2)
    return f.moved(x, lambda v: v.transpose(axes).reshape(v.shape[0], -1, v.shape[2]))


def _temporal_shift(f: Any, node: Node, x: Any) -> Any:
    """A shift inside each segment: the segments are moved into the batch and back."""
    d, fill, segment = (node.attr(name) for name in ("d", "fill", "segment"))
    if not segment:
        return f.temporal_shift(x, d, fill)

    def split(v: Array) -> Array:
        parts = v.reshape(*v.shape[:2], -1, segment, *v.shape[3:])
        return parts.swapaxes(1, 2).reshape(-1, v.shape[1], segment, *v.shape[3:])

    def join(v: Array) -> Array:
        batch = getattr(x, "value", x).shape[0]
        parts = v.reshape(batch, -1, *v.shape[1:]).swapaxes(1, 2)
        return parts.reshape(batch, v.shape[1], -1, *v.shape[3:])

    return f.moved(f.temporal_shift(f.moved(x, split), d, fill), join)


def _moved(rule: Rule) -> Rule:
    """A rule that only moves or compares values, for quantised ones too; fills are zero points."""

    def apply(f: Any, node: Node, x: Any) -> Any:
        if getattr(x, "value", x).dtype.kind == "f":
            return rule(f, node, x)
        zero = node.attrs.get("x_zero_point", 0)
        return quantised.on_reals(lambda v: np.asarray(rule(f, node, v)), x, zero)

    return apply


def _exact(op: str) -> Rule:
    """The rule of a quantised op; what is real goes on in the dtype of the run."""

    def apply(f: Any, node: Node, *operands: Array) -> Array:
        found = FORMULAS[op](node, *operands)
        return found.astype(f.dtype) if found.dtype.kind == "f" else found

    return apply


_moved_in_time = _moved(_temporal_shift)


def _conv_behind_shift(f: Any, node: Node, x: Array, *parameters: Array) -> Array:
    """A quantised convolution: its formula has no shift, which a node may have taken in."""
    shifted = _moved_in_time(f, node, x) if any(node.attr("d")) else x
    found: Array = _exact("QLinearConv")(f, node, shifted, *parameters)
    return found


_RULES: Mapping[str, Rule] = {
    "Conv": _conv,
    "BatchNormalization": _batch_norm,
    "Relu": lambda f, node, x: f.relu(x),
    "Clip": lambda f, node, x: f.clip(x, node.attrs["min"], node.attrs["max"]),
    "LeakyRelu": lambda f, node, x: f.leaky_relu(x, node.attr("alpha")),
    "HardSwish": lambda f, node, x: f.hard_swish(x),
    "HardSigmoid": lambda f, node, x: f.hard_sigmoid(x),
    "Tanh": lambda f, node, x: f.tanh(x),
    "Sigmoid": lambda f, node, x: f.sigmoid(x),
    "Softmax": lambda f, node, x: f.softmax(x, node.attr("axis")),
    "LogSoftmax": lambda f, node, x: f.log_softmax(x, node.attr("axis")),
    "Add": lambda f, node, a, b: f.add(a, b),
    "Mul": lambda f, node, a, b: f.multiply(a, b),
    "Concat": lambda f, node, x, y: f.concatenate(x, y),
    "MaxPool": _moved(_max_pool),
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda f, node, x: f.global_avg_pool(x, keepdims=True),
    "Flatten": _moved(_flatten),
    "Squeeze": _moved(lambda f, node, x: f.moved(x, lambda v: v.squeeze(node.attr("axes")))),
    "FrameTuple": lambda f, node, x: f.moved(x, lambda v: ref.frame_tuple(v, node.attrs["frames"])),
    "Linear": lambda f, node, x, weight, bias=None: f.linear(x, weight, bias),
    "TemporalShift": _moved_in_time,
    "SpatialShift": _moved(
        lambda f, node, x: f.spatial_shift(x, node.attrs["dh"], node.attrs["dw"], node.attr("fill"))
    ),
    "Consensus": lambda f, node, x: f.consensus(x, node.attr("over")),
    "AttentionMask": lambda f, node, x: f.attention_mask(x),
    "NonLocal": lambda f, node, theta, phi, g: f.non_local(theta, phi, g, node.attr("mode")),
    **{op: _exact(op) for op in FORMULAS},
    "QLinearConv": _conv_behind_shift,
}
"""One rule per op that a graph may hold before it is optimised."""
