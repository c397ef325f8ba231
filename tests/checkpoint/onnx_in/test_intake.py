"""Pictures that a file prepares inside: what is left to do outside, and what it is fed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from tests.checkpoint.onnx_in.sketch import C, Sketch, T
from tsm_ref import Model
from tsm_ref.errors import CheckpointError, UsageError
from tsm_ref.profile import PROFILES

Load = Callable[..., Model]
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def network(s: Sketch, x: str, side: int = 12) -> str:
    """A stem, a shift, a head, on rows of pictures."""
    x = s.reshape(s.shift(s.stem(x), side * side), -1, C, side, side)
    return s.head(s.do("Conv", x, s.random(C, C, 1, 1)))


def still(s: Sketch, x: str) -> str:
    """A stem and a head without a shift."""
    x = s.do("Flatten", s.do("GlobalAveragePool", s.stem(x)))
    x = s.do("Gemm", x, s.random(5, C), s.random(5), transB=1)
    return str(s.do("ReduceMean", s.reshape(x, -1, T, 5), axes=[1], keepdims=0))


def normalised(s: Sketch, x: str, mean: Any, std: Any, shape: Any, unit: float = 1) -> str:
    x = s.do("Div", x, s.const(np.float32(unit))) if unit != 1 else x
    x = s.do("Sub", x, s.const(np.float32(mean).reshape(shape)))
    return str(s.do("Div", x, s.const(np.float32(std).reshape(shape))))


def left(model: Model) -> tuple[float, Any, Any, str]:
    spec = model.profile.preprocess
    return spec.scale, spec.mean, spec.std, spec.channel_order


ZERO, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def test_a_file_that_prepares_nothing_is_left_alone(loaded: Load) -> None:
    s = Sketch((T, 3, 12, 12))
    model = loaded(s, network(s, "x"))
    assert model.profile.preprocess.mean == PROFILES["mit"].preprocess.mean
    assert model.warnings == ()


@pytest.mark.parametrize(
    ("mean", "std", "unit", "scale", "order"),
    [
        (MEAN, STD, 255, 1.0, "rgb"),
        (MEAN * 255, STD * 255, 1, 1.0, "rgb"),
        (MEAN, STD, 1, 1 / 255, "rgb"),
        (MEAN[::-1], STD[::-1], 255, 1.0, "bgr"),
        ([104.0, 117.0, 123.0], [1.0, 1.0, 1.0], 1, 1.0, "bgr"),
        ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], 255, 1.0, "rgb"),
        ([127.5, 127.5, 127.5], [127.5, 127.5, 127.5], 1, 1.0, "rgb"),
        ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5], 1, 1 / 255, "rgb"),
    ],
)
def test_values_that_are_normalised_inside_are_not_outside(
    mean: Any, std: Any, unit: float, scale: float, order: str, loaded: Load
) -> None:
    s = Sketch((T, 3, 12, 12))
    model = loaded(s, network(s, normalised(s, "x", mean, std, (3, 1, 1), unit)))
    assert left(model) == (scale, ZERO, ONE, order)
    assert model.profile.shift.rule == "mit"


@pytest.mark.parametrize("opset", [9, 13, 18])
def test_bytes_behind_each_other_are_fed_as_bytes(opset: int, loaded: Load) -> None:
    s = Sketch((T, 12, 12, 3), opset)
    x = normalised(s, s.do("Cast", "x", to=1), MEAN, STD, (3,), 255)
    rows = s.do("Transpose", x, perm=[0, 3, 1, 2])
    out = still(s, rows) if opset < 10 else network(s, rows)  # slices were other ones before
    model = loaded(s, out, takes=TensorProto.UINT8)
    assert left(model) == (1.0, ZERO, ONE, "rgb")
    assert model.form is not None
    assert model.form.inputs[0].dtype == "uint8"
    clip = np.random.default_rng(0).integers(0, 256, (1, 3, T, 12, 12)).astype(np.uint8)
    np.testing.assert_array_equal(model(clip), model(clip.astype(np.float32)))


def test_bytes_are_refused_where_a_file_takes_floats(loaded: Load) -> None:
    s = Sketch((T, 3, 12, 12))
    model = loaded(s, network(s, "x"))
    with pytest.raises(UsageError, match="uint8: preprocessed values are floating point"):
        model(np.zeros((1, 3, T, 12, 12), np.uint8))


@pytest.mark.parametrize("means", [True, False], ids=["with means", "without"])
def test_channels_that_are_exchanged(means: bool, loaded: Load) -> None:
    """The means tell the network's order, and so that of the input; without them it is assumed."""
    s = Sketch((T, 3, 12, 12))
    x = s.do("Gather", "x", s.const(np.array([2, 1, 0])), axis=1)
    x = normalised(s, x, MEAN, STD, (3, 1, 1), 255) if means else x
    model = loaded(s, network(s, x))
    assert model.profile.preprocess.channel_order == "bgr"
    assert [("exchanges the first" in text) for text in model.warnings] == [True] * (not means)
    if not means:
        assert model.profile.preprocess.mean == PROFILES["mit"].preprocess.mean


