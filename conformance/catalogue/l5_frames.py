"""L5: which frames are taken, and which numbers are made of their pixels."""

from typing import Any

import numpy as np

from conformance.catalogue._questions import both
from conformance.questions import pixels
from conformance.questions.arrays import Array
from conformance.questions.case import Call, Problem, Question, Setting, case
from conformance.questions.conventions import plain
from conformance.questions.judges import Bits, Judge, Within
from tsm_ref.reference.bounded import Bounded

LENGTHS = (1, 4, 9, 10, 37, 40, 64, 100, 300)
POLICIES = {
    "uniform": "int(N/T/2 + N/T*k)",
    "twice": "int(N/T/2 + N/T*k), then int(N/T*k)",
    "val": "as uniform if N > T, else the first frame",
    "dense": "(k * (64 // T) + start) % N, 10 starts evenly from 0 to max(1, N-63) - 1",
    "mmaction2": "trunc((k*N/T + N/(2T)) mod N)",
    "paddle": "((N//T) - 1) // 2 + k * (N//T)",
}


def sampling(s: Setting, policy: str) -> Problem:
    """Clips shorter than T, of T frames, and longer."""
    questions = []
    for segments in (8, 5):
        for length in LENGTHS:
            expected = pixels.sample_frames(policy, length, segments)
            attributes = {"policy": policy, "num_frames": length, "segments": segments}
            call = Call("sample_frames", {}, attributes, {"policy": s.conventions.policy})
            questions.append(Question(call, Bits(expected)))
    return Problem(tuple(questions))


@case(
    "L5.sampling.own",
    operation="sample_frames",
    formula="the profile's policy; frames are counted from 0",
    defect="frames are counted from 1, rounded, or the last part is cut",
)
def own_sampling(s: Setting) -> Problem:
    """The profile's own policy for clips of 1 to 300 frames."""
    return sampling(s, s.conventions.policy)


def _register(policy: str, formula: str) -> None:
    def build(s: Setting) -> Problem:
        return sampling(s, policy)

    build.__doc__ = f"The policy {policy} for clips of 1 to 300 frames."
    case(
        f"L5.sampling.{policy}",
        "SHOULD",
        operation="sample_frames",
        formula=formula,
        defect="another family's arithmetic, or a rounding in another place",
    )(build)


for _policy, _formula in POLICIES.items():
    _register(_policy, _formula)


PIL = "weighted mean over a triangle of max(1, m/n), 22-bit weights, rows first"
OPENCV = "four neighbours, 11-bit weights"


def resized(s: Setting, arithmetic: str, *sizes: tuple[int, int, int, int]) -> Problem:
    """Pictures of noise from one size to another."""
    questions = []
    for h, w, height, width in sizes:
        image = s.rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
        expected = pixels.resize(image, height, width, arithmetic)
        attributes = {"height": height, "width": width, "arithmetic": arithmetic}
        call = Call("resize", {"image": image}, attributes, {"arithmetic": s.conventions.resize})
        questions.append(Question(call, Bits(expected)))
    return Problem(tuple(questions))


@case(
    "L5.resize.own",
    operation="resize",
    formula=f"pil: {PIL}; opencv: {OPENCV}",
    defect="the other library's filter, or corners instead of centres are aligned",
)
def own_resize(s: Setting) -> Problem:
    """The profile's own arithmetic, smaller and larger."""
    return resized(s, s.conventions.resize, (37, 52, 16, 23), (11, 9, 20, 31))


@case(
    "L5.resize.pil",
    "SHOULD",
    operation="resize",
    formula=PIL,
    defect="no antialiasing, or another order of the passes",
)
def pil_resize(s: Setting) -> Problem:
    """Pillow's arithmetic: smaller, larger, one axis only."""
    return resized(s, "pil", (41, 33, 15, 16), (13, 10, 29, 27), (20, 31, 20, 12))


@case(
    "L5.resize.opencv",
    "SHOULD",
    operation="resize",
    formula=OPENCV + "; exactly half is a mean of four",
    defect="antialiasing where there is none, or the exact half is interpolated",
)
def opencv_resize(s: Setting) -> Problem:
    """OpenCV's arithmetic: smaller, larger, and exactly half."""
    return resized(s, "opencv", (41, 33, 15, 16), (13, 10, 29, 27), (24, 30, 12, 15))


def crops(
    s: Setting, kind: str, sizes: list[tuple[int, int]], crop: tuple[int, int] = (224, 224)
) -> Problem:
    """The crops of resized pictures."""
    questions = []
    for height, width in sizes:
        expected = pixels.views(height, width, crop, kind, s.conventions.crop_offset)
        attributes = {"height": height, "width": width, "crop": list(crop), "crops": kind}
        defaults = {"crops": "center", "offset": s.conventions.crop_offset}
        call = Call("crop", {}, attributes | {"offset": s.conventions.crop_offset}, defaults)
        questions.append(Question(call, Bits(expected)))
    return Problem(tuple(questions))


