"""The ONNX ops that compute nothing new: they fold constants, and they move elements about.

Each is one small function over NumPy arrays. On constants it gives the values; on the numbers of
elements (`tsm_ref.checkpoint.onnx_in.values.Moved`) the same function gives the numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.checkpoint.finish import Step
from tsm_ref.checkpoint.onnx_in.guard import OnnxNode
from tsm_ref.checkpoint.onnx_in.tensors import MAX_ELEMENTS, type_name

Array = NDArray[Any]
Arrays = Sequence[Array]


@dataclass(frozen=True)
class Call:
    """One node at work: its attributes, the opset, and what stands for zero in its data."""

    node: OnnxNode
    opset: int
    zero: int = 0
    most: int = MAX_ELEMENTS

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute of the node, or a default."""
        return self.node.attrs.get(name, default)

    def checked(self, shape: Sequence[int]) -> tuple[int, ...]:
        """A shape that this file may ask for; raises `ValueError` before any memory is taken."""
        return checked(shape, self.most)

    def ints(self, name: str, inputs: Arrays, place: int) -> tuple[int, ...] | None:
        """A list of integers that newer opsets give as an input and older ones as an attribute."""
        if len(inputs) > place and inputs[place] is not None:
            return tuple(int(v) for v in np.asarray(inputs[place]).reshape(-1))
        value = self.attr(name)
        return None if value is None else tuple(int(v) for v in np.ravel(value))


def checked(shape: Sequence[int], most: int = MAX_ELEMENTS) -> tuple[int, ...]:
    """A shape that may be allocated; raises `ValueError` before any memory is asked for."""
    sizes = tuple(int(size) for size in shape)
    if any(size < 0 for size in sizes) or prod(sizes) > most:
        raise ValueError(f"the shape {sizes} is more than the {most} values accepted")
    return sizes


def target_shape(call: Call, inputs: Arrays, shape: Sequence[int]) -> tuple[int, ...]:
    """What Reshape, Flatten, Squeeze and Unsqueeze make of a shape; raises `ValueError`."""
    old = tuple(shape)
    return _RESHAPES[call.node.op](call, inputs, old)


def _reshape(call: Call, inputs: Arrays, old: tuple[int, ...]) -> tuple[int, ...]:
    wanted = list(call.ints("shape", inputs, 1) or ())
    keep_zero = bool(call.attr("allowzero", 0))
    sizes = [old[i] if s == 0 and not keep_zero else s for i, s in enumerate(wanted)]
    if sizes.count(-1) == 1:
        rest = prod(s for s in sizes if s != -1)
        if rest <= 0 or prod(old) % rest:
            raise ValueError(f"the shape {old} cannot become {tuple(wanted)}")
        sizes[sizes.index(-1)] = prod(old) // rest
    if any(s < 0 for s in sizes) or prod(sizes) != prod(old):
        raise ValueError(f"the shape {old} cannot become {tuple(wanted)}")
    return tuple(sizes)


def _flatten(call: Call, inputs: Arrays, old: tuple[int, ...]) -> tuple[int, ...]:
    axis = call.attr("axis", 1)
    axis += len(old) if axis < 0 else 0
    return prod(old[:axis]), prod(old[axis:])


def _squeeze(call: Call, inputs: Arrays, old: tuple[int, ...]) -> tuple[int, ...]:
    axes = call.ints("axes", inputs, 1)
    gone = {a % len(old) for a in axes} if axes else {i for i, s in enumerate(old) if s == 1}
    if any(old[a] != 1 for a in gone):
        raise ValueError(f"the axes {sorted(gone)} of {old} are not all of size 1")
    return tuple(size for axis, size in enumerate(old) if axis not in gone)


def _unsqueeze(call: Call, inputs: Arrays, old: tuple[int, ...]) -> tuple[int, ...]:
    axes = call.ints("axes", inputs, 1) or ()
    rank = len(old) + len(axes)
    new = {axis % rank for axis in axes}
    if len(new) < len(axes):
        raise ValueError(f"the axes {tuple(axes)} are not all different")
    rest = iter(old)
    return tuple(1 if axis in new else next(rest) for axis in range(rank))


