"""ONNX convolutions and pools, which slide a window over some axes, as nodes of our graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tsm_ref.checkpoint.onnx_in.budget import NotUnderstood
from tsm_ref.checkpoint.onnx_in.guard import OnnxNode
from tsm_ref.checkpoint.onnx_in.reading import Array, Reading, Value
from tsm_ref.checkpoint.onnx_in.values import View

PLACES = "THW"


@dataclass(frozen=True)
class Window:
    """A window over the axes T, H and W, and the layout in which its results come out."""

    view: View
    letters: tuple[str, ...]
    kernel: tuple[int, int, int]
    strides: tuple[int, int, int]
    pads: tuple[int, ...]
    dilations: tuple[int, int, int]


def window(view: View, node: OnnxNode, kernel: Sequence[int]) -> Window:
    """The window of a node, in the letters of the axes over which it slides.

    Raises `NotUnderstood` where the second axis of the file is not C, or a window slides along
    two axes of ours that the file has folded into one.
    """
    rank = len(view.groups) - 2
    if rank < 1 or len(kernel) != rank or view.letters(1) not in (("C",), ()):
        raise NotUnderstood(
            f"the node {node} reads the layout {_paper(view)}, which is not N, C, ..."
        )
    strides = list(node.attrs.get("strides") or [1] * rank)
    dilations = list(node.attrs.get("dilations") or [1] * rank)
    if min(*strides, *dilations, *kernel) < 1:
        raise NotUnderstood(f"the node {node} has a stride, dilation or kernel size below 1")
    pads = _pads(node, view.shape[2:], kernel, strides, dilations)
    letters: list[str] = []
    groups = list(view.groups)
    for axis in range(rank - 1, -1, -1):
        found = view.letters(axis + 2)
        still = kernel[axis] == strides[axis] == 1 and not pads[axis] and not pads[axis + rank]
        if len(found) > 1 and not still:
            raise NotUnderstood(f"the node {node} slides along {'*'.join(found)}, which is folded")
        letter = "" if len(found) > 1 else _letter(view, axis + 2, found, letters)
        letters.insert(0, letter)
        if letter:
            groups = [tuple(v for v in group if v != letter) for group in groups]
            groups[axis + 2] = (letter,)
    place = {letter: axis for axis, letter in enumerate(letters) if letter}
    if set(place) - set(PLACES):
        raise NotUnderstood(f"the node {node} slides along {', '.join(place)}; not over T, H, W")

    def spread(values: Sequence[int], default: int) -> tuple[int, int, int]:
        t, h, w = (values[place[p]] if p in place else default for p in PLACES)
        return t, h, w

    return Window(
        View(view.base, tuple(groups)),
        tuple(letters),
        spread(kernel, 1),
        spread(strides, 1),
        spread(pads[:rank], 0) + spread(pads[rank:], 0),
        spread(dilations, 1),
    )


def _letter(view: View, axis: int, found: tuple[str, ...], taken: list[str]) -> str:
    """The letter of an axis of the file; one that is free where the axis has size 1."""
    if found:
        return found[0]
    size = view.base.size
    own = [letter for letter in view.groups[axis] if letter in PLACES and letter not in taken]
    free = [p for p in reversed(PLACES) if size.get(p) == 1 and p not in taken]
    return (own or free or [""])[0]


def _pads(
    node: OnnxNode,
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[int]:
    """Begins, then ends; the names of ``auto_pad`` are worked out for these sizes."""
    rank = len(kernel)
    auto = node.attrs.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        pads = list(node.attrs.get("pads") or [0] * 2 * rank)
        if len(pads) != 2 * rank or min(pads) < 0:
            raise NotUnderstood(f"the node {node} has the pads {pads}; none may be negative")
        return pads
    begins, ends = [], []
    for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
        total = 0 if auto == "VALID" else total
        less, more = total // 2, total - total // 2
        begins.append(more if auto == "SAME_LOWER" else less)
        ends.append(less if auto == "SAME_LOWER" else more)
    return begins + ends


def conv(reading: Reading, node: OnnxNode) -> list[Value]:
    """Conv; one that only copies a frame per channel is the shift that it is."""
    view = reading.data(node, 0)
    weight, bias = reading.constant(node, 1), reading.constant(node, 2)
    if weight is None or weight.ndim < 3:
        raise NotUnderstood(f"the node {node} has no weight of 3 axes or more")
    w = window(view, node, weight.shape[2:])
    group = int(node.attrs.get("group", 1))
    kernel = _spread_weight(weight, w)
    d = _copied_frames(kernel, bias, w, group)
    if d is not None:
        base = reading.emit(
            "TemporalShift", node.outputs[0], [view.base.name], d=d, fill="zero", segment=0
        )
        return [View(base, w.view.groups)]
    inputs = [view.base.name, reading.parameter(node.inputs[1], kernel)]
    if bias is not None:
        inputs.append(reading.parameter(node.inputs[2], bias))
    attrs: dict[str, Any] = {"strides": w.strides, "pads": w.pads, "group": group}
    if w.dilations != (1, 1, 1):
        attrs["dilations"] = w.dilations
    return [View(reading.emit("Conv", node.outputs[0], inputs, **attrs), w.view.groups)]


def _spread_weight(weight: Array, w: Window) -> Array:
    """A weight as (Cout, Cin/group, kT, kH, kW)."""
    order = sorted(range(len(w.letters)), key=lambda i: PLACES.find(w.letters[i]))
    turned = weight.transpose(0, 1, *(axis + 2 for axis in order))
    return turned.reshape(*weight.shape[:2], *w.kernel)


def _copied_frames(
    kernel: Array, bias: Array | None, w: Window, group: int
) -> tuple[int, ...] | None:
    """The shift of a depthwise temporal convolution whose kernels are one-hot; else None."""
    channels, frames = w.view.base.shape[1], kernel.shape[2]
    plain = group == channels == kernel.shape[0] and kernel.shape[1:] == (1, frames, 1, 1)
    same = sum(w.pads[::3]) == w.dilations[0] * (frames - 1) and not any(w.pads[1:3] + w.pads[4:])
    if not plain or frames == 1 or not same or w.strides != (1, 1, 1):
        return None
    taps = kernel.reshape(channels, frames)
    one_hot = ((taps == 1).sum(1) == 1) & ((taps != 0).sum(1) == 1)
    if not one_hot.all() or (bias is not None and np.any(bias)):
        return None
    return tuple(w.pads[0] - int(tap) * w.dilations[0] for tap in taps.argmax(1))


def max_pool(reading: Reading, node: OnnxNode) -> list[Value]:
    """MaxPool without its optional second output."""
    if len(node.outputs) > 1 and node.outputs[1]:
        raise NotUnderstood(f"the node {node} asks for the places of the maxima")
    w = window(reading.data(node, 0), node, node.attrs["kernel_shape"])
    extra = {} if w.dilations == (1, 1, 1) else {"dilations": w.dilations}
    return _pool(reading, node, "MaxPool", w, extra)


def average_pool(reading: Reading, node: OnnxNode) -> list[Value]:
    """AveragePool."""
    w = window(reading.data(node, 0), node, node.attrs["kernel_shape"])
    if w.dilations != (1, 1, 1):
        raise NotUnderstood(f"the node {node} has dilations, which no average pool here has")
    counted = {"count_include_pad": True} if node.attrs.get("count_include_pad") else {}
    return _pool(reading, node, "AveragePool", w, counted)


def _pool(
    reading: Reading, node: OnnxNode, op: str, w: Window, extra: dict[str, Any]
) -> list[Value]:
    attrs = {"kernel_shape": w.kernel, "strides": w.strides, "pads": w.pads, **extra}
    if node.attrs.get("ceil_mode"):
        attrs["ceil_mode"] = True
    if not any(w.pads):
        del attrs["pads"]
    return [View(reading.emit(op, node.outputs[0], [w.view.base.name], **attrs), w.view.groups)]


def _paper(view: View) -> str:
    return f"({', '.join('*'.join(group) or '1' for group in view.groups)})"