@case(
    "L5.crop.center",
    operation="crop",
    formula="round: int(round((d - c) / 2)), half to even; floor: (d - c) // 2",
    defect="an odd margin is rounded another way",
)
def center(s: Setting) -> Problem:
    """Margins that are even, odd, and zero; wide and high pictures."""
    return crops(s, "center", [(256, 343), (256, 341), (455, 256), (224, 227), (225, 229)])


@case(
    "L5.crop.three",
    "SHOULD",
    operation="crop",
    formula="three: left, right, middle at 0, 4, 2 quarters of the margin of the width; "
    "three_longer: both ends and the middle, at 0, 2, 1 halves of the longer side's margin",
    defect="the order is left, middle, right, or another family's margin is halved",
)
def three(s: Setting) -> Problem:
    """The three crops of the testee's conventions, on wide and on high pictures."""
    return crops(s, s.conventions.crops, [(256, 343), (256, 455), (343, 256)], (256, 256))


@case(
    "L5.crop.ten",
    "SHOULD",
    operation="crop",
    formula="four corners and the centre, each followed by its mirror image",
    defect="all mirror images come last",
)
def ten(s: Setting) -> Problem:
    """Ten crops."""
    return crops(s, "ten", [(256, 343), (341, 256)])


@case(
    "L5.crop.rectangle",
    "SHOULD",
    operation="crop",
    formula="a crop is (height, width)",
    defect="crops are square, or width comes first",
)
def rectangle(s: Setting) -> Problem:
    """Centre crops that are wider than high, and higher than wide."""
    return both(
        crops(s, "center", [(256, 343), (341, 256)], (112, 200)),
        crops(s, "center", [(257, 343), (341, 256)], (161, 96)),
    )


NORMALIZE = "(pixel * scale - mean) / std, channels in the profile's order"


@case(
    "L5.normalize.own",
    operation="normalize",
    formula=NORMALIZE,
    defect="red and blue are swapped, or the values are not divided by 255",
)
def own_normalize(s: Setting) -> Problem:
    """The profile's own statistics and order of colours; the three colours differ."""
    return normalized(s, s.conventions.as_dict())


@case(
    "L5.normalize.bgr",
    "SHOULD",
    operation="normalize",
    formula="blue first, mean 104 / 117 / 128, 0 to 255",
    defect="the statistics are turned round together with the colours, or not",
)
def bgr(s: Setting) -> Problem:
    """The convention of Caffe's networks."""
    how = {"mean": [104.0, 117.0, 128.0], "std": [1.0, 1.0, 1.0], "scale": 1.0}
    return normalized(s, how | {"channel_order": "bgr"})


def normalized(s: Setting, how: dict[str, Any]) -> Problem:
    """One small clip of noise."""
    frames = noise(s, 3, 5, 4)
    names = ("mean", "std", "scale", "channel_order")
    attributes = {name: plain(how[name]) for name in names}
    defaults = {name: plain(getattr(s.conventions, name)) for name in names}
    values = pixels.normalize(frames, **attributes)
    judge = within_pixels(s, values, how)
    return Problem((Question(Call("normalize", {"frames": frames}, attributes, defaults), judge),))


@case(
    "L5.preprocess.own",
    operation="preprocess",
    formula="resize the short side, crop the centre, " + NORMALIZE,
    defect="steps in another order, height and width swapped, the longer side rounded otherwise",
)
def preprocess(s: Setting) -> Problem:
    """The whole chain on a wide and on a high clip."""
    names = ["resize", "long_side", "crop_offset", "channel_order", "scale", "mean", "std"]
    how = {name: plain(getattr(s.conventions, name)) for name in names}
    questions = []
    for h, w, crop in ((41, 66, [28, 28]), (71, 45, [28, 28]), (41, 66, [20, 31])):
        attributes = {"short_side": 32, "crop": crop, **how}
        frames = noise(s, 2, h, w)
        judge = within_pixels(s, pixels.preprocess(frames, attributes), attributes)
        questions.append(Question(Call("preprocess", {"frames": frames}, attributes, how), judge))
    return Problem(tuple(questions))


def noise(s: Setting, frames: int, height: int, width: int) -> Array:
    """A clip of smooth noise whose three colours have different levels, as uint8."""
    x = s.rng.integers(0, 120, (frames, height, width, 3)) + np.array([0, 60, 130])
    return np.asarray(x, np.uint8)


def within_pixels(s: Setting, values: Array, how: dict[str, Any]) -> Judge:
    """Normalised pixels: five roundings of numbers as large as their parts."""
    bounded = bounded_pixels(s.u, values, how["mean"], how["std"])
    judge = Within(bounded, may_be_single=True)
    judge.guard(s.u)
    return judge


def bounded_pixels(u: float, values: Array, mean: Any, std: Any) -> Bounded:
    """Normalised values with what rounding in the declared type explains.

    The scale, the product and the mean each round once before the difference is taken; the
    difference, the deviation and the quotient round once more: 2u (|p s| + |m|) / |d| + 4u |y|.
    """
    m, d = (np.asarray(v, np.float64).reshape(3, 1, 1, 1) for v in (mean, std))
    parts = np.abs(values * d + m) + np.abs(m)
    limit = 2 * u * parts / np.abs(d) + 4 * u * np.abs(values)
    return Bounded(values, (limit / 6) ** 2)