_RESHAPES: Mapping[str, Callable[[Call, Arrays, tuple[int, ...]], tuple[int, ...]]] = {
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
}


def _reshaped(call: Call, inputs: Arrays) -> Array:
    return inputs[0].reshape(target_shape(call, inputs, inputs[0].shape))


def permutation(call: Call, rank: int) -> tuple[int, ...]:
    """The order of axes that Transpose asks for; reversed where it names none."""
    perm = tuple(call.attr("perm", range(rank)[::-1]))
    if sorted(perm) != list(range(rank)):
        raise ValueError(f"the permutation {perm} does not fit {rank} axes")
    return perm


def _slice(call: Call, inputs: Arrays) -> Array:
    x = inputs[0]
    starts = call.ints("starts", inputs, 1) or ()
    ends = call.ints("ends", inputs, 2) or ()
    axes = call.ints("axes", inputs, 3) or tuple(range(len(starts)))
    steps = call.ints("steps", inputs, 4) or (1,) * len(starts)
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        index[axis] = _span(start, end, step, x.shape[axis])
    return x[tuple(index)]


def _span(start: int, end: int, step: int, size: int) -> slice:
    """One axis of a Slice; a negative step may run past the first element."""
    if step < 0 and end < -size:
        return slice(start, None, step)
    return slice(start, end, step)


