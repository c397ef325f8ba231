"""L1: max, average and global average pooling; the edges are where implementations differ."""

from typing import Any

from conformance.catalogue._questions import both, layer, layer_case
from conformance.questions.case import Problem, Setting
from conformance.questions.data import normal, small_integers

MAX = "y[p] = max over k of x[p * stride + k - pad]; padding never wins"
AVERAGE = "y[p] = sum over the window / places counted"


def window(kernel: Any, stride: Any, padding: Any = (0, 0, 0), **more: Any) -> dict[str, Any]:
    """The attributes of a pooling, one per axis of T, H, W."""
    return {"kernel": list(kernel), "stride": list(stride), "padding": list(padding), **more}


@layer_case("max_pool.negative", formula=MAX, defect="the padding is zero, and wins over negatives")
def negative(s: Setting) -> Problem:
    """The stem's 3x3 window, stride 2, padding 1, on negative values."""
    x = -1 - abs(small_integers(s.rng, (2, 3, 2, 7, 8), 40))
    return layer(s, "max_pool", {"x": x}, window((1, 3, 3), (1, 2, 2), (0, 1, 1)), exact=True)


@layer_case(
    "max_pool.stride", formula=MAX, defect="the stride is the kernel, or H and W are swapped"
)
def max_stride(s: Setting) -> Problem:
    """A window of 2x3 with stride 1x2."""
    x = {"x": small_integers(s.rng, (2, 3, 3, 6, 7), 99)}
    return layer(s, "max_pool", x, window((1, 2, 3), (1, 1, 2)), exact=True)


@layer_case("max_pool.temporal", "SHOULD", formula=MAX, defect="time cannot be pooled")
def temporal(s: Setting) -> Problem:
    """The temporal pool of TSM: 3 frames, stride 2, padding 1."""
    x = {"x": small_integers(s.rng, (2, 3, 8, 3, 2), 99) - 50}
    return layer(s, "max_pool", x, window((3, 1, 1), (2, 1, 1), (1, 0, 0)), exact=True)


@layer_case(
    "max_pool.ceil", "SHOULD", formula=MAX, defect="the last, overhanging window is dropped"
)
def max_ceil(s: Setting) -> Problem:
    """`ceil_mode` keeps an overhanging window, unless it would start beyond the input."""
    x = {"x": small_integers(s.rng, (2, 2, 2, 6, 7), 99)}
    more = {"ceil_mode": True}
    return both(
        layer(s, "max_pool", x, window((1, 3, 3), (1, 2, 2), **more), exact=True),
        layer(s, "max_pool", x, window((1, 2, 2), (1, 3, 3), (0, 1, 1), **more), exact=True),
    )


@layer_case("avg_pool.windows", formula=AVERAGE, defect="windows overlap or start wrongly")
def avg_windows(s: Setting) -> Problem:
    """The 2x2 pool of TS-CAN on an odd and an even side; divisions by four are exact."""
    x = {"x": small_integers(s.rng, (2, 3, 3, 7, 6), 99)}
    return layer(s, "avg_pool", x, window((1, 2, 2), (1, 2, 2)), exact=True)


@layer_case(
    "avg_pool.padding", "SHOULD", formula=AVERAGE, defect="padding is counted or not, wrongly"
)
def avg_padding(s: Setting) -> Problem:
    """The same padded window with and without its padding in the divisor."""
    x = {"x": normal(s.rng, (2, 3, 2, 6, 5)) + 2}
    where = window((1, 3, 3), (1, 2, 2), (0, 1, 1))
    counted = [{"count_include_pad": flag} for flag in (True, False)]
    return both(*(layer(s, "avg_pool", x, where | more) for more in counted))


@layer_case("avg_pool.ceil", "SHOULD", formula=AVERAGE, defect="an overhang counts in the divisor")
def avg_ceil(s: Setting) -> Problem:
    """`ceil_mode` on a side that the window does not fit: what overhangs is never counted."""
    x = {"x": normal(s.rng, (2, 3, 2, 7, 5)) + 2}
    return layer(s, "avg_pool", x, window((1, 2, 2), (1, 2, 2), ceil_mode=True))


@layer_case(
    "global_avg_pool.bound",
    formula="y[n, c, t] = mean over h, w of x[n, c, t, h, w]",
    defect="time is averaged too, or the sum is returned",
)
def global_avg(s: Setting) -> Problem:
    """A picture that is not square."""
    return layer(s, "global_avg_pool", {"x": normal(s.rng, (2, 5, 3, 6, 4)) + 1})
