"""What a file says at its end: logits or what it makes of them, over time, over several clips."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.checkpoint.onnx_in.sketch import C, Sketch, T
from tsm_ref import Model
from tsm_ref.errors import CheckpointError
from tsm_ref.reference import softmax

Load = Callable[..., Model]
CLIP = np.random.default_rng(3).normal(size=(1, 3, T, 12, 12)).astype(np.float32)


def rows(opset: int = 13, clips: int = 1) -> Sketch:
    return Sketch((clips * T, 3, 12, 12), opset)


def shifted(s: Sketch, x: str = "x") -> str:
    """A stem, a shift, a convolution: rows of pictures (rows, 8, 12, 12)."""
    x = s.reshape(s.shift(s.stem(x), 144), -1, C, 12, 12)
    return str(s.do("Conv", x, s.random(C, C, 1, 1)))


def features(s: Sketch, x: str = "x") -> str:
    return str(s.do("Flatten", s.do("GlobalAveragePool", shifted(s, x))))


def test_logits_are_called_so(loaded: Load) -> None:
    s = rows()
    model = loaded(s, s.head(shifted(s)))
    assert model.output == "logits"
    np.testing.assert_array_equal(model.logits(CLIP), model(CLIP))


@pytest.mark.parametrize("opset", [13, 20])
@pytest.mark.parametrize(
    ("op", "kind"),
    [
        ("Softmax", "probabilities"),
        ("LogSoftmax", "log-probabilities"),
        ("Sigmoid", "independent probabilities"),
    ],
)
def test_what_is_made_of_logits_is_told(op: str, kind: str, opset: int, loaded: Load) -> None:
    s = rows(opset)
    attrs = {} if op == "Sigmoid" else {"axis": 1}
    model = loaded(s, s.do(op, s.head(shifted(s)), **attrs))
    assert model.output == kind
    logits, scores = model.logits(CLIP)[0], model(CLIP)[0]
    expected = {
        "probabilities": softmax(logits, 0),
        "log-probabilities": np.log(softmax(logits, 0)),
        "independent probabilities": 1 / (1 + np.exp(-logits)),
    }
    np.testing.assert_allclose(scores, expected[kind], rtol=1e-5)
    np.testing.assert_allclose(model.frame_logits(CLIP)[0].mean(0), logits, rtol=1e-4, atol=1e-6)


def test_a_mean_of_probabilities_is_one_of_probabilities(loaded: Load) -> None:
    s = rows()
    x = s.do("Gemm", features(s), s.random(5, C), s.random(5), transB=1)
    x = s.do("Softmax", x, axis=1)
    model = loaded(s, s.do("ReduceMean", s.reshape(x, -1, T, 5), axes=[1], keepdims=0))
    assert model.output == "probabilities"
    np.testing.assert_allclose(softmax(model.logits(CLIP), 1), model(CLIP), rtol=1e-5)
    frames = softmax(model.frame_logits(CLIP)[0], 1)
    np.testing.assert_allclose(frames.mean(0), model(CLIP)[0], rtol=1e-5)


@pytest.mark.parametrize("attrs", [{}, {"keepdims": 0}, {"keepdims": 0, "select_last_index": 1}])
@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
def test_a_class_index(op: str, attrs: Any, loaded: Load) -> None:
    s = rows()
    s.indices = [s.do(op, s.head(shifted(s)), axis=1, **attrs)]
    model = loaded(s, *s.indices)
    assert model.output == "class index"
    assert model(CLIP).shape == model.logits(CLIP).shape == (1, 5)


@pytest.mark.parametrize("largest", [0, 1])
def test_the_best_classes(largest: int, loaded: Load) -> None:
    s = rows()
    count = s.const(np.array([3]))
    values, index = s.do("TopK", s.head(shifted(s)), count, outs=2, largest=largest)
    s.indices = [index]
    model = loaded(s, values, index)
    assert model.output == "top classes"
    assert model.logits(CLIP).shape == (1, 5)


def test_probabilities_of_the_best_classes(loaded: Load) -> None:
    s = rows()
    chances = s.do("Softmax", s.head(shifted(s)), axis=1)
    values, index = s.do("TopK", chances, s.const(np.array([2])), outs=2)
    s.indices = [index]
    assert loaded(s, values, index).graph.scores.kind == "probabilities"


def test_the_maximum_over_time(loaded: Load) -> None:
    s = rows()
    x = s.do("Gemm", features(s), s.random(5, C), s.random(5), transB=1)
    model = loaded(s, s.do("ReduceMax", s.reshape(x, -1, T, 5), axes=[1], keepdims=0))
    assert model.graph.nodes[-1].attrs == {"over": "max"}
    np.testing.assert_array_equal(model.frame_logits(CLIP).max(1), model(CLIP))


def test_the_maximum_of_features_over_time(loaded: Load) -> None:
    s = rows()
    x = s.do("ReduceMax", s.reshape(features(s), -1, T, C), axes=[1], keepdims=0)
    model = loaded(s, s.do("Gemm", x, s.random(5, C), s.random(5), transB=1))
    assert [n.op for n in model.graph.nodes].count("MaxPool") == 1


def test_a_global_maximum(loaded: Load) -> None:
    s = rows()
    x = s.do("Flatten", s.do("GlobalMaxPool", shifted(s)))
    x = s.do("Gemm", x, s.random(5, C), s.random(5), transB=1)
    loaded(s, s.do("ReduceMean", s.reshape(x, -1, T, 5), axes=[1], keepdims=0))


@pytest.mark.parametrize("before", [True, False], ids=["features", "logits"])
def test_the_last_frame(before: bool, loaded: Load) -> None:
    s = rows()
    last = s.const(np.array(-1))
    if before:
        x = s.do("Gather", s.reshape(features(s), -1, T, C), last, axis=1)
        out = s.do("Gemm", x, s.random(5, C), s.random(5), transB=1)
    else:
        x = s.do("Gemm", features(s), s.random(5, C), s.random(5), transB=1)
        out = s.do("Gather", s.reshape(x, -1, T, 5), last, axis=1)
    model = loaded(s, out)
    assert model.graph.nodes[-1].attrs == {"over": "last"}
    np.testing.assert_allclose(model.frame_logits(CLIP)[:, -1], model(CLIP), rtol=1e-5, atol=1e-6)


def test_another_frame_is_refused(loaded: Load) -> None:
    s = rows()
    x = s.do("Gemm", features(s), s.random(5, C), s.random(5), transB=1)
    with pytest.raises(CheckpointError, match="no temporal shift and no known layout"):
        loaded(s, s.do("Gather", s.reshape(x, -1, T, 5), s.const(np.array(1)), axis=1))


@pytest.mark.parametrize("op", ["Mul", "Div"])
@pytest.mark.parametrize("after_mean", [True, False])
def test_a_factor_behind_the_pool(op: str, after_mean: bool, loaded: Load) -> None:
    """Paddle's dropout at inference, between the pool and the linear layer."""
    s = rows()
    x = s.reshape(features(s), -1, T, C)
    factor = s.const(np.array([0.8]))
    x = x if after_mean else s.do(op, x, factor)
    x = s.do("ReduceMean", x, axes=[1], keepdims=0)
    x = s.do(op, x, factor) if after_mean else x
    model = loaded(s, s.do("MatMul", x, s.random(C, 5)))
    assert model.graph.frame_logits is not None


