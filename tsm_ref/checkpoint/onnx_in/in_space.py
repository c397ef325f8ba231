"""How a shift along height and width is read off numbered elements."""

from dataclasses import dataclass

import numpy as np

from tsm_ref.checkpoint.onnx_in.values import (
    ZERO,
    Base,
    Codes,
    layouts,
    read_frames,
    shift_in_time,
)
from tsm_ref.checkpoint.views import Groups

__all__ = ["Crossed", "explain_in_space"]

FILLS = ("zero", "replicate", "circular")


@dataclass(frozen=True)
class Crossed:
    """What numbers mean: a value of our graph, its channels moved by rows and columns.

    `in_time` is the shift (d, fill, segment) in front of that, which may move nothing.
    """

    groups: Groups
    dh: tuple[int, ...]
    dw: tuple[int, ...]
    fill: str
    in_time: tuple[tuple[int, ...], str, int]


def explain_in_space(codes: Codes, base: Base) -> Crossed | None:
    """The layout and the shifts that make exactly these numbers out of a value; None without any.

    A channel that is zero everywhere was moved by the whole height, or by more.
    """
    if len(base.shape) != 5 or codes.size != np.prod(base.shape):
        return None
    own = base.codes()
    for groups in layouts(codes.shape, base):
        order = [letter for group in groups for letter in group]
        order += [letter for letter in base.axes if letter not in order]
        split = codes.reshape([base.size[letter] for letter in order])
        turned = split.transpose([order.index(letter) for letter in base.axes])
        for fill in FILLS:
            dh, dw, source = _distances(turned[0], own[0], fill)
            earlier = read_frames(own, source)
            if np.array_equal(turned, _moved(earlier, dh, dw, fill)):
                in_time = shift_in_time(earlier, base)
                if in_time is not None:
                    return Crossed(groups, tuple(dh.tolist()), tuple(dw.tolist()), fill, in_time)
    return None


def _distances(codes: Codes, own: Codes, fill: str) -> tuple[Codes, Codes, Codes]:
    """By how much each channel (C, T, H, W) was moved, if it was, and the frames that it reads.

    One place of each channel tells; who asks compares all of them.
    """
    channels, frames, height, width = codes.shape
    dh, dw = np.full(channels, height), np.zeros(channels, np.int64)
    source = np.tile(np.arange(frames), (channels, 1))
    for channel, (planes, numbers) in enumerate(zip(codes, own, strict=True)):
        inside = np.argwhere((planes != ZERO).any(axis=0))
        if not len(inside):
            continue
        h, w = (height // 2, width // 2) if fill != "zero" else inside[0]
        read = planes[:, h, w]
        if not (read != ZERO).any():
            continue
        frame, place = np.divmod(read - numbers[0, 0, 0], height * width)
        row, column = divmod(int(place[read != ZERO][0]), width)
        dh[channel], dw[channel] = h - row, w - column
        source[channel] = np.where(read == ZERO, ZERO, frame.clip(0, frames - 1))
    return dh, dw, source


def _moved(own: Codes, dh: Codes, dw: Codes, fill: str) -> Codes:
    """The numbers of a value whose channels were moved."""
    height, width = own.shape[3:]
    rows = (np.arange(height) - dh[:, None])[:, None, :, None]
    columns = (np.arange(width) - dw[:, None])[:, None, None, :]
    channels = np.arange(own.shape[1])[:, None, None, None]
    frames = np.arange(own.shape[2])[:, None, None]
    if fill == "circular":
        return own[:, channels, frames, rows % height, columns % width]
    near = rows.clip(0, height - 1), columns.clip(0, width - 1)
    found = own[:, channels, frames, near[0], near[1]]
    if fill == "replicate":
        return found
    outside = (rows != near[0]) | (columns != near[1])
    return np.where(outside, ZERO, found)
