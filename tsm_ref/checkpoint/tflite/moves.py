"""Ops of TensorFlow Lite that move elements about, or compute with shapes and indices.

Each function writes an operation and returns the names of its results. ``read`` gives the name of
an operand that holds elements: whole numbers, where the results have the same steps, else reals.
"""

from collections.abc import Callable, Mapping

import numpy as np

from tsm_ref.checkpoint.tflite.guard import Operator
from tsm_ref.checkpoint.tflite.schema import type_name
from tsm_ref.checkpoint.tflite.writing import FINE, Writing
from tsm_ref.errors import CheckpointError

Read = Callable[[int], str]
Move = Callable[[Writing, Operator, Read], list[str]]

END = 2**31 - 1
ONNX_TYPES = {0: 1, 1: 10, 2: 6, 3: 2, 4: 7, 6: 9, 9: 3, 10: 11}
"""The types of CAST by the numbers of ONNX."""


def reshape(w: Writing, operator: Operator, read: Read) -> list[str]:
    """RESHAPE to a shape that is an operand or an option."""
    if w.given(operator, 1):
        shape = w.operand(operator, 1)
    else:
        shape = w.constant(np.array(operator.options.get("shape", ()), np.int64))
    return [w.do("Reshape", [read(0), shape], allowzero=1)]


def squeeze(w: Writing, operator: Operator, read: Read) -> list[str]:
    """SQUEEZE, of all axes of size 1 where none is named."""
    axes = operator.options.get("axes", ())
    given = [w.constant(np.array(axes, np.int64))] if axes else []
    return [w.do("Squeeze", [read(0), *given])]


def expand_dims(w: Writing, operator: Operator, read: Read) -> list[str]:
    """EXPAND_DIMS."""
    axes = w.constant(np.array(w.ints(operator, 1), np.int64))
    return [w.do("Unsqueeze", [read(0), axes])]


def transpose(w: Writing, operator: Operator, read: Read) -> list[str]:
    """TRANSPOSE."""
    return [w.turned(read(0), w.ints(operator, 1))]


def concatenation(w: Writing, operator: Operator, read: Read) -> list[str]:
    """CONCATENATION."""
    names = [read(place) for place in range(len(operator.inputs))]
    return [w.do("Concat", names, axis=operator.options["axis"])]


def pack(w: Writing, operator: Operator, read: Read) -> list[str]:
    """PACK: operands along a new axis."""
    axis = operator.options["axis"]
    where = w.constant(np.array([axis], np.int64))
    names = [w.do("Unsqueeze", [read(place), where]) for place in range(len(operator.inputs))]
    return [w.do("Concat", names, axis=axis)]


def unpack(w: Writing, operator: Operator, read: Read) -> list[str]:
    """UNPACK: the places of an axis, each without it."""
    axis, x = operator.options["axis"], read(0)
    places = range(len(operator.outputs))
    return [w.do("Gather", [x, w.constant(np.int64(place))], axis=axis) for place in places]


def cut(
    w: Writing, x: str, starts: list[int], ends: list[int], axes: list[int], steps: list[int]
) -> str:
    """A part of a value, from the starts to the ends along some axes."""
    given = [w.constant(np.array(values, np.int64)) for values in (starts, ends, axes, steps)]
    return w.do("Slice", [x, *given])


def slice_(w: Writing, operator: Operator, read: Read) -> list[str]:
    """SLICE: begins and sizes; a size of -1 goes to the end."""
    begins, sizes = w.ints(operator, 1), w.ints(operator, 2)
    if len(begins) != len(sizes) or min(begins, default=0) < 0:
        raise CheckpointError(f"a SLICE begins at {begins} and has the sizes {sizes}")
    ends = [END if size < 0 else begin + size for begin, size in zip(begins, sizes, strict=True)]
    axes = list(range(len(begins)))
    return [cut(w, read(0), list(begins), ends, axes, [1] * len(axes))]


def strided_slice(w: Writing, operator: Operator, read: Read) -> list[str]:
    """STRIDED_SLICE as Python slices: bits say what is left out, added or dropped."""
    begins, ends, steps = (w.ints(operator, place) for place in (1, 2, 3))
    options, rank = operator.options, w.rank(operator)
    if not len(begins) == len(ends) == len(steps) or 0 in steps:
        raise CheckpointError(f"a STRIDED_SLICE goes from {begins} to {ends} by {steps}")
    bits = [
        {name: options[name] >> place & 1 for name in ("begin", "end", "ellipsis", "new", "shrink")}
        for place in range(len(begins))
    ]
    used = sum(not (bit["new"] or bit["ellipsis"]) for bit in bits)
    found: list[tuple[int, int, int, int]] = []
    new, gone, axis, out = [], [], 0, 0
    for bit, begin, end, step in zip(bits, begins, ends, steps, strict=True):
        if bit["ellipsis"]:
            axis, out = axis + rank - used, out + rank - used
            continue
        if bit["new"]:
            new.append(out)
            out += 1
            continue
        end = begin + end if options["offset"] else end
        if bit["shrink"]:
            found.append((begin, END if begin == -1 else begin + 1, axis, 1))
            gone.append(axis)
        else:
            first = (0 if step > 0 else END) if bit["begin"] else begin
            last = (END if step > 0 else -END) if bit["end"] else end
            found.append((first, last, axis, step))
            out += 1
        axis += 1
    x = read(0)
    if found:
        starts, stops, axes, strides = (list(values) for values in zip(*found, strict=True))
        x = cut(w, x, starts, stops, axes, strides)
    if gone:
        x = w.do("Squeeze", [x, w.constant(np.array(gone, np.int64))])
    if new:
        x = w.do("Unsqueeze", [x, w.constant(np.array(new, np.int64))])
    return [x]


