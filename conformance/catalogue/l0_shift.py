"""L0: the temporal shift. Data is moved and nothing is computed, so every bit is determined."""

from typing import Any

import numpy as np

from conformance.catalogue._questions import (
    both,
    fold_channels,
    shift_problem,
    shift_question,
    usual_clip,
)
from conformance.questions.arrays import Array
from conformance.questions.case import Call, Problem, Question, Register, Setting, case
from conformance.questions.data import coded, small_integers, specials
from conformance.questions.judges import Bits
from tsm_ref.reference import FILLS, temporal_shift, temporal_shift_adjoint

SHIFT = "out[n, c, t] = x[n, c, t - d[c]]; d = +1 reads the past, -1 the future"


def shift_case(id: str, requirement: str = "MUST", *, defect: str, **options: Any) -> Register:
    """A case about the operation `temporal_shift`."""
    options = {"operation": "temporal_shift", "formula": SHIFT} | options
    return case(f"L0.shift.{id}", requirement, defect=defect, **options)


@shift_case("directions", defect="the folds read the wrong neighbour in time")
def directions(s: Setting) -> Problem:
    """Each fold reads the neighbour in time that the profile names, on one clip."""
    return shift_problem(s, usual_clip(s, 1, 5, 3, 2))


@shift_case("clips", defect="the last frame of one clip leaks into the first of the next")
def clips(s: Setting) -> Problem:
    """Clips of a batch are shifted each for itself."""
    return shift_problem(s, usual_clip(s, 3, 4, 2, 5))


@shift_case(
    "reshape", defect="frames and clips, or channels and time, are reshaped in a wrong order"
)
def reshape(s: Setting) -> Problem:
    """N, C, T, H and W are all different, so that no two axes can be confused."""
    return shift_problem(s, usual_clip(s, 2, 7, 4, 3, folds=3))


@shift_case("one-frame", defect="a clip of one frame keeps its shifted channels, or fails")
def one_frame(s: Setting) -> Problem:
    """With T = 1 there is no neighbour: shifted channels hold the fill."""
    return shift_problem(s, coded((2, fold_channels(s), 1, 3, 4)))


@shift_case("two-frames", defect="the fill at the two ends overlaps or is swapped")
def two_frames(s: Setting) -> Problem:
    """With T = 2 every frame is an edge."""
    return shift_problem(s, coded((3, fold_channels(s), 2, 3, 1)))


@shift_case("indivisible", defect="the fold is rounded up, or the remainder is shifted")
def indivisible(s: Setting) -> Problem:
    """C that the fold divisor does not divide: both folds are rounded down as the profile says."""
    div = s.conventions.fold_div
    return shift_problem(s, *(coded((2, div * 2 + r, 4, 3, 2)) for r in {1, div - 1}))


@shift_case("few-channels", defect="at least one channel is shifted, or an empty slice fails")
def few_channels(s: Setting) -> Problem:
    """Fewer channels than the fold divisor leave an empty fold."""
    div = s.conventions.fold_div
    return shift_problem(s, coded((2, 1, 3, 2, 4)), coded((2, div - 1, 3, 2, 4)))


@shift_case("many-frames", defect="a window or buffer of fixed length cuts a long clip")
def many_frames(s: Setting) -> Problem:
    """A clip of 37 frames."""
    return shift_problem(s, coded((1, fold_channels(s), 37, 2, 3)))


@shift_case(
    "negative", defect="filled places are found by a comparison with zero, or values clipped"
)
def negative(s: Setting) -> Problem:
    """Negative and fractional values move like any others."""
    x = small_integers(s.rng, (2, fold_channels(s), 6, 3, 5)) / np.float32(7)
    return shift_problem(s, x)


@shift_case(
    "special-values", defect="the shift multiplies by masks or adds, instead of moving bits"
)
def special_values(s: Setting) -> Problem:
    """NaN payloads, negative zeros, infinities and subnormals survive."""
    return shift_problem(s, specials(s.rng, (2, fold_channels(s), 5, 4, 3)))


@shift_case("strided", defect="memory is read as if it were contiguous")
def strided(s: Setting) -> Problem:
    """A view with reversed axes and gaps between its elements."""
    return shift_problem(s, usual_clip(s, 2, 4, 3, 5), memory="strided")


