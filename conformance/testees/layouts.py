"""Clips in the order of axes that a testee declares, and its answers back in ours.

A declared layout holds for every operation:

==========  =================  ======================  ====================================
layout      a clip             logits, pooled values   what has no axis of time
==========  =================  ======================  ====================================
NCTHW       (N, C, T, H, W)    (N, K, T)
NTCHW       (N, T, C, H, W)    (N, T, K)
NTHWC       (N, T, H, W, C)    (N, T, K)
(NT)CHW     (N T, C, H, W)     (N T, K)                kernels (O, I, H, W); strides, paddings
(NT)HWC     (N T, H, W, C)     (N T, K)                and windows are two numbers, (H, W)
==========  =================  ======================  ====================================

Merged layouts are told ``segments`` (T). Weights keep their order, (O, I, T, H, W) for a single
convolution and PyTorch's for networks; pictures are (H, W, 3) and their clips (T, H, W, 3) in any
layout. Streams take chunks in the layout, and merged ones are told ``batch`` (N) when they are
opened. An operation that mixes frames by itself (a temporal kernel) cannot be put to a testee whose
clips have no axis of time, and is unsupported there.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.questions.arrays import Array, from_layout, to_layout
from conformance.questions.case import Call
from conformance.testees.base import Outputs, Reply

BOXES = ("decode_boxes", "nms", "ps_roi_pool")
PIXELS = ("sample_frames", "resize", "crop", "recognize", "shifted_blocks", *BOXES)
"""The operations without a clip."""
WINDOWED = {
    "conv": ("weight",),
    "qlinear_conv": ("weight",),
    **dict.fromkeys(("max_pool", "avg_pool"), ()),
    **dict.fromkeys(("qlinear_average_pool", "litert_average_pool"), ()),
}
"""The operations with a window, and their inputs that have its shape."""
WHOLE = {"kernel": 1, "stride": 1, "padding": 0, "dilation": 1}
"""The attributes of a window, with the value along time that leaves frames alone."""
WEIGHTS = (
    *("weight", "bias", "mean", "variance", "scale", "shift"),
    *("weight_scale", "zero_point"),
)
PER_CLIP = ("network", "consensus")
"""The operations whose answer has no axis of time."""
WITH_FRAMES = ("rfcn",)
"""The networks whose answer is a clip."""


class NoAxisOfTime(Exception):
    """The layout cannot say what the call asks."""


def in_layout(call: Call, layout: str) -> Call:
    """The call as a testee of this layout wants it; raises `NoAxisOfTime`.

    >>> x = np.zeros((2, 3, 4, 5, 6), np.float32)
    >>> moved = in_layout(Call("relu", {"x": x}), "(NT)HWC")
    >>> moved.inputs["x"].shape, moved.attributes
    ((8, 5, 6, 3), {'segments': 4})
    """
    if layout == "NCTHW" or call.operation in (*PIXELS, "stream", "normalize", "preprocess"):
        return call
    merged = layout.startswith("(NT)")
    if merged and call.operation in WINDOWED:
        call = _frame_wise(call, layout)
    inputs = {name: _moved(name, x, layout) for name, x in call.inputs.items()}
    attributes = dict(call.attributes)
    if call.operation == "softmax":
        attributes["axis"] = _axis(attributes["axis"], next(iter(call.inputs.values())), layout)
    told: Mapping[str, Any] = {}
    first = next(iter(call.inputs.values()))
    if merged and first.ndim > 2:
        told = {"segments": first.shape[2]}
    defaults = {**call.defaults, **told}
    if call.operation == "softmax" and call.attributes["axis"] == call.defaults.get("axis"):
        defaults["axis"] = attributes["axis"]
    return replace(call, inputs=inputs, attributes={**attributes, **told}, defaults=defaults)


def from_testee(call: Call, reply: Reply, layout: str) -> Reply:
    """The reply to `call` (as it was before `in_layout`) with clips as (N, C, T, H, W)."""
    has_frames = call.attributes.get("architecture") in WITH_FRAMES
    leaves = () if has_frames else (*PIXELS, *PER_CLIP, "stream")
    if layout == "NCTHW" or call.operation in leaves or not isinstance(reply, Outputs):
        return reply
    if call.attributes.get("architecture") == "ts_can":
        return reply
    pixels = call.operation in ("normalize", "preprocess")
    first = next(iter(call.inputs.values()))
    clips = 1 if pixels else len(first)
    if not clips:
        reply = _without_clips(reply, layout, first.shape[2])
    return Outputs(
        {
            name: back(y, layout, clips) if isinstance(y, np.ndarray) else y
            for name, y in reply.values.items()
        }
    )


def _without_clips(reply: Outputs, layout: str, frames: int) -> Outputs:
    """An answer without clips, unmerged: the frames of none cannot be counted."""
    if not layout.startswith("(NT)"):
        return reply
    return Outputs(
        {
            name: y.reshape(0, frames, *y.shape[1:]) if np.size(y) == 0 else y
            for name, y in reply.values.items()
        }
    )


def back(y: Array, layout: str, clips: int) -> Array:
    """An answer in a layout as ours; a shape that the layout cannot have stays as it is.

    >>> back(np.zeros((8, 7)), "(NT)CHW", clips=2).shape
    (2, 7, 4)
    """
    if layout == "NCTHW":
        return y
    if layout.startswith("(NT)") and y.ndim == 2 and clips and not y.shape[0] % clips:
        y = y.reshape(clips, y.shape[0] // clips, y.shape[1])
    if y.ndim == 3:
        return y.swapaxes(1, 2)
    if y.ndim == 4 and not layout.startswith("(NT)"):
        y = y[None]  # a single clip without its axis
    if y.ndim == 5 and layout.startswith("(NT)"):
        layout = layout.replace("(NT)", "NT")
    return from_layout(y, layout, clips)


def _moved(name: str, x: Array, layout: str) -> Array:
    if name.startswith("weights/") or name in WEIGHTS:
        return x
    if x.ndim == 5:
        return to_layout(x, layout)
    if x.ndim == 3:
        turned = np.ascontiguousarray(x.swapaxes(1, 2))
        merged = (turned.shape[0] * turned.shape[1], turned.shape[2])
        return turned.reshape(merged) if layout.startswith("(NT)") else turned
    return x


def _axis(axis: int, x: Array, layout: str) -> int:
    """Where an axis of ours is in the layout."""
    axis %= x.ndim
    if layout.startswith("(NT)"):
        if axis == 2 or (axis == 0 and x.shape[2] > 1):
            raise NoAxisOfTime(f"the layout {layout} has no axis of its own for T")
        ours: tuple[int, ...] = (
            (0, 1) if x.ndim == 3 else (0, 1, 3, 4) if layout == "(NT)CHW" else (0, 3, 4, 1)
        )
    else:
        five = {"NTCHW": (0, 2, 1, 3, 4), "NTHWC": (0, 2, 3, 4, 1)}[layout]
        ours = (0, 2, 1) if x.ndim == 3 else five
    return ours.index(axis)


def _frame_wise(call: Call, layout: str) -> Call:
    """A windowed call without its axis of time, if it leaves frames alone."""
    weights = {name: call.inputs[name] for name in WINDOWED[call.operation] if name in call.inputs}
    attributes = dict(call.attributes)
    mixes = any(w.shape[2] != 1 for w in weights.values())
    for name, neutral in WHOLE.items():
        value = attributes.get(name, neutral)
        if isinstance(value, (list, tuple)) and len(value) == 3:
            mixes = mixes or value[0] != neutral
            attributes[name] = list(value[1:])
    if mixes:
        raise NoAxisOfTime(f"the layout {layout} has no axis of time for a window over frames")
    flat = {name: w[:, :, 0] for name, w in weights.items()}
    return replace(call, inputs={**call.inputs, **flat}, attributes=attributes)