def test_channels_that_are_exchanged_behind_the_means(loaded: Load) -> None:
    """Means of BGR first: the input is BGR, and the network sees RGB."""
    s = Sketch((T, 3, 12, 12))
    x = normalised(s, "x", MEAN[::-1], STD[::-1], (3, 1, 1), 255)
    model = loaded(s, network(s, s.do("Gather", x, s.const(np.array([2, 1, 0])), axis=1)))
    assert left(model) == (1.0, ZERO, ONE, "bgr")


@pytest.mark.parametrize("first", ["crop", "means"])
def test_a_crop_is_done_once(first: str, loaded: Load) -> None:
    s = Sketch((T, 3, 16, 16))
    x = "x"
    for step in (first, "means" if first == "crop" else "crop"):
        if step == "crop":
            x = s.cut(s.cut(x, 2, 14, 2), 2, 14, 3)
        else:
            x = normalised(s, x, MEAN, STD, (3, 1, 1), 255)
    model = loaded(s, network(s, x))
    assert model.graph.inputs[0].shape == ("N", 3, T, 12, 12)
    spec = model.profile.preprocess
    assert (spec.short_side, spec.crop, spec.scale) == (16, (12, 12), 1.0)


@pytest.mark.parametrize(
    ("axis", "start", "words"),
    [(2, 1, "rows 1 to 12 of 16"), (3, 4, "columns 4 to 15 of 16"), (3, 2, ""), (2, 3, "rows 3")],
)
def test_a_crop_that_is_not_in_the_middle_is_told(
    axis: int, start: int, words: str, loaded: Load
) -> None:
    """Recognition cuts the middle; what the file does with a whole picture stays what it is."""
    s = Sketch((T, 3, 16, 16))
    x = s.cut("x", start, start + 12, axis)
    model = loaded(s, network(s, s.cut(x, 2, 14, 5 - axis)))
    assert [w.startswith(f"the file cuts {words}") for w in model.warnings] == [True] * bool(words)


def test_crops_of_one_picture_that_are_joined_are_refused(loaded: Load) -> None:
    s = Sketch((T, 3, 12, 16))
    x = s.do("Concat", *(s.cut("x", start, start + 12, 3) for start in (0, 2, 4)), axis=0)
    with pytest.raises(CheckpointError, match="reads some pixels several times"):
        loaded(s, network(s, x))


def test_a_named_profile_does_not_normalise_twice(loaded: Load) -> None:
    s = Sketch((T, 3, 12, 12))
    x = normalised(s, "x", MEAN, STD, (3, 1, 1), 255)
    model = loaded(s, network(s, x), profile="mmaction2")
    assert left(model) == (1.0, ZERO, ONE, "rgb")
    assert model.profile.average == "probabilities"


def test_a_norm_of_the_network_is_no_preprocessing(loaded: Load) -> None:
    s = Sketch((T, 3, 12, 12))
    ones = [s.const(np.float32([1, 2, 3])) for _ in range(4)]
    model = loaded(s, network(s, s.do("BatchNormalization", "x", *ones)), judged=False)
    assert model.profile.preprocess.mean == PROFILES["mit"].preprocess.mean


# How time is laid out


@pytest.mark.parametrize("shape", [(T, 2, 3, 12, 12), (T * 2, 3, 12, 12)])
def test_time_first(shape: Any, loaded: Load) -> None:
    """As recurrent networks have it: row r is frame r // N of clip r % N."""
    s = Sketch(shape)
    x = s.reshape(s.stem(s.reshape("x", -1, 3, 12, 12)), T, 2, C, 144)
    x = s.do("Transpose", x, perm=[1, 0, 2, 3])
    rows = s.reshape(s.shift(s.reshape(x, -1, C, 12, 12), 144), 2, T, C, 144)
    x = s.reshape(s.do("Transpose", rows, perm=[1, 0, 2, 3]), -1, C, 12, 12)
    x = s.do("Flatten", s.do("GlobalAveragePool", s.do("Conv", x, s.random(C, C, 1, 1))))
    x = s.do("Gemm", x, s.random(5, C), s.random(5), transB=1)
    model = loaded(s, s.do("ReduceMean", s.reshape(x, T, 2, 5), axes=[0], keepdims=0))
    assert "T" in str(model.form.inputs[0]).split("N")[0]  # type: ignore[union-attr]
    assert len(model.shifts) == 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_rows_of_pictures_whose_side_does_not_tell_of_time(count: int, loaded: Load) -> None:
    s = Sketch((count * 5, 12, 12, 3))
    x = s.reshape("x", -1, 5, 432)
    ahead = s.do("Concat", s.cut(x, 1, 5, 1), s.const(np.zeros((count, 1, 432))), axis=1)
    x = s.do("Transpose", s.reshape(ahead, -1, 12, 12, 3), perm=[0, 3, 1, 2])
    x = s.do("Flatten", s.do("GlobalAveragePool", s.stem(x)))
    model = loaded(s, s.do("Gemm", x, s.random(5, C), s.random(5), transB=1))
    assert model.shifts[0].d.tolist() == [-1, -1, -1]
    assert model.profile.sampling.segments == 5
