"""Which channels are shifted, and where to: the vector `d` of every implementation in the wild.

`d[c] = +1` reads the past, `-1` the future, `0` leaves the channel alone (see `shift`). A rule
cuts the channels into folds of consecutive channels. When there are fewer channels than
`fold_div`, a fold is empty and nothing is shifted; what two folds leave over is unshifted too.
"""

import numpy as np
from numpy.typing import NDArray

from tsm_ref.reference._arrays import integer

PAST, FUTURE = 1, -1

Shifts = NDArray[np.int64]


def folds_mit(channels: int, fold_div: int = 8) -> Shifts:
    """The paper's bi-directional rule: the first fold reads the future, the second the past.

    f = channels // fold_div;  d[0:f] = -1;  d[f:2f] = +1;  fill "zero".

    Shapes: d (channels,). Errors: ValueError unless channels >= 0 and fold_div >= 1.
    Source: Lin, Gan, Han 2019, section 4; also MMAction2 and most ports of the original code.

    >>> folds_mit(10, fold_div=4)
    array([-1, -1,  1,  1,  0,  0,  0,  0,  0,  0])
    >>> bool(folds_mit(7).any())
    False
    """
    f, d = _fold(channels, fold_div)
    d[:f] = FUTURE
    d[f : 2 * f] = PAST
    return d


def folds_online(channels: int, fold_div: int = 8) -> Shifts:
    """The paper's causal rule: the first fold reads the past, and nothing reads the future.

    f = channels // fold_div;  d[0:f] = +1;  fill "zero".

    Shapes: d (channels,). Errors: ValueError unless channels >= 0 and fold_div >= 1.
    Source: Lin, Gan, Han 2019, section 4.2 (online TSM) and its demonstration program.

    >>> folds_online(10, fold_div=4)
    array([1, 1, 0, 0, 0, 0, 0, 0, 0, 0])
    """
    f, d = _fold(channels, fold_div)
    d[:f] = PAST
    return d


def folds_online_double(channels: int, fold_div: int = 8) -> Shifts:
    """A causal rule that shifts as many channels as the bi-directional one, all from the past.

    f = channels // fold_div;  d[0:2f] = +1;  fill "zero".

    Shapes: d (channels,). Errors: ValueError unless channels >= 0 and fold_div >= 1.
    Source: uni-directional training variants of the original code.

    >>> folds_online_double(10, fold_div=4)
    array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    """
    f, d = _fold(channels, fold_div)
    d[: 2 * f] = PAST
    return d


def folds_paddle(channels: int, shift_ratio: float) -> Shifts:
    """Paddle's rule: the past comes first, and the two folds may differ by one channel.

    c1 = int(channels * r);  c2 = int(2 * channels * r);  d[0:c1] = +1;  d[c1:c2] = -1;  "zero".

    Shapes: d (channels,). Errors: ValueError unless channels >= 0 and 0 <= shift_ratio <= 0.5.
    Source: the `temporal_shift` operator of Paddle, which multiplies in float32 as this does (in
    float64, 49 channels at r = 1/49 would not be shifted); PaddleVideo passes r = 1 / segments.

    >>> folds_paddle(10, 0.25)
    array([ 1,  1, -1, -1, -1,  0,  0,  0,  0,  0])
    """
    channels = integer(channels, "channels", 0)
    if not 0 <= shift_ratio <= 0.5:
        raise ValueError(f"`shift_ratio` (={shift_ratio!r}) must be a number from 0 to 0.5")
    d = np.zeros(channels, np.int64)
    ratio = np.float32(shift_ratio)
    c1, c2 = int(np.float32(channels) * ratio), int(np.float32(2 * channels) * ratio)
    d[:c1] = PAST
    d[c1:c2] = FUTURE
    return d


def folds_mtts_can(channels: int, fold_div: int = 3) -> Shifts:
    """The rule of TS-CAN and MTTS-CAN: the paper's directions, a third of the channels each way.

    f = channels // fold_div;  d[0:f] = -1;  d[f:2f] = +1;  fill "zero" (open-rppg: "replicate").

    Shapes: d (channels,). Errors: ValueError unless channels >= 0 and fold_div >= 1.
    Source: Liu, Fromm, Patel, McDuff 2020 (MTTS-CAN), section 3.

    >>> folds_mtts_can(7)
    array([-1, -1,  1,  1,  0,  0,  0])
    """
    return folds_mit(channels, fold_div)


def folds_roll(channels: int, fold_div: int = 8) -> Shifts:
    """The rule of the TensorFlow Lite ports that roll: by -1 in the first fold, +1 in the second.

    roll(x, s)[t] = x[(t - s) mod T], so d is the roll itself: d[0:f] = -1, d[f:2f] = +1 with
    f = channels // fold_div. The directions are the paper's, the fill is "circular".

    Shapes: d (channels,). Errors: ValueError unless channels >= 0 and fold_div >= 1.
    Source: MobileNetV2-TSM for TensorFlow Lite (`tf.roll` along time).

    >>> folds_roll(10, fold_div=4)
    array([-1, -1,  1,  1,  0,  0,  0,  0,  0,  0])
    """
    return folds_mit(channels, fold_div)


def _fold(channels: int, fold_div: int) -> tuple[int, Shifts]:
    channels = integer(channels, "channels", 0)
    return channels // integer(fold_div, "fold_div", 1), np.zeros(channels, np.int64)
