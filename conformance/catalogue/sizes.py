"""Sizes at which faults live: ends of vectors, of blocks and of buffers; odd, large and lopsided.

Vector code is right for whole vectors and wrong in the rest, or beyond the first block. So every
size is asked below, at and above the powers of two, on data that costs little: coded clips, and
sparse integers whose sums are exact in any order.
"""

from typing import Any

import numpy as np

from conformance.catalogue import l1_convolution as convolution
from conformance.catalogue._questions import (
    at,
    both,
    fold_channels,
    layer,
    shift_problem,
    usual_clip,
)
from conformance.catalogue.l0_shift import shift_case
from conformance.catalogue.l1_layers import BATCH_NORM, MEAN
from conformance.catalogue.l1_pooling import AVERAGE, MAX, window
from conformance.catalogue.l3_networks import any_network, network_case
from conformance.questions.arrays import Array
from conformance.questions.case import Problem, Setting, case
from conformance.questions.data import coded, normal, small_integers

FRAMES = (1, 2, 7, 8, 9, 16, 65)
CHANNELS = (15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 256, 257)
SIDES = ((1, 66), (7, 7), (8, 15), (16, 17), (33, 16), (65, 3), (17, 64))


@shift_case("frames", defect="T beside a power of two is handled by a part that is never run")
def frames(s: Setting) -> Problem:
    """Clips of 1, 2, 7, 8, 9, 16 and 65 frames."""
    return shift_problem(s, *(coded((2, fold_channels(s), T, 3, 2)) for T in FRAMES))


@shift_case("channels", defect="channels behind the last whole vector are lost or copied twice")
def channels(s: Setting) -> Problem:
    """Channels around 16, 32, 64, 128 and 256, in clips of 8 frames."""
    return shift_problem(s, *(coded((1, C, 8, 3, 2)) for C in CHANNELS))


@shift_case("sides", defect="pictures of an odd or a large side end in the wrong place")
def sides(s: Setting) -> Problem:
    """Sides that are odd, even, and beyond 16 and 64; wide and high pictures."""
    return shift_problem(s, *(coded((2, fold_channels(s), 4, H, W)) for H, W in SIDES))


@shift_case("batches", defect="a batch of another size than was tried is cut")
def batches(s: Setting) -> Problem:
    """One to five clips of 8 frames."""
    return shift_problem(s, *(usual_clip(s, N, 8, 2, 3) for N in range(1, 6)))


@shift_case("empty", "MAY", defect="an empty batch becomes one of some other shape")
def empty(s: Setting) -> Problem:
    """No clips at all, or pictures without pixels: nothing, or a refusal, is right."""
    clips = (coded((0, fold_channels(s), 4, 3, 2)), coded((2, fold_channels(s), 4, 0, 2)))
    return shift_problem(s, *clips, may_refuse=True)


def sparse(s: Setting, shape: tuple[int, ...]) -> Array:
    """Small integers, most of them zero, so that any sum is exact."""
    return small_integers(s.rng, shape) * (s.rng.random(shape) < 0.3)