def reverse(w: Writing, operator: Operator, read: Read) -> list[str]:
    """REVERSE_V2."""
    axes = list(w.ints(operator, 1))
    count = len(axes)
    return [cut(w, read(0), [END] * count, [-END] * count, axes, [-1] * count)]


def pad(w: Writing, operator: Operator, read: Read) -> list[str]:
    """PAD with zeros, which whole numbers have as their zero point; PADV2 with a number."""
    pads = w.ints(operator, 1)
    pads = w.constant(np.array([*pads[::2], *pads[1::2]], np.int64))  # type: ignore[assignment]
    if operator.op == "MIRROR_PAD":
        if operator.options["mode"]:
            raise CheckpointError("a MIRROR_PAD repeats the edge; only reflection is supported")
        return [w.do("Pad", [read(0), pads], mode="reflect")]  # type: ignore[list-item]
    x, value = read(0), ""
    tensor = w.tensor(operator, 0)
    if operator.op == "PADV2":
        value = read(2)
    elif tensor.steps is not None and tensor.dtype != FINE and x == w.operand(operator, 0):
        value = w.constant(tensor.steps.zero_point.astype(tensor.dtype).reshape(-1)[:1])
    return [w.do("Pad", [x, pads, value] if value else [x, pads])]  # type: ignore[list-item]


def split(w: Writing, operator: Operator, read: Read) -> list[str]:
    """SPLIT into equal parts, SPLIT_V into parts of given sizes."""
    first = operator.op == "SPLIT"
    (axis,) = w.ints(operator, 0 if first else 2)
    x, count = read(int(first)), len(operator.outputs)
    shape = w.tensor(operator, int(first)).shape
    if not -len(shape) <= axis < len(shape):
        raise CheckpointError(f"a {operator.op} is along the axis {axis} of {shape}")
    sizes = [shape[axis] // count] * count if first else list(w.ints(operator, 1))
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = shape[axis] - sum(sizes) - 1
    if len(sizes) != count or sum(sizes) != shape[axis]:
        raise CheckpointError(f"a {operator.op} of {shape[axis]} makes {count} parts of {sizes}")
    starts = [sum(sizes[:place]) for place in range(count)]
    return [
        cut(w, x, [start], [start + size], [axis], [1])
        for start, size in zip(starts, sizes, strict=True)
    ]


def gather(w: Writing, operator: Operator, read: Read) -> list[str]:
    """GATHER along one axis."""
    if operator.options["batch"]:
        raise CheckpointError("a GATHER has batch dimensions, which are not supported")
    return [w.do("Gather", [read(0), w.operand(operator, 1)], axis=operator.options["axis"])]


def cast(w: Writing, operator: Operator, read: Read) -> list[str]:
    """CAST to the type of the result."""
    kind = operator.options["to"]
    if kind not in ONNX_TYPES:
        raise CheckpointError(f"a CAST to the type {type_name(kind)} is not supported")
    return [w.do("Cast", [read(0)], to=ONNX_TYPES[kind])]


def scatter(w: Writing, operator: Operator, read: Read) -> list[str]:
    """SCATTER_ND of updates into zeros of a shape."""
    zeros = w.do("Expand", [w.constant(np.float32(0)), w.operand(operator, 2)])
    return [w.do("ScatterND", [zeros, w.operand(operator, 0), read(1)])]


def _plain(op: str, places: tuple[int, ...] = (0,)) -> Move:
    """An op that ONNX has in the same form; ``places`` hold elements, other operands do not."""

    def move(w: Writing, operator: Operator, read: Read) -> list[str]:
        names = [
            read(place) if place in places else w.operand(operator, place)
            for place in range(len(operator.inputs))
        ]
        return [w.do(op, names)]

    return move


MOVES: Mapping[str, tuple[Move, tuple[int, ...]]] = {
    "RESHAPE": (reshape, (0,)),
    "SQUEEZE": (squeeze, (0,)),
    "EXPAND_DIMS": (expand_dims, (0,)),
    "TRANSPOSE": (transpose, (0,)),
    "CONCATENATION": (concatenation, ()),
    "PACK": (pack, ()),
    "UNPACK": (unpack, (0,)),
    "SLICE": (slice_, (0,)),
    "STRIDED_SLICE": (strided_slice, (0,)),
    "REVERSE_V2": (reverse, (0,)),
    "PAD": (pad, (0,)),
    "PADV2": (pad, (0, 2)),
    "MIRROR_PAD": (pad, (0,)),
    "SPLIT": (split, (1,)),
    "SPLIT_V": (split, (0,)),
    "GATHER": (gather, (0,)),
    "GATHER_ND": (_plain("GatherND"), (0,)),
    "SCATTER_ND": (scatter, (1,)),
    "TILE": (_plain("Tile"), (0,)),
    "BROADCAST_TO": (_plain("Expand"), (0,)),
    "SELECT": (_plain("Where", (1, 2)), (1, 2)),
    "SELECT_V2": (_plain("Where", (1, 2)), (1, 2)),
    "FILL": (lambda w, o, read: [w.do("Expand", [read(1), w.operand(o, 0)])], (1,)),
    "ZEROS_LIKE": (lambda w, o, read: [w.do("Sub", [read(0), read(0)])], (0,)),
    "CAST": (cast, (0,)),
    "SHAPE": (_plain("Shape", ()), ()),
    "RANGE": (_plain("Range", ()), ()),
}
"""The ops that move elements, and which operands hold them (none named: all)."""
