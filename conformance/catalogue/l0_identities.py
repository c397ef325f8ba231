"""Identities of the shift that hypothesis explores: true for every clip, so no clip is chosen."""

from typing import Any

import numpy as np

from conformance.questions.case import identity
from conformance.questions.conventions import Conventions
from conformance.questions.dialogue import Dialogue
from conformance.questions.streams import steps
from tsm_ref.reference import (
    shift_into_conv3d_weight,
    temporal_shift,
    temporal_shift_by_convolution,
    temporal_shift_by_multiply_accumulate,
)


def zero_filled(conventions: Any) -> bool:
    """A convolution pads with zeros, so it is the same only as a shift that fills with zeros."""
    return bool(conventions.fill == "zero")


@identity(
    "L0.identity.convolution",
    operation="temporal_shift",
    formula="shift(x) = depthwise temporal convolution with one-hot kernels",
    defect="the shift is no linear map of frames",
    applies=zero_filled,
)
def convolution(a: Dialogue) -> None:
    """A shift is a depthwise temporal convolution whose kernels are one-hot."""
    x = a.clip()
    expected = temporal_shift_by_convolution(x, a.conventions.d(x.shape[1]))
    a.same(a.shift(x), expected, "shift(x) is not the one-hot convolution of x")


@identity(
    "L0.identity.reversal",
    operation="temporal_shift",
    formula="reverse(shift(reverse(x))) = shift of x by -d",
    defect="past and future are not treated alike",
)
def reversal(a: Dialogue) -> None:
    """Reversing time swaps the directions."""
    x = a.clip()
    back = a.shift(np.ascontiguousarray(x[:, :, ::-1]))[:, :, ::-1]
    fill: Any = a.conventions.fill
    expected = temporal_shift(x, -a.conventions.d(x.shape[1]), fill)
    a.same(back, expected, "the reversed shift of the reversed clip is not the shift by -d")


@identity(
    "L0.identity.clips",
    operation="temporal_shift",
    formula="shift([x, y]) = [shift(x), shift(y)]",
    defect="a batch is more than its clips",
)
def clips(a: Dialogue) -> None:
    """A batch of clips gives what each clip gives by itself."""
    x = a.clip()
    single = [a.shift(x[n : n + 1].copy()) for n in range(len(x))]
    a.same(a.shift(x), np.concatenate(single), "a batch differs from its clips")


@identity(
    "L0.identity.channels",
    operation="temporal_shift",
    formula="shift(x[:, p]) = shift(x)[:, p] for permutations p inside a fold",
    defect="channels of one fold are treated differently",
)
def channels(a: Dialogue) -> None:
    """Permuting the channels of a fold before or after the shift is the same."""
    x = a.clip()
    d = a.conventions.d(x.shape[1])
    order = np.arange(len(d))
    for value in (-1, 0, 1):
        fold = np.flatnonzero(d == value)
        order[fold] = fold[::-1]
    a.same(
        a.shift(x[:, order].copy()), a.shift(x)[:, order], "the channels of a fold are not alike"
    )


@identity(
    "L0.identity.adjoint",
    operation="temporal_shift_adjoint",
    formula="<shift(x), y> = <x, adjoint(y)>",
    defect="forward and backward pass do not belong together",
)
def adjoint(a: Dialogue) -> None:
    """The testee's own backward pass is the transpose of its own forward pass."""
    x = a.clip()
    y = a.array(*x.shape)
    div = a.conventions.fold_div
    left = np.vdot(a.shift(x), y)
    right = np.vdot(x, a.ask("temporal_shift_adjoint", {"y": y}, fold_div=div))
    a.same(np.asarray(left), np.asarray(right), "<shift(x), y> and <x, adjoint(y)> differ")


@identity(
    "L1.identity.conv3d",
    operation="conv",
    formula="conv2d(shift(x), w) = conv3d(x, w at temporal tap -d)",
    defect="the shift and a temporal convolution disagree about the sign of time",
    applies=zero_filled,
    needs=("exact",),
)
def conv3d(a: Dialogue) -> None:
    """A frame-wise convolution of a shifted clip is one convolution over time and space."""
    x = a.clip()
    d = a.conventions.d(x.shape[1])
    weight = a.array(3, x.shape[1], 1, 1, 1)
    whole = shift_into_conv3d_weight(weight, d)
    pad = whole.shape[2] // 2
    plain = {"stride": [1, 1, 1], "dilation": [1, 1, 1], "groups": 1}
    two = a.ask("conv", {"x": a.shift(x), "weight": weight}, padding=[0, 0, 0], **plain)
    three = a.ask("conv", {"x": x, "weight": whole}, padding=[pad, 0, 0], **plain)
    a.same(two, three, "conv2d of the shift is not the conv3d")


@identity(
    "L1.identity.three-shifts",
    operation="conv",
    formula="Y = w1 X(-1) + w2 X(0) + w3 X(+1)",
    defect="a temporal convolution does not read the frames that its taps name",
    needs=("exact",),
)
def three_shifts(a: Dialogue) -> None:
    """Any depthwise temporal convolution of three taps is a sum of three weighted shifts."""
    x = a.clip(channels=a.integer(1, 4))
    C = x.shape[1]
    kernel = a.array(C, 3)
    expected = temporal_shift_by_multiply_accumulate(x, kernel)
    where = {"stride": [1, 1, 1], "padding": [1, 0, 0], "dilation": [1, 1, 1], "groups": C}
    y = a.ask("conv", {"x": x, "weight": kernel.reshape(C, 1, 3, 1, 1)}, **where)
    a.same(y, expected, "the convolution is not the sum of three shifts")


@identity(
    "S.identity.chunks",
    operation="stream",
    formula="stream(x) in any chunks = shift(x) of the causal profile",
    defect="results depend on how frames are chunked",
    needs=("streaming",),
    architecture="shift",
)
def chunks(a: Dialogue) -> None:
    """However a clip is cut into chunks, the stream gives the offline causal shift."""
    x = a.clip()
    sizes, left = [], x.shape[2]
    while left:
        sizes.append(a.integer(1, left))
        left -= sizes[-1]
    expected = temporal_shift(x, a.conventions.streaming.d(x.shape[1]))
    attributes = {
        "script": steps(0, 0, sizes),
        "subject": "temporal_shift",
        "fold_div": a.conventions.fold_div,
    }
    y = a.ask("stream", {"clips": x[None]}, **attributes)
    a.same(y, expected, f"in chunks of {sizes} the stream is not the offline shift")


def is_causal(conventions: Conventions) -> bool:
    """Whether the offline form is the one that is streamed."""
    return conventions.folds == conventions.causal and conventions.fill == "zero"


@identity(
    "S.identity.own-shift",
    operation="stream",
    formula="stream(x) = the testee's own temporal_shift(x), where that is causal",
    defect="a stream is not the form that the weights were trained with",
    needs=("streaming",),
    architecture="shift",
    applies=is_causal,
)
def own_shift(a: Dialogue) -> None:
    """A testee that is causal offline streams what it computes offline itself."""
    x = a.clip()
    T = x.shape[2]
    attributes = {"script": steps(0, 0, [1] * T), "subject": "temporal_shift"}
    y = a.ask("stream", {"clips": x[None]}, **attributes, fold_div=a.conventions.fold_div)
    a.same(y, a.shift(x), "the stream is not the testee's own offline shift")
