"""What acts in time, in ONNX: a shift over clips, and the frames that a step keeps."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from tsm_ref.checkpoint.onnx_out.writer import Writer
from tsm_ref.graph import Node, ValueType
from tsm_ref.passes.streaming import NEVER, State

LAST = 2**31 - 1


def temporal_shift(writer: Writer, node: Node, kind: ValueType) -> None:
    """Lengthen the clip at both ends by what the fill says, and cut every fold out late.

    The clip is (N, T, C, H, W); a fold that is shifted by d starts d frames early.
    """
    (x,) = node.inputs
    fill, segment = (node.attr(name) for name in ("fill", "segment"))
    frames = segment or writer.frames(x)
    d = [within(v, frames, fill) for v in node.attrs["d"]]
    reach = max(abs(v) for v in d)
    clip = writer.clips(x, writer.rows[x], frames)
    longer = _lengthened(writer, node, clip, (frames, reach), fill, kind)
    parts = []
    for start, stop, shift in _folds(d):
        first = reach - shift
        box = [writer.ints(first, start), writer.ints(first + frames, stop), writer.ints(1, 2)]
        parts.append(writer.step("Slice", [longer, *box], node.name))
    joined = writer.step("Concat", parts, node.name, axis=2)
    target = writer.ints(-1, *writer.row_shape(x))
    writer.rows[node.name] = writer.node("Reshape", [joined, target], writer.row_name(node.name))


def within(d: int, size: int, fill: str) -> int:
    """A shift by more than an axis is long is one by its length; a circular one goes round."""
    if fill == "circular":
        return (abs(d) % size) * (1 if d > 0 else -1)
    return max(-size, min(size, d))


def _lengthened(
    writer: Writer, node: Node, clip: str, size: tuple[int, int], fill: str, kind: ValueType
) -> str:
    """A clip of so many frames with `reach` more at either end."""
    frames, reach = size
    if not reach:
        return clip
    if fill == "circular":
        axis = writer.ints(1)
        tail = [clip, writer.ints(frames - reach), writer.ints(LAST), axis]
        head = [clip, writer.ints(0), writer.ints(reach), axis]
        ends = [writer.step("Slice", part, node.name) for part in (tail, head)]
        return writer.step("Concat", [ends[0], clip, ends[1]], node.name, axis=1)
    rank = len(writer.shapes[node.inputs[0]])
    ends_of = [0, reach, *[0] * (rank - 2)]
    mode = "constant" if fill == "zero" else "edge"
    inputs = [clip, writer.ints(*ends_of, *ends_of)]
    if kind.quantised and fill == "zero":
        zero = np.array(kind.zero_point, kind.dtype)
        inputs.append(writer.tensor(f"{kind.dtype} {zero}", zero))
    return writer.step("Pad", inputs, node.name, mode=mode)


def _folds(d: Iterable[Any]) -> list[tuple[int, int, Any]]:
    """(start, stop, d) of every fold: channels in a row that are shifted alike.

    >>> _folds((1, 1, 0))
    [(0, 2, 1), (2, 3, 0)]
    """
    found, start = [], 0
    for shift, run in groupby(d):
        stop = start + len(list(run))
        found.append((start, stop, shift))
        start = stop
    return found


@dataclass
class Validity:
    """Which of the ticks that a step remembers had a frame; what is made of the others is zero.

    A network that looks ahead answers late: at its first ticks it makes values of frames before the
    clip, at its last ones of frames behind it. Both count as the fill, zero, for whoever reads
    them. ``line`` is the tensor (N, depth + 1) of the ticks, this one last; a value is made
    ``delays`` ticks after the frame that it belongs to.
    """

    line: str
    depth: int
    delays: Mapping[str, int]
    made: dict[str, str] = field(default_factory=dict)

    def masked(self, writer: Writer, x: str, node: Node) -> str:
        """A value in the layout of our graph, zero where its frame does not exist."""
        if x not in self.made:
            at = self.depth - self.delays[x]
            box = [writer.ints(at), writer.ints(at + 1), writer.ints(1)]
            tick = writer.step("Slice", [self.line, *box], node.name)
            shape = writer.ints(-1, *[1] * (len(writer.shapes[x]) - 1))
            tick = writer.step("Reshape", [tick, shape], node.name)
            self.made[x] = writer.step("Mul", [writer.natural(x), tick], node.name)
        return self.made[x]


def history(
    writer: Writer,
    node: Node,
    states: Mapping[str, State],
    kept: dict[str, str],
    validity: Validity | None = None,
) -> None:
    """The frames that a node reads of a value: those of the state, then the one that has come.

    A channel that reads d frames late gets the frames t - d - before, ..., t - d. What the next
    step needs goes into `kept`, by the name of the state.
    """
    (x,) = node.inputs
    channels = writer.shapes[x][1]
    lags = node.attrs["d"] if len(node.attrs["d"]) > 1 else node.attrs["d"] * channels
    before = node.attr("before")
    depths: list[tuple[int, str]] = [(0, "")] * channels
    for name, state in states.items():
        if state.value == x:
            for channel in range(state.start, state.stop or channels):
                depths[channel] = (state.depth, name)
    parts = []
    for start, stop, (lag, (depth, state_name)) in _folds(zip(lags, depths, strict=True)):
        now = writer.natural(x) if validity is None else validity.masked(writer, x, node)
        if lag == NEVER:
            parts.append(_nothing(writer, node, now, start, stop, before + 1))
            continue
        part = [start, stop, state_name]
        frames = _frames_of(writer, node, now, x, part, states, kept)
        first = depth - lag - before
        box = [writer.ints(v) for v in (first, first + before + 1, 2)]
        whole = first == 0 and before == depth
        parts.append(frames if whole else writer.step("Slice", [frames, *box], node.name))
    joined = parts[0] if len(parts) == 1 else writer.step("Concat", parts, node.name, axis=1)
    writer.from_natural(node.name, joined)


def _nothing(writer: Writer, node: Node, now: str, start: int, stop: int, frames: int) -> str:
    """Channels that are zero at all times."""
    box = [writer.ints(start), writer.ints(stop), writer.ints(1)]
    part = writer.step("Slice", [now, *box], node.name)
    zero = writer.tensor("float 0.0", np.array(0.0, np.float32))
    part = writer.step("Mul", [part, zero], node.name)
    return part if frames == 1 else writer.step("Concat", [part] * frames, node.name, axis=2)


def _frames_of(
    writer: Writer,
    node: Node,
    now: str,
    x: str,
    part: list[Any],
    states: Mapping[str, State],
    kept: dict[str, str],
) -> str:
    """The kept frames of some channels and the one that has come, (N, channels, frames, ...)."""
    start, stop, name = part
    if name:
        state = states[name]
        whole = (state.start, state.stop or writer.shapes[x][1])
        key = f"{name}/frames"
        if key not in kept:
            box = [writer.ints(whole[0]), writer.ints(whole[1]), writer.ints(1)]
            fresh = writer.step("Slice", [now, *box], node.name)
            old = name
            if state.depth == 1:
                old = writer.step("Unsqueeze", [name, writer.ints(2)], node.name)
            kept[key] = writer.step("Concat", [old, fresh], node.name, axis=2)
            last = [kept[key], writer.ints(1), writer.ints(LAST), writer.ints(2)]
            kept[name] = writer.step("Slice", last, node.name)
            if state.depth == 1:
                kept[name] = writer.step("Squeeze", [kept[name], writer.ints(2)], node.name)
        now, start, stop = kept[key], start - whole[0], stop - whole[0]
        if (start, stop) == (0, whole[1] - whole[0]):
            return now
    box = [writer.ints(start), writer.ints(stop), writer.ints(1)]
    return writer.step("Slice", [now, *box], node.name)
