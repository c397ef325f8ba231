"""PP-TSMv2: the imported graph computes what an independent forward pass does."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoint import frame_networks as nets
from tests.checkpoint.tensors.test_networks import write
from tsm_ref.checkpoint import load_checkpoint
from tsm_ref.checkpoint.facts import Facts
from tsm_ref.checkpoint.tensors.names import translate
from tsm_ref.checkpoint.tensors.networks import network_for, stored_shape
from tsm_ref.engine import make_engine
from tsm_ref.engine.oracle import run_oracle, run_with_bound
from tsm_ref.errors import CheckpointError
from tsm_ref.models.pp_lcnet import FIXED
from tsm_ref.profile import PROFILES, Sampling, ShiftRule

DEPTHS = (1, 2, 2, 2)
FORM = {"scale": 0.25, "hidden": 24, "classes": 5}


def tensors(attention: int = 0) -> dict[str, Any]:
    """Random tensors with which all parts matter: gates far from 0 and 1, features far from 0."""
    made = nets.drawn(nets.lcnet_shapes(DEPTHS, attention=attention, **FORM), seed=11)
    for name, values in made.items():
        if name.endswith(".bn.weight"):
            values += 1
        elif name.endswith("_variance"):
            made[name] = np.abs(values) + np.float32(0.3)
        elif "global_attention" in name:
            values *= 3
    return made


CASES = {
    "8 frames": ("PPTSMv2_k400_8f.pdparams", 8, 0),
    "16 frames": ("PPTSMv2_k400_16f.pdparams", 16, 0),
    "attention over 8 frames": ("PPTSMv2_x.pdparams", 8, 8),
    "attention over 16 frames": ("PPTSMv2_k400_16f_dml_student.pdparams", 16, 16),
}


@pytest.mark.parametrize("name", CASES)
def test_the_graph_computes_what_the_network_does(name: str, tmp_path: Path) -> None:
    file, frames, attention = CASES[name]
    made = tensors(attention)
    found = load_checkpoint(write(tmp_path, file, made))
    clips = np.random.default_rng(1).normal(size=(2, frames, 3, 70, 90))
    weights = {key: value.astype(np.float64) for key, value in found.weights.items()}
    for key in set(FIXED) & set(weights):  # 0.8 is no float32
        weights[key] = np.round(weights[key], 7)
    ours = run_oracle(found.graph, weights, {"x": clips.swapaxes(1, 2)})["consensus"]
    theirs = np.array([nets.lcnet(clip, made, DEPTHS, 1 / frames) for clip in clips])
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * np.abs(theirs).max())
    backwards = [nets.lcnet(clip[::-1], made, DEPTHS, 1 / frames) for clip in clips]
    assert np.abs(theirs - backwards).max() > 1e-3 * np.abs(theirs).max()  # time matters


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_an_engine_stays_within_the_bound(engine: str, tmp_path: Path) -> None:
    found = load_checkpoint(write(tmp_path, "PPTSMv2_x_8f.pdparams", tensors(8)))
    x = {"x": np.random.default_rng(2).normal(size=(1, 3, 8, 33, 41)).astype(np.float32)}
    bound = run_with_bound(found.graph, found.weights, x, 2**-24)["consensus"]
    y = make_engine(found.graph, found.weights, engine).run(x)["consensus"]
    assert (np.abs(y - bound.value) <= bound.tolerance()).all()


@pytest.mark.parametrize(("frames", "attention"), [(8, 0), (16, 16)])
def test_every_tensor_of_the_full_size_has_its_place(frames: int, attention: int) -> None:
    """But for the window that is made of its branches, which only inference reads."""
    theirs = nets.lcnet_shapes(attention=attention)
    found = translate(theirs)
    shapes = {ours: theirs[name] for ours, name in found.names.items()}
    meant = PROFILES["paddle"].with_changes(
        sampling=Sampling("paddle", frames), shift=ShiftRule("paddle", frames)
    )
    network = network_for(shapes, meant, found, Facts())
    graph = network.graph
    wanted = {name: s for name, s in graph.parameters.items() if name not in network.fixed}
    assert {name: stored_shape(name, s, found) for name, s in wanted.items()} == shapes
    unread = set(theirs) - set(found.names.values())
    assert unread == {
        f"backbone.stages.{stage}.{i}.dw_conv.{role}"
        for stage, depth in ((2, 6), (3, 2))
        for i in range(depth)
        for role in ("weight", "bias")
    }
    (shift,) = graph.select("TemporalShift")
    fold = 256 // frames
    assert shift.attrs["d"] == (1,) * fold + (-1,) * fold + (0,) * (256 - 2 * fold)
    assert graph.name == "tsm-pp-lcnet"


# What the files mean


@pytest.mark.parametrize("name", CASES)
def test_the_profile_of_a_file(name: str, tmp_path: Path) -> None:
    file, frames, attention = CASES[name]
    profile = load_checkpoint(write(tmp_path, file, tensors(attention))).profile
    assert (profile.sampling.segments, profile.sampling.policy) == (frames, "paddle")
    assert profile.shift == ShiftRule("paddle", frames)


def test_a_file_that_does_not_say_tsm_needs_a_profile(tmp_path: Path, refused: Any) -> None:
    path = write(tmp_path, "best.pdparams", tensors())
    with refused(CheckpointError, "do not say whether and how", "give a profile"):
        load_checkpoint(path)
    still = load_checkpoint(path, PROFILES["tsn"]).graph
    assert (still.name, list(still.select("TemporalShift"))) == ("tsn-pp-lcnet", [])


def test_an_attention_over_other_frames_than_are_sampled(tmp_path: Path, refused: Any) -> None:
    path = write(tmp_path, "PPTSMv2_best.pdparams", tensors(16))
    with refused(CheckpointError, "weighs 16 frames, and 8 are sampled", "_16f"):
        load_checkpoint(path)
    paddle = PROFILES["paddle"]
    sampling = replace(paddle.sampling, segments=16)
    assert load_checkpoint(path, paddle.with_changes(sampling=sampling)).graph


# What does not fit


def test_what_is_missing_is_counted(tmp_path: Path, refused: Any) -> None:
    made = tensors(8)
    for name in ("stages.2.0.dw_conv_list.1", "stages.2.0.pw_conv_2", "stages.3.1.pw_conv"):
        del made[f"backbone.{name}.bn._mean"]
    del made["backbone.global_attention.fc.weight"]
    made["backbone.extra"] = np.ones(3, np.float32)
    words = (
        "4 tensors are missing ('attention.fc.weight', 'stages.2.0.",
        "1 tensor is not expected ('backbone.extra')",
    )
    with refused(CheckpointError, *words):
        load_checkpoint(write(tmp_path, "PPTSMv2_8f.pdparams", made))


def test_what_has_another_shape_is_counted(tmp_path: Path, refused: Any) -> None:
    made = tensors(8)
    made["backbone.stages.2.1.dw_conv_list.2.conv.weight"] = np.ones((128, 1, 3, 3), np.float32)
    made["backbone.global_attention.fc.weight"] = np.ones((8, 9), np.float32)
    made["backbone.fc.bias"] = np.ones(6, np.float32)
    with refused(CheckpointError, "3 tensors have another shape", "'backbone."):
        load_checkpoint(write(tmp_path, "PPTSMv2_8f.pdparams", made))


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("backbone.stem.0.conv.weight", (1024, 3, 3, 3), "make no PP-LCNetV2: `width` (=32.0)"),
        ("backbone.stem.0.conv.weight", (), "'backbone.stem.0.conv.weight' is (), not"),
        ("backbone.last_conv.weight", (), "tensors have another shape"),
        ("backbone.fc.weight", (), "'fc.weight' is missing or not (classes, features)"),
        ("backbone.global_attention.fc.bias", (), "'backbone.global_attention.fc.weight'"),
    ],
)
def test_tensors_that_make_no_network(
    name: str, shape: tuple[int, ...], words: str, tmp_path: Path, refused: Any
) -> None:
    made = tensors(8) | {name: np.ones(shape, np.float32)}
    with refused(CheckpointError, words):
        load_checkpoint(write(tmp_path, "PPTSMv2_8f.pdparams", made))


def test_a_shift_in_front_of_every_block_is_refused(tmp_path: Path, refused: Any) -> None:
    path = write(tmp_path, "PPTSMv2_8f.pdparams", tensors())
    with refused(CheckpointError, "shifts in front of its third stage"):
        load_checkpoint(path, PROFILES["paddle"].with_changes(placement="block"))