@shift_case("reversed", defect="a negative stride is not understood")
def backwards(s: Setting) -> Problem:
    """A view whose last axis runs backwards in memory."""
    return shift_problem(s, usual_clip(s, 2, 4, 3, 5), memory="reversed")


@shift_case(
    "input-unmodified", defect="the shift is done in place and smears one frame over the clip"
)
def input_unmodified(s: Setting) -> Problem:
    """The same clip twice gives the same result twice, in memory that may be written or not."""
    x = usual_clip(s, 2, 6, 2, 3)
    return both(shift_problem(s, x, x, memory="read-only"), shift_problem(s, x, x, memory="plain"))


@shift_case("float16", "SHOULD", defect="data of another width is converted", needs=("float16",))
def float16(s: Setting) -> Problem:
    """A float16 clip comes back as float16, bit for bit."""
    return shift_problem(s, specials_of(s, "float16"))


@shift_case("float64", "SHOULD", defect="data of another width is converted", needs=("float64",))
def float64(s: Setting) -> Problem:
    """A float64 clip comes back as float64, bit for bit."""
    return shift_problem(s, specials_of(s, "float64"))


@shift_case("fold-divisor", "SHOULD", defect="the fold divisor is a constant in the code")
def fold_divisor(s: Setting) -> Problem:
    """Other fold divisors than the profile's own."""
    known = (2, 4, 5, 8)
    if s.conventions.fold_rule == "ratio":
        known = (3, 4, 5, 16)  # a ratio of one half is refused by contract
    divs = [div for div in known if div != s.conventions.fold_div]
    return Problem(tuple(shift_question(s, coded((2, 21, 4, 3, 2)), div) for div in divs))


@case(
    "L0.shift-by.any",
    "SHOULD",
    operation="shift_by",
    formula=SHIFT + ", for any integers d",
    defect="only d of -1, 0 and 1 in two runs of channels are possible",
)
def shift_by_any(s: Setting) -> Problem:
    """Any integer per channel, with each of the three fills."""
    d = np.array([2, 0, -1, 1, -2, 3, -4, 0, 9], np.int64)
    x = coded((2, len(d), 5, 3, 2))
    return Problem(tuple(shift_by_question(x, d, fill) for fill in FILLS))


@case(
    "L0.shift-by.beyond",
    "SHOULD",
    operation="shift_by",
    formula=SHIFT + ", |d| >= T included",
    defect="a shift by more than the clip wraps around, or fails",
)
def shift_by_beyond(s: Setting) -> Problem:
    """Shifts by T and by more than T frames."""
    d = np.array([3, -3, 4, -4, 7, -7, 30, -30], np.int64)
    x = coded((2, len(d), 3, 2, 4))
    return Problem(tuple(shift_by_question(x, d, fill) for fill in FILLS))


@case(
    "L0.adjoint",
    "SHOULD",
    operation="temporal_shift_adjoint",
    formula="<shift(x), y> = <x, adjoint(y)>",
    defect="the gradient shifts the same way as the forward pass",
)
def adjoint(s: Setting) -> Problem:
    """The transpose of the shift, which is its gradient."""
    y = small_integers(s.rng, (2, fold_channels(s), 5, 3, 2))
    d: Any = s.conventions.d(y.shape[1])
    expected = temporal_shift_adjoint(y, d, s.conventions.fill)  # type: ignore[arg-type]
    div = {"fold_div": s.conventions.fold_div}
    call = Call("temporal_shift_adjoint", {"y": y}, div, div)
    return Problem((Question(call, Bits(expected)),))


def shift_by_question(x: Array, d: Array, fill: Any) -> Question:
    """A shift by given d, bit for bit."""
    attributes = {"d": [int(v) for v in d], "fill": fill}
    return Question(Call("shift_by", {"x": x}, attributes), Bits(temporal_shift(x, d, fill)))


def specials_of(s: Setting, dtype: str) -> Array:
    """Values of another float dtype that a detour over float32 would change."""
    with np.errstate(all="ignore"):
        x = s.rng.standard_normal((2, fold_channels(s), 4, 3, 2)).astype(dtype)
    flat = x.ravel()
    flat[::7], flat[1::7] = np.finfo(dtype).smallest_subnormal, np.nan
    flat[2::7] = -0.0
    return x
