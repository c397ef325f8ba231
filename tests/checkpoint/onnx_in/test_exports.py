"""Exports that went wrong, or were made in special ways: told by name, or read."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.checkpoint.onnx_in.sketch import C, Sketch, T
from tsm_ref import Model
from tsm_ref.checkpoint import load_checkpoint
from tsm_ref.errors import CheckpointError, NotStreamable
from tsm_ref.passes.streaming import FAR
from tsm_ref.profile import PROFILES, ShiftRule

Load = Callable[..., Model]


def behind(s: Sketch, x: str, frames: int = T) -> str:
    x = s.do("Conv", x, s.random(C, C, 1, 1))
    if frames == T:
        return s.head(x)
    x = s.do("Flatten", s.do("GlobalAveragePool", x))
    return str(s.do("Gemm", x, s.random(5, C), s.random(5), transB=1))


# Channels that are zero at all times


def dropped(s: Sketch, frames: int) -> str:
    """Zeros into which only the channels that stay were written: the rest of the shift is lost."""
    x = s.reshape(s.stem(), -1, frames, C, 144)
    zeros = s.const(np.zeros((1, frames, 2, 144)))
    return s.reshape(s.do("Concat", zeros, s.cut(x, 2, 2**31, 2), axis=2), -1, C, 12, 12)


def test_assignments_that_were_dropped_are_told_and_not_invented(loaded: Load) -> None:
    s = Sketch((T, 3, 12, 12))
    model = loaded(s, behind(s, dropped(s, T)))
    assert model.shifts[0].d.tolist() == [FAR, FAR, *[0] * 6]
    (warning,) = model.warnings
    assert "2 channels in front of 1 layers are zero at all times" in warning
    assert "2 x always zero" in model.summary()
    clip = np.random.default_rng(0).normal(size=(1, 3, T, 12, 12)).astype(np.float32)
    stream = model.stream()
    frames = [stream.step(np.ascontiguousarray(clip[:, :, t])) for t in range(T)]
    np.testing.assert_allclose(np.mean(frames, 0), model(clip), rtol=1e-5, atol=1e-6)


def test_one_frame_tells_no_direction(loaded: Load) -> None:
    s = Sketch((1, 3, 12, 12))
    model = loaded(s, behind(s, dropped(s, 1), 1))
    assert "one frame (T = 1)" in model.warnings[0]
    with pytest.raises(NotStreamable, match="made for one frame"):
        model.stream()


def test_one_frame_streams_under_a_profile(loaded: Load) -> None:
    s = Sketch((1, 3, 12, 12))
    profile = PROFILES["mit-online"].with_changes(shift=ShiftRule("online", 4))
    model = loaded(s, behind(s, dropped(s, 1), 1), profile=profile)
    assert model.shifts[0].d.tolist() == [1, 1, *[0] * 6]
    assert model.warnings == ()
    assert model.stream().delay == 0


def test_a_profile_that_moves_other_channels_is_refused(loaded: Load) -> None:
    s = Sketch((1, 3, 12, 12))
    with pytest.raises(CheckpointError, match="the profile asks for online"):
        loaded(s, behind(s, dropped(s, 1), 1), profile="mit-online")


# Training mode


def test_a_norm_in_training_mode_is_told(loaded: Load) -> None:
    s = Sketch((T, 3, 12, 12), 15)
    norm = [s.const(np.ones(C, np.float32)) for _ in range(4)]
    x, *_ = s.do("BatchNormalization", s.stem(), *norm, outs=3, training_mode=1)
    with pytest.raises(CheckpointError, match=r"in training mode; call model.eval\(\)"):
        loaded(s, behind(s, x))


def test_a_dropout_in_training_mode_is_told(loaded: Load) -> None:
    s = Sketch((T, 3, 12, 12))
    x = s.do("Dropout", s.stem(), s.const(np.float32(0.5)), s.const(np.array(True)))
    with pytest.raises(CheckpointError, match=r"drops values at random.*in training mode"):
        loaded(s, behind(s, x))


# Files that a runtime has optimised


@pytest.mark.parametrize(
    ("activation", "params"),
    [
        ("Relu", ()),
        ("Tanh", ()),
        ("Sigmoid", ()),
        ("LeakyRelu", (0.1,)),
        ("Clip", (-0.5, 0.75)),
        ("HardSigmoid", (0.3, 0.4)),
    ],
)
@pytest.mark.parametrize("residual", [False, True])
def test_a_convolution_with_its_activation(
    activation: str, params: Any, residual: bool, loaded: Load
) -> None:
    """Beside the same network of plain ops, which the evaluator of the onnx package judges."""
    answers = []
    clip = np.random.default_rng(1).normal(size=(1, 3, T, 12, 12)).astype(np.float32)
    weight = np.random.default_rng(2).normal(size=(C, 3, 3, 3)) / 5
    head = np.random.default_rng(4).normal(size=(5, C)) / 3
    for fused in (True, False):
        s = Sketch((T, 3, 12, 12))
        w, pads = s.const(weight), [1, 1, 1, 1]
        z = s.do("Conv", "x", w, pads=pads)
        more = [s.const(np.zeros(C)), z] if residual else []
        if fused:
            named = {"activation": activation, "activation_params": list(params)}
            named = named if params else {"activation": activation}
            x = s.do("FusedConv", "x", w, *more, pads=pads, domain="com.microsoft", **named)
        else:
            x = s.do("Conv", "x", w, pads=pads)
            x = s.do("Add", x, z) if residual else x
            limits = [s.const(np.float32(v)) for v in params] if activation == "Clip" else []
            names = ("alpha", "beta") if not limits else ()
            x = s.do(activation, x, *limits, **dict(zip(names, params, strict=False)))
        x = s.do("Flatten", s.do("GlobalAveragePool", x))
        x = s.do("Gemm", x, s.const(head), transB=1)
        out = s.do("ReduceMean", s.reshape(x, -1, T, 5), axes=[1], keepdims=0)
        answers.append(loaded(s, out, judged=not fused)(clip))
    np.testing.assert_allclose(*answers, rtol=1e-5, atol=1e-6)


def test_a_layout_for_one_machine_is_refused_with_the_way_out(loaded: Load) -> None:
    s = Sketch((T, 3, 12, 12))
    x = s.do("ReorderInput", s.stem(), domain="com.microsoft.nchwc")
    with pytest.raises(CheckpointError, match="optimised for one machine; give the original"):
        loaded(s, behind(s, x), judged=False)


def test_a_cast_like_another_value(loaded: Load) -> None:
    s = Sketch((T, 3, 12, 12), 15)
    x = s.do("CastLike", s.stem(), s.const(np.float32(0)))
    half = s.do("CastLike", s.const(np.float32(0.5)), x)
    loaded(s, behind(s, s.do("Mul", x, half)))


# States


def test_a_state_without_an_axis_of_clips(loaded: Load) -> None:
    """Buffers (C, H, W) beside a frame (1, 3, H, W), as apps for phones have them."""
    s = Sketch((1, 3, 12, 12))
    s.inputs["state"] = (2, 12, 12)
    x = s.stem()
    kept = s.do("Squeeze", s.cut(x, 0, 2, 1), s.const(np.array([0])))
    past = s.do("Unsqueeze", "state", s.const(np.array([0])))
    y = s.do("Concat", past, s.cut(x, 2, 2**31, 1), axis=1)
    y = s.do("Flatten", s.do("GlobalAveragePool", s.do("Conv", y, s.random(C, C, 1, 1))))
    model = loaded(s, s.do("Gemm", y, s.random(5, C), s.random(5), transB=1), kept)
    assert model.shifts[0].d.tolist() == [1, 1, *[0] * 6]
    stream, state = model.stream(), np.zeros((2, 12, 12), np.float32)
    frames = np.random.default_rng(5).normal(size=(3, 1, 3, 12, 12)).astype(np.float32)
    for frame in frames:
        made = model.run({"x": frame, "state": state})
        state = made[kept]
        (logits,) = (v for k, v in made.items() if k != kept)
        np.testing.assert_allclose(stream.step(frame), logits, rtol=1e-5, atol=1e-6)


# What a file may cost


def chain(count: int) -> Any:
    s = Sketch((1, 3, 8, 8))
    x = "x"
    for _ in range(count):
        x = s.do("Relu", x)
    return s.model(x)


def test_a_small_file_asks_for_little_memory(loaded: Load) -> None:
    """Frames of 1024 x 1024 whose channels are exchanged, by numbers of 200 MB."""
    s = Sketch((1, 8, 3, 1024, 1024))
    x = s.reshape("x", 8, 3, 1024, 1024)
    x = s.do("Concat", s.cut(x, 1, 3, 1), s.cut(x, 0, 1, 1), axis=1)
    with pytest.raises(CheckpointError, match=r"is more than the 8[0-9]{6} values accepted"):
        loaded(s, behind(s, s.do("Conv", x, s.random(C, 3, 3, 3))), judged=False)


def test_many_nodes_are_no_matter(tmp_path: Any) -> None:
    path = tmp_path / "chain.onnx"
    path.write_bytes(chain(3000).SerializeToString())
    assert len(load_checkpoint(path).graph.nodes) == 3000