def _split(call: Call, inputs: Arrays) -> list[Array]:
    x = inputs[0]
    axis = call.attr("axis", 0)
    sizes = call.ints("split", inputs, 1)
    if sizes is None:
        count = call.attr("num_outputs", len(call.node.outputs))
        chunk = -(-x.shape[axis] // count)
        sizes = (*[chunk] * (count - 1), x.shape[axis] - chunk * (count - 1))
    if sum(sizes) != x.shape[axis] or min(sizes) < 0:
        raise ValueError(f"{x.shape[axis]} cannot be split into {sizes}")
    return np.split(x, np.cumsum(sizes)[:-1], axis)


def _concat(call: Call, inputs: Arrays) -> Array:
    call.checked((sum(x.size for x in inputs),))
    return np.concatenate(list(inputs), call.attr("axis", 1))


def _pad(call: Call, inputs: Arrays) -> Array:
    """Padding; a negative one cuts off."""
    x = inputs[0]
    pads = call.ints("pads", inputs, 1) or ()
    axes = call.ints("axes", inputs, 3) or tuple(range(x.ndim))
    widths = [(0, 0)] * x.ndim
    for place, axis in enumerate(axes):
        widths[axis] = (pads[place], pads[place + len(axes)])
    given = inputs[2] if len(inputs) > 2 and inputs[2] is not None else np.zeros(0)
    value = given.reshape(-1)[0] if given.size else call.attr("value", 0)
    call.checked([size + a + b for size, (a, b) in zip(x.shape, widths, strict=True)])
    x = x[
        tuple(slice(max(0, -a), s - max(0, -b)) for s, (a, b) in zip(x.shape, widths, strict=True))
    ]
    widths = [(max(0, a), max(0, b)) for a, b in widths]
    mode = call.attr("mode", "constant")
    if mode in ("edge", "reflect", "wrap"):
        filled: Array = np.pad(x, widths, mode=mode)
        return filled
    if mode != "constant":
        raise ValueError(f"pads in the unknown mode {mode!r}")
    if call.zero and value:
        raise ValueError(f"pads with {value}; only zeros can be part of a shift")
    return np.pad(x, widths, constant_values=call.zero or value)


def _gather(call: Call, inputs: Arrays) -> Array:
    axis = call.attr("axis", 0)
    shape = inputs[0].shape
    call.checked([*shape[:axis], *inputs[1].shape, *shape[axis % len(shape) + 1 :]])
    return np.take(inputs[0], inputs[1], axis)


def _gather_elements(call: Call, inputs: Arrays) -> Array:
    axis, index = call.attr("axis", 0), inputs[1]
    return np.take_along_axis(inputs[0], index % inputs[0].shape[axis], axis)


def _gather_nd(call: Call, inputs: Arrays) -> Array:
    if call.attr("batch_dims", 0):
        raise ValueError("batch_dims other than 0 is not supported")
    return np.asarray(inputs[0][tuple(np.moveaxis(inputs[1], -1, 0))])


def _scatter_nd(call: Call, inputs: Arrays) -> Array:
    if call.attr("reduction", "none") != "none":
        raise ValueError("a reduction is not supported")
    x, index, updates = inputs
    result = np.array(x)
    result[tuple(np.moveaxis(index, -1, 0))] = updates
    return result


def _scatter_elements(call: Call, inputs: Arrays) -> Array:
    if call.attr("reduction", "none") != "none":
        raise ValueError("a reduction is not supported")
    x, index, updates = inputs
    axis = call.attr("axis", 0)
    result = np.array(x)
    np.put_along_axis(result, index % x.shape[axis], updates, axis)
    return result


def _expand(call: Call, inputs: Arrays) -> Array:
    wanted = tuple(int(v) for v in inputs[1])
    shape = call.checked(np.broadcast_shapes(inputs[0].shape, wanted))
    return np.broadcast_to(inputs[0], shape)


def _tile(call: Call, inputs: Arrays) -> Array:
    repeats = tuple(int(v) for v in inputs[1])
    call.checked([size * count for size, count in zip(inputs[0].shape, repeats, strict=True)])
    return np.tile(inputs[0], repeats)


def _where(call: Call, inputs: Arrays) -> Array:
    call.checked(np.broadcast_shapes(*(x.shape for x in inputs)))
    return np.where(inputs[0].astype(bool), inputs[1], inputs[2])


Move = Callable[[Call, Arrays], "Array | list[Array]"]

MOVES: Mapping[str, tuple[Move, tuple[int, ...]]] = {
    **dict.fromkeys(_RESHAPES, (_reshaped, (0,))),
    "Identity": (lambda call, inputs: inputs[0], (0,)),
    "Transpose": (lambda call, x: x[0].transpose(permutation(call, x[0].ndim)), (0,)),
    "Slice": (_slice, (0,)),
    "Split": (_split, (0,)),
    "Concat": (_concat, ()),
    "Pad": (_pad, (0,)),
    "Gather": (_gather, (0,)),
    "GatherElements": (_gather_elements, (0,)),
    "GatherND": (_gather_nd, (0,)),
    "ScatterND": (_scatter_nd, (0, 2)),
    "ScatterElements": (_scatter_elements, (0, 2)),
    "Expand": (_expand, (0,)),
    "Tile": (_tile, (0,)),
    "Where": (_where, (1, 2)),
}
"""The ops that move elements, and which of their inputs hold the elements (none named: all)."""


def _constant(call: Call, inputs: Arrays) -> Array:
    for name, kind in (("value_int", np.int64), ("value_float", np.float32)):
        for key in (name, f"{name}s"):
            if call.attr(key) is not None:
                return np.array(call.attr(key), kind)
    if not isinstance(call.attr("value"), np.ndarray):
        raise ValueError("holds no tensor and no number")
    value: Array = call.attr("value")
    return value


def _constant_of_shape(call: Call, inputs: Arrays) -> Array:
    value = np.asarray(call.attr("value", np.zeros(1, np.float32))).reshape(-1)[0]
    return np.broadcast_to(value, call.checked(inputs[0].reshape(-1).tolist()))


def _range(call: Call, inputs: Arrays) -> Array:
    start, limit, delta = (x.reshape(-1)[0] for x in inputs)
    call.checked((max(0, -int(-((limit - start) // delta))) + 1,))
    return np.arange(start, limit, delta)


NUMPY_TYPES = {1: "f4", 2: "u1", 3: "i1", 6: "i4", 7: "i8", 9: "?", 10: "f2", 11: "f8"}


def _cast(call: Call, inputs: Arrays) -> Array:
    kind = call.attr("to", 1)
    if kind not in NUMPY_TYPES:
        raise ValueError(f"casts to the type {type_name(kind)}, which is not supported")
    return inputs[0].astype(NUMPY_TYPES[kind])


def _cast_like(call: Call, inputs: Arrays) -> Array:
    return inputs[0].astype(inputs[1].dtype)


def _divide(call: Call, inputs: Arrays) -> Array:
    """Integers are divided towards zero, as in C."""
    a, b = inputs
    if a.dtype.kind not in "iu":
        return a / b
    if not np.all(b):
        raise ValueError("divides by zero")
    result: Array = (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)
    return result


def _modulo(call: Call, inputs: Arrays) -> Array:
    """The remainder with the sign of the divisor, or with ``fmod`` of the dividend."""
    function = np.fmod if call.attr("fmod", 0) else np.mod
    return np.asarray(function(*inputs))


def _power(call: Call, inputs: Arrays) -> Array:
    """The result has the type of the base."""
    return np.asarray(np.power(*inputs)).astype(inputs[0].dtype)


def _reduce(function: Callable[..., Any]) -> Move:
    def apply(call: Call, inputs: Arrays) -> Array:
        axes = call.ints("axes", inputs, 1)
        if not axes and call.attr("noop_with_empty_axes"):
            return inputs[0]
        return np.asarray(
            function(inputs[0], axis=axes or None, keepdims=bool(call.attr("keepdims", 1)))
        )

    return apply


def _picked(call: Call, inputs: Arrays) -> "Array | list[Array]":
    return [step.apply(inputs[0]) for step in picks(call, inputs, inputs[0].shape)]


def picks(call: Call, inputs: Arrays, shape: Sequence[int]) -> list[Step]:
    """What ArgMax, ArgMin and TopK pick of a value of this shape; raises `ValueError`."""
    op, rank = call.node.op, len(shape)
    axis = call.attr("axis", -1 if op == "TopK" else 0)
    if not -rank <= axis < rank:
        raise ValueError(f"the axis {axis} does not exist in {tuple(shape)}")
    if op != "TopK":
        keep, last = bool(call.attr("keepdims", 1)), bool(call.attr("select_last_index", 0))
        return [Step("ArgMax", axis % rank, keep, last=last, least=op == "ArgMin")]
    (count,) = call.ints("k", inputs, 1) or (0,)
    if not 0 < count <= shape[axis]:
        raise ValueError(f"picks {count} of {shape[axis]} classes")
    least = not call.attr("largest", 1)
    parts = ("values", "indices")
    return [Step("TopK", axis % rank, count=count, part=part, least=least) for part in parts]


def _elementwise(function: Callable[..., Any]) -> Move:
    def apply(call: Call, inputs: Arrays) -> Array:
        call.checked(np.broadcast_shapes(*(x.shape for x in inputs)))
        return np.asarray(function(*inputs))

    return apply


FOLDS: Mapping[str, Move] = {
    "Constant": _constant,
    **dict.fromkeys(("ArgMax", "ArgMin", "TopK"), _picked),
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Cast": _cast,
    "CastLike": _cast_like,
    "Div": _divide,
    "Add": _elementwise(np.add),
    "Sub": _elementwise(np.subtract),
    "Mul": _elementwise(np.multiply),
    "Mod": _modulo,
    "Pow": _power,
    "Neg": _elementwise(np.negative),
    "Abs": _elementwise(np.abs),
    "Sqrt": _elementwise(np.sqrt),
    "Reciprocal": _elementwise(np.reciprocal),
    "Floor": _elementwise(np.floor),
    "Ceil": _elementwise(np.ceil),
    "Equal": _elementwise(np.equal),
    "Greater": _elementwise(np.greater),
    "GreaterOrEqual": _elementwise(np.greater_equal),
    "Less": _elementwise(np.less),
    "LessOrEqual": _elementwise(np.less_equal),
    "And": _elementwise(np.logical_and),
    "Or": _elementwise(np.logical_or),
    "Not": _elementwise(np.logical_not),
    "ReduceMean": _reduce(np.mean),
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
}
"""The ops that are carried out where all their inputs are constants."""

REPORTS = ("Shape", "Size")
"""The ops that tell the shape of a value, whose elements do not matter."""
