"""What quantised layers are planned with: where they read, and the work that comes of it.

A layer reads in place, or in a copy with the zero point around every frame.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.on_numpy.frames import ShiftedFrames, folds
from tsm_ref.graph import Graph, Node
from tsm_ref.kernels.integer import pack
from tsm_ref.kernels.integer.units import UNIT, Unit
from tsm_ref.reference import quantised

__all__ = ["Kernel", "Maker", "Packer", "Source", "Work", "ends", "entry", "flip_of", "less_zero"]

Array = NDArray[Any]
Packed = TypeVar("Packed")
Kernel = Callable[[int, int], None]
"""Compiled code for pieces ``first .. last - 1``: a `partial` of a kernel and its arguments."""

_MULTIPLE = 4
"""What the sides of a copy may be rounded up to a multiple of."""
_SLACK = 256
"""Bytes behind a copy that may be read."""


class Work(NamedTuple):
    """A node, ready to run: ``kernel(first, last)`` for all its pieces, after `before`."""

    kernel: Kernel
    pieces: int
    before: "Work | None" = None
    keeps: object = None  # whose memory the kernel reads by its address
    unit: str = ""  # what multiplies


class Packer(Protocol):
    """The engine that a layer is planned for."""

    crew: Any

    @property
    def room(self) -> Array | None:
        """Memory for a copy of what a layer reads, if it needs one."""

    def packed(self, node: Node, form: str, make: Callable[[], Packed]) -> Packed:
        """The weights of a node as its kernel reads them: made once for all plans."""


Maker = Callable[[Packer, Node, Sequence[Array], Array], Work | None]
"""Plans a node: (engine, node, operands, result) -> its work, or None where there is no kernel."""


def flip_of(x: Array, signed: bool = False) -> int:
    """What turns a byte into a number without a sign, by exclusive or; it adds as much.

    Or into one that is `signed`: then it takes as much away.
    """
    return 128 if (x.dtype == np.int8) != signed else 0


def less_zero(bias: Array, matrix: Array, zero: int) -> Array:
    """The bias of sums over inputs from which their zero point is not taken."""
    sums = matrix.astype(np.int64).sum(axis=1)
    return np.asarray(bias.astype(np.int64) - zero * sums).astype(np.int32)


def ends(node: Node) -> dict[str, Any]:
    """The zero point of the result, and its ends before that is added: fields of a layer."""
    dtype = node.attr("dtype")
    if dtype == "float32":
        return {"zero": 0, "low": np.float32(0), "high": np.float32(0)}
    least, most = quantised.limits(dtype)
    zero, low, high = (node.attrs.get(n, v) for n, v in
                       (("y_zero_point", 0), ("low", -128), ("high", 255)))  # fmt: skip
    return {
        "zero": zero,
        "low": np.float32(max(low, least) - zero),
        "high": np.float32(min(high, most) - zero),
    }


def room_of(node: Node, x: Sequence[int], dtype: np.dtype[Any]) -> int:
    """Bytes for the copy of an input (C, T, H, W) that `Source` makes for a convolution, at most.

    >>> attrs = {"pads": (0, 1, 1, 0, 1, 1)}
    >>> room_of(Node("y", "QLinearConv", ("x",), attrs), (2, 1, 4, 4), np.dtype("int8")) - 256
    162
    """
    pads, (channels, frames, height, width) = node.attr("pads"), x
    if not any(pads) or node.attr("group") == channels > 1:
        return 0
    rows, columns = (
        length + pads[axis] + pads[axis + 3] + _MULTIPLE - 1
        for axis, length in ((1, height), (2, width))
    )
    return int(channels * frames * rows * columns * dtype.itemsize + _SLACK)


def entry(graph: Graph) -> Node | None:
    """The node that quantises the only input, if it comes first and nothing else reads that."""
    inputs = tuple(entry.name for entry in graph.inputs)
    for node in graph.nodes[:1]:
        alone = len(inputs) == 1 and graph.consumers[inputs[0]] == (node,)
        if node.op == "QuantizeLinear" and node.inputs == inputs and alone:
            return node if inputs[0] not in graph.outputs else None
    return None


class Source:
    """Where a layer reads its input: in place, or in a copy with the zero point around it.

    `unit` is what it is packed for, `slack` are the bytes behind it that may be read. A copy is
    made in `room`, if that is large enough; see `room_of`.
    """

    def __init__(
        self, node: Node, x: Array, kernel: Sequence[int], flat: bool, multiple: int = 1,
        unit: Unit = UNIT, slack: int = pack.SLACK, room: Array | None = None,
    ) -> None:  # fmt: skip
        self._node, self._x, self._kernel, self._unit = node, x, tuple(kernel), unit
        zero_point = node.attrs.get("x_zero_point", 0)
        self._zero_byte = zero_point & 255
        self.flip = flip_of(x, unit.signed)
        self.zero = zero_point + (-self.flip if unit.signed else self.flip)
        channels, frames, height, width = x.shape
        pads = node.attr("pads")
        self._padded: Array | None = None
        if not flat:
            more = (-height % multiple, -width % multiple)
            self._sides = (pads[1], pads[2], pads[4] + more[0], pads[5] + more[1])
            above, left, below, right = self._sides
            shape = (channels, frames, above + height + below, left + width + right)
            size = int(np.prod(shape)) * x.itemsize
            if room is None or len(room) < size + slack:
                room = np.zeros(size + slack, np.uint8)
            self._padded = room[:size].view(x.dtype).reshape(shape)
        self.values = x if self._padded is None else self._padded
        self.row_bytes = self.values.shape[3] * x.itemsize
        plane = self.values.shape[2] * self.row_bytes
        self._nothing = np.full(plane + slack, self._zero_byte, np.uint8)

    def fill(self) -> Work | None:
        """What copies the input into the padding, where there is one."""
        if self._padded is None:
            return None
        channels, frames, height, width = self._x.shape
        item = self._x.itemsize
        above, left, below, right = self._sides
        where = (self._x.ctypes.data, channels * frames, height, width * item)
        sides = (above, left * item, below, right * item)
        to = self._padded.ctypes.data
        run = partial(pack.pad_planes, *where, to, sides, self._zero_byte)
        return Work(run, channels * frames, keeps=self)

    def frames(self) -> NDArray[np.int64]:
        """The frame that every channel reads at every time, or -1: (channels, time)."""
        d, fill, segment, pads = (self._node.attr(n) for n in ("d", "fill", "segment", "pads"))
        channels, frames = self._x.shape[:2]
        shifted = ShiftedFrames(self._x, d, fill, segment)
        time = range(-pads[0], frames + pads[3])
        found = np.empty((channels, len(time)), np.int64)
        for fold in folds(d * channels if len(d) == 1 else d, channels):
            found[fold.start : fold.stop] = [shifted.source(t, fold.d) for t in time]
        return found

    def addresses(self) -> NDArray[np.int64]:
        """The address of every frame that is read: (channels + 1, time)."""
        frames, steps = self.frames(), self.values.strides
        own = self.values.ctypes.data + np.arange(len(frames))[:, None] * steps[0]
        nothing = self._nothing.ctypes.data
        found = np.where(frames < 0, nothing, own + frames * steps[1])
        return np.vstack([found, np.full((1, found.shape[1]), nothing)])

    def inputs(self, width: int) -> NDArray[np.int64]:
        """The channel and the tap of every k, in the order of the weights."""
        dt, dh, dw = self._node.attr("dilations")
        found = [
            (channel, t * dt, row * dh * self.row_bytes + column * dw * self._x.itemsize)
            for channel in range(width)
            for t in range(self._kernel[0])
            for row in range(self._kernel[1])
            for column in range(self._kernel[2])
        ]
        count, size = self._unit.chunks(len(found))
        found += [(-1, 0, 0)] * (count * size * self._unit.group - len(found))
        return np.array(found, np.int64)

    def places(self, frames: int, groups: int, width: int) -> NDArray[np.int64]:
        """The address of every k at frames of the outputs: (groups, frames, k).

        A group reads `width` channels; what a run begins with is still to be added.
        """
        addresses, (channel, time, offset) = self.addresses(), self.inputs(width).T
        times = np.arange(frames)[:, None] * self._node.attr("strides")[0] + time
        first = np.arange(groups)[:, None, None] * width
        found = addresses[np.where(channel < 0, -1, channel + first), times] + offset
        return np.asarray(found, np.int64)