# Several clips or crops of one video


def crops(s: Sketch) -> str:
    """Three clips of one video through the network: (3, 5)."""
    return s.head(shifted(s, s.reshape("x", -1, 3, 12, 12)))


@pytest.mark.parametrize("shape", [(1, 3 * T, 3, 12, 12), (3 * T, 3, 12, 12)])
def test_several_clips_are_averaged(shape: Any, loaded: Load) -> None:
    s = Sketch(shape)
    x = s.reshape(crops(s), 1, 3, 5)
    model = loaded(s, s.do("ReduceMean", x, axes=[1], keepdims=0))
    assert model.output == "logits"
    assert model(CLIP).shape == (1, 5)
    assert model.profile.sampling.segments == T


def test_a_softmax_of_the_mean_of_clips(loaded: Load) -> None:
    s = Sketch((1, 3 * T, 3, 12, 12))
    x = s.do("ReduceMean", s.reshape(crops(s), 1, 3, 5), axes=[1], keepdims=0)
    x = s.do("Softmax", x, axis=1)
    s.indices = [s.do("ArgMax", x, axis=1, keepdims=0)]
    assert loaded(s, x).output == "probabilities"
    assert loaded(s, *s.indices).output == "class index"


def test_a_mean_of_the_probabilities_of_clips(loaded: Load) -> None:
    s = Sketch((1, 3 * T, 3, 12, 12))
    x = s.reshape(s.do("Softmax", crops(s), axis=1), 1, 3, 5)
    model = loaded(s, s.do("ReduceMean", x, axes=[1], keepdims=0))
    assert model.output == "probabilities"
