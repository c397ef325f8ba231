"""The committed files of exporters and trainers: what is read computes what plain NumPy does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tsm_ref
from tests.data import make, onnx_exports
from tsm_ref.checkpoint import load_checkpoint
from tsm_ref.engine.oracle import run_with_bound
from tsm_ref.errors import CheckpointError
from tsm_ref.profile import PROFILES

ANSWERS = np.load(make.HERE / "answers.npz")
CLIP = make.CLIP.transpose(1, 0, 2, 3)[None]
CLIPS = onnx_exports.CLIPS.transpose(0, 2, 1, 3, 4)


def used(name: str, clip: Any, **options: Any) -> float:
    """The error of the NumPy engine, as a multiple of what its rounding explains."""
    model = tsm_ref.load(make.HERE / name, engine="numpy", **options)
    (entry,), (value,) = model.graph.inputs, model.graph.outputs
    bound = run_with_bound(model.graph, model.weights, {entry.name: clip}, 2**-24)[value]
    expected = ANSWERS[name].reshape(bound.value.shape)
    return float((np.abs(model(clip) - expected) / bound.tolerance()).max())


@pytest.mark.parametrize("name", onnx_exports.FORMS)
def test_a_shift_is_lifted_whatever_it_is_written_as(name: str) -> None:
    form = onnx_exports.FORMS[name]
    assert used(f"{name}.onnx", CLIPS) < 1
    shifts = tsm_ref.load(make.HERE / f"{name}.onnx", engine="numpy").shifts
    wanted = [(form.d, form.fill)] if any(form.d) else []
    assert [(shift.d.tolist(), shift.fill) for shift in shifts] == wanted


def test_a_file_that_takes_its_state_is_a_stream() -> None:
    model = tsm_ref.load(make.HERE / "onnx-online.onnx", engine="numpy")
    expected = ANSWERS["onnx-online.onnx"]
    for clip, answer in zip(onnx_exports.CLIPS, expected, strict=True):
        state = np.zeros((1, onnx_exports.F, onnx_exports.SIDE, onnx_exports.SIDE), np.float32)
        logits = []
        for frame in clip:
            made = model.run({"input": frame[None], "state": state})
            state = made["kept"]
            logits.append(made["logits"][0])
        np.testing.assert_allclose(np.mean(logits, 0), answer, atol=1e-5)


def test_a_broken_export_is_refused() -> None:
    with pytest.raises(CheckpointError, match="no longer depends on the input"):
        load_checkpoint(make.HERE / "onnx-broken.onnx")


@pytest.mark.parametrize(("name", "family"), make.TENSORS.items())
def test_names_tell_the_network_and_its_shift(name: str, family: str) -> None:
    assert used(name, CLIP, profile=family) < 1
    rule = load_checkpoint(make.HERE / name, PROFILES[family]).profile.shift.rule
    assert rule == ("paddle" if family == "paddle" else "mit")


def test_a_whole_model_of_keras() -> None:
    assert used(make.KERAS, CLIP) < 1


def test_the_files_are_those_that_the_script_writes(tmp_path: Path) -> None:
    """Their numbers, not their bytes: libraries lay out the same file in their own ways."""
    make.write(tmp_path)
    kinds = {".onnx", ".tar", ".pth", ".safetensors", ".pdparams", ".h5", ".npz"}
    committed = {path.name for path in make.HERE.iterdir() if path.suffix in kinds}
    assert committed == {path.name for path in tmp_path.iterdir()}
    for name in ANSWERS:
        options = (PROFILES[make.TENSORS[name]],) if name in make.TENSORS else ()
        old, new = (load_checkpoint(folder / name, *options) for folder in (make.HERE, tmp_path))
        assert old.graph == new.graph
        for parameter, value in old.weights.items():
            np.testing.assert_array_equal(value, new.weights[parameter])
    with np.load(tmp_path / "answers.npz") as again:
        for name, value in ANSWERS.items():
            np.testing.assert_allclose(value, again[name], rtol=1e-9)
