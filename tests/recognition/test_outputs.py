"""Files that end in a softmax, or pick a class, are recognised as the same network without it."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tsm_ref
from tests.checkpoint.onnx_in.sketch import C, Sketch, T
from tsm_ref.checkpoint import weights_folder

CLIP = weights_folder() / "samples" / "pan_left.mp4"
ENDS = {
    "Softmax": "probabilities",
    "LogSoftmax": "log-probabilities",
    "ArgMax": "class index",
    "": "logits",
}


def recognised(path: Path, end: str) -> tsm_ref.Model:
    """One network, whose weights are the same for every end."""
    draw = np.random.default_rng(6)
    s = Sketch((T, 3, 16, 16))
    x = s.do("Conv", "x", s.const(draw.normal(size=(C, 3, 3, 3)) / 3), pads=[1, 1, 1, 1])
    x = s.do("Flatten", s.do("GlobalAveragePool", s.do("Relu", x)))
    x = s.do("Gemm", x, s.const(draw.normal(size=(5, C))), transB=1)
    x = s.do("ReduceMean", s.reshape(x, -1, T, 5), axes=[1], keepdims=0)
    if end:
        x = s.do(end, x, axis=1)
    s.indices = [x] if end == "ArgMax" else []
    path.write_bytes(s.model(x).SerializeToString())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tsm_ref.load(path, engine="numpy")


@pytest.mark.parametrize("end", ENDS)
def test_a_softmax_in_the_file_is_not_done_again(end: str, tmp_path: Path) -> None:
    plain, other = (recognised(tmp_path / f"{e}.onnx", e).recognize(CLIP) for e in ("", end))
    assert other.model.output == ENDS[end]
    for ours, theirs in zip(plain.predictions, other.predictions, strict=True):
        assert ours.index == theirs.index
        assert ours.probability == pytest.approx(theirs.probability, rel=1e-6)


def test_each_class_on_its_own(tmp_path: Path) -> None:
    """A sigmoid per class: the probabilities do not sum to one."""
    model = recognised(tmp_path / "s.onnx", "Sigmoid")
    result: Any = model.recognize(CLIP)
    assert model.output == "independent probabilities"
    for found in result.predictions:
        assert found.probability == pytest.approx(1 / (1 + np.exp(-found.logit)), rel=1e-6)