def convolved(
    s: Setting, C: int, K: int, side: tuple[int, int], kernel: int = 3, **options: Any
) -> Problem:
    """One exact convolution of C channels to K."""
    groups = options.get("groups", 1)
    x = {
        "x": sparse(s, (1, C, 2, *side)).astype(np.float32),
        "weight": small_integers(s.rng, (K, C // groups, 1, kernel, kernel)),
        "bias": small_integers(s.rng, (K,), 20),
    }
    return layer(s, "conv", x, at(**options), exact=True)


@convolution.conv_case("channels-in", defect="input channels behind the last whole vector are lost")
def channels_in(s: Setting) -> Problem:
    """1x1 convolutions of 16, 17, 31, 64, 129 and 257 channels: up to 257 products in a sum."""
    return both(*(convolved(s, C, 5, (3, 5), 1) for C in (16, 17, 31, 64, 129, 257)))


@convolution.conv_case("channels-out", defect="output channels behind the last block are wrong")
def channels_out(s: Setting) -> Problem:
    """1x1 convolutions to 15, 16, 17, 33, 64, 128 and 257 channels."""
    return both(*(convolved(s, 3, K, (4, 3), 1) for K in (15, 16, 17, 33, 64, 128, 257)))


@convolution.conv_case("kernels", defect="one size of kernel has code of its own, which is wrong")
def kernels(s: Setting) -> Problem:
    """Square kernels of 1, 3, 5 and 7 with half their size of padding, on sides beyond 16."""
    sizes = zip((1, 3, 5, 7), ((17, 18), (33, 17), (18, 33), (19, 16)), strict=True)
    return both(
        *(convolved(s, 4, 6, side, k, padding=(0, k // 2, k // 2)) for k, side in sizes),
        convolved(s, 64, 17, (6, 17), padding=(0, 1, 1)),
    )


@convolution.conv_case("strides", defect="a stride of 1x1 kernels, or with dilation, is wrong")
def strides(s: Setting) -> Problem:
    """1x1 with stride 2 on odd and even sides; 3x3 with stride 2 and dilation 2."""
    return both(
        *(convolved(s, 18, 17, side, 1, stride=(1, 2, 2)) for side in ((17, 8), (16, 9))),
        convolved(s, 5, 16, (19, 34), stride=(1, 2, 2), padding=(0, 2, 2), dilation=(1, 2, 2)),
    )


@convolution.conv_case(
    "group-sizes", "SHOULD", defect="only one group, or one channel per group, is right"
)
def group_sizes(s: Setting) -> Problem:
    """Two outputs per depthwise channel, groups of 6 of 24 channels, and 33 depthwise channels."""
    pad: dict[str, Any] = {"padding": (0, 1, 1)}
    return both(
        convolved(s, 6, 12, (5, 17), groups=6, **pad),
        convolved(s, 24, 8, (5, 7), groups=4, **pad),
        convolved(s, 33, 33, (9, 18), groups=33, **pad),
        convolved(s, 17, 17, (9, 18), 5, groups=17, padding=(0, 2, 2), stride=(1, 2, 2)),
    )


@case(
    "L1.linear.sizes",
    operation="linear",
    formula=convolution.LINEAR,
    defect="a square weight is transposed, or the rest of a vector is lost",
)
def linear_sizes(s: Setting) -> Problem:
    """Square weights of 5, 16 and 33, and 257 and 17 channels to 11 and 129 classes; T = 8."""
    pairs = ((5, 5), (16, 16), (33, 33), (257, 11), (17, 129))
    return both(
        *(
            layer(
                s,
                "linear",
                {
                    "x": small_integers(s.rng, (2, C, 8)),
                    "weight": small_integers(s.rng, (K, C)),
                    "bias": small_integers(s.rng, (K,), 20),
                },
                exact=True,
            )
            for C, K in pairs
        )
    )


@case(
    "L1.batch_norm.sizes",
    operation="batch_norm",
    formula=BATCH_NORM,
    defect="eps is a constant in the code, or the channels behind a vector use another's",
)
def batch_norm_sizes(s: Setting) -> Problem:
    """16, 33 and 257 channels with eps of 1e-3, 1e-5 and 2e-3."""
    problems = []
    for C, eps in ((16, 1e-3), (33, 1e-5), (257, 2e-3)):
        x = {
            "x": normal(s.rng, (2, C, 2, 3, 1)),
            "mean": normal(s.rng, (C,)),
            "variance": s.rng.uniform(0.001, 0.2, C).astype(np.float32),
            "scale": normal(s.rng, (C,)) + np.float32(2),
            "shift": normal(s.rng, (C,)),
        }
        problems.append(layer(s, "batch_norm", x, {"eps": eps}))
    return both(*problems)


@case(
    "L1.softmax.axes",
    "SHOULD",
    operation="softmax",
    formula="exp(x_i) / sum over j of exp(x_j), over the axis that is named",
    defect="the axis is a constant in the code",
)
def softmax_axes(s: Setting) -> Problem:
    """The last and the second axis of (N, K, T), and 400 classes."""
    x, wide = normal(s.rng, (3, 5, 8)), normal(s.rng, (1, 400, 2))
    return both(
        *(layer(s, "softmax", {"x": x}, {"axis": axis}) for axis in (2, 1)),
        layer(s, "softmax", {"x": wide}, {"axis": 1}),
    )


@case(
    "L1.consensus.sizes",
    operation="consensus",
    formula=MEAN,
    defect="the mean is over another number of frames than there are",
)
def consensus_sizes(s: Setting) -> Problem:
    """1, 2, 7, 8, 9, 16 and 65 frames."""
    clips = (normal(s.rng, (2, 5, T)) + np.float32(1) for T in FRAMES)
    return both(*(layer(s, "consensus", {"logits": x}) for x in clips))


def alternating(count: int) -> Array:
    """5, -4, 5, -4, ...: neighbours of either sign."""
    return np.resize(np.array([5, -4], np.float32), (1, count, 1, 1, 1))


@case(
    "L1.relu.sizes",
    operation="relu",
    formula="max(x, 0)",
    defect="values behind the last whole vector are left as they are",
)
def relu_sizes(s: Setting) -> Problem:
    """3, 15, 16, 17, 33 and 257 values of either sign."""
    return both(
        *(layer(s, "relu", {"x": alternating(C)}, exact=True) for C in (3, 15, 16, 17, 33, 257))
    )


@case(
    "L1.max_pool.sizes",
    operation="max_pool",
    formula=MAX,
    defect="a window at the end of a large or odd side reads beyond it",
)
def max_pool_sizes(s: Setting) -> Problem:
    """3x3 and 2x2 windows on sides of 17, 33, 34 and 65, of negative values."""
    problems = []
    for C, side, k in ((17, (17, 34), 3), (3, (65, 5), 3), (16, (33, 18), 2)):
        x = -1 - abs(small_integers(s.rng, (1, C, 2, *side), 99))
        where = window((1, k, k), (1, 2, 2), (0, k % 2, k % 2))
        problems.append(layer(s, "max_pool", {"x": x}, where, exact=True))
    return both(*problems)


@case(
    "L1.max_pool.odd-time",
    "SHOULD",
    operation="max_pool",
    formula=MAX,
    defect="the temporal pool wants an even number of frames",
)
def odd_time(s: Setting) -> Problem:
    """The temporal pool of TSM on 5, 7 and 9 frames."""
    return both(
        *(
            layer(
                s,
                "max_pool",
                {"x": small_integers(s.rng, (2, 3, T, 3, 2), 99) - 50},
                window((3, 1, 1), (2, 1, 1), (1, 0, 0)),
                exact=True,
            )
            for T in (5, 7, 9)
        )
    )


@case(
    "L1.global_avg_pool.sizes",
    operation="global_avg_pool",
    formula=AVERAGE,
    defect="rows behind a block are not counted, or pictures are taken as square",
)
def global_avg_sizes(s: Setting) -> Problem:
    """Pictures of 7x7, 1x66, 17x4 and 65x33; integers with a divisor of their own."""
    sides = ((7, 7), (1, 66), (17, 4), (65, 33))
    return both(
        *(layer(s, "global_avg_pool", {"x": normal(s.rng, (1, 17, 2, *p)) + 1}) for p in sides)
    )


@network_case(
    "eight-frames", architecture="network", defect="T = 8 has code of its own, which is wrong"
)
def eight_frames(s: Setting) -> Problem:
    """8 frames, as everybody uses them, of a picture that is higher than wide."""
    return any_network(s, (2, 8, 22, 14))


@network_case("long-clips", architecture="network", defect="a buffer for 8 frames is used for more")
def long_clips(s: Setting) -> Problem:
    """9 and 17 frames of wide pictures, in one and three clips."""
    return both(any_network(s, (1, 17, 10, 18)), any_network(s, (3, 9, 9, 20)))


@network_case(
    "many-frames", architecture="network", defect="a long clip is cut, or run in pieces that forget"
)
def many_frames(s: Setting) -> Problem:
    """65 frames, one more than a power of two."""
    return any_network(s, (1, 65, 4, 3))


@network_case("five-clips", architecture="network", defect="clips behind the fourth are not run")
def five_clips(s: Setting) -> Problem:
    """Five clips of 3 frames, of which no two are alike."""
    return any_network(s, (5, 3, 9, 8))


@network_case(
    "large-pictures", architecture="network", defect="pictures are cut at the size that was tried"
)
def large_pictures(s: Setting) -> Problem:
    """One picture beyond 64 x 80, with odd sides."""
    return any_network(s, (1, 1, 67, 85))
