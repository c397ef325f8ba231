"""What a weight file of Keras does not say, and who says it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoint.keras.test_networks import LAYOUTS
from tests.checkpoint.keras_writer import save_model
from tsm_ref.checkpoint import load_checkpoint
from tsm_ref.checkpoint.keras.layers import stored_shapes
from tsm_ref.checkpoint.keras.networks import CREATED
from tsm_ref.errors import CheckpointError
from tsm_ref.models import build_ts_can
from tsm_ref.profile import PROFILES, ShiftRule


def values_of_ts_can() -> dict[str, Any]:
    """Weights under the names that the code of TS-CAN makes."""
    graph = build_ts_can(filters=(4, 8), hidden=6)
    convs = ["conv2d", *(f"conv2d_{i}" for i in range(1, 10))]
    names = dict(zip(CREATED, convs, strict=True)) | {"dense1": "dense", "dense2": "dense_1"}
    roles = {"weight": "kernel", "bias": "bias"}
    rng = np.random.default_rng(0)
    values = {}
    for name, shape in stored_shapes(graph).items():
        layer, _, role = name.rpartition(".")
        values[f"{names[layer]}/{roles[role]}"] = rng.normal(size=shape).astype(np.float32)
    return values


def test_the_frame_depth_is_assumed_or_told(tmp_path: Path) -> None:
    values = values_of_ts_can()
    path = LAYOUTS["Keras 2"](tmp_path / "w.h5", values)
    assumed = load_checkpoint(path, PROFILES["mtts-can"])
    assert "this is assumed: --frame-depth 10 " in assumed.warnings[0]
    told = load_checkpoint(path, PROFILES["mtts-can"], {"frame_depth": 10})
    assert told.warnings == ()
    assert told.graph == assumed.graph
    assert next(str(fact) for fact in told.facts) == "frame_depth 10 (the option)"


def whole(*calls: Any) -> str:
    """A network whose layers of the kind TSM are called so; the rest is known by its weights."""
    layers = [
        {"class_name": "TSM", "config": {"name": f"tsm_{i}"}, "inbound_nodes": [call]}
        for i, call in enumerate(calls)
    ]
    return json.dumps({"class_name": "Functional", "config": {"layers": layers}})


OLD = [["input_1", 0, 0, {"n_frame": 20}]]
TENSOR = {"class_name": "__keras_tensor__", "config": {"keras_history": ["input_1", 0, 0]}}
NEW = {"args": [TENSOR, 20], "kwargs": {}}


@pytest.mark.parametrize("call", [OLD, NEW], ids=["Keras 2", "Keras 3"])
def test_a_whole_model_tells_the_frames_of_its_shift(tmp_path: Path, call: Any) -> None:
    path = save_model(tmp_path / "m.h5", values_of_ts_can(), whole(call, call))
    found = load_checkpoint(path)
    assert found.graph == build_ts_can(
        filters=(4, 8), hidden=6, shift=ShiftRule("mtts_can", 3, segment=20)
    )
    assert next(map(str, found.facts)) == "frame_depth 20 (the file (model_config))"
    (warning,) = found.warnings
    assert warning.startswith("the file names its layers TSM and does not hold their code")
    named = load_checkpoint(path, PROFILES["mtts-can"])
    assert (named.graph, named.warnings) == (found.graph, ())


def test_a_whole_model_that_contradicts_itself_or_an_option(tmp_path: Path, refused: Any) -> None:
    other = [["input_1", 0, 0, {"n_frame": 10}]]
    path = save_model(tmp_path / "m.h5", values_of_ts_can(), whole(OLD, other))
    with refused(CheckpointError, "have the n_frame 20 and 10"):
        load_checkpoint(path)
    path = save_model(tmp_path / "n.h5", values_of_ts_can(), whole(OLD))
    with refused(CheckpointError, "frame_depth is 20, and the option says 10"):
        load_checkpoint(path, options={"frame_depth": 10})


def test_a_layer_whose_code_is_not_known_needs_a_profile(tmp_path: Path, refused: Any) -> None:
    """Nothing in its call tells the frames, so that it need not be MTTS-CAN's."""
    path = save_model(tmp_path / "m.h5", values_of_ts_can(), whole([["input_1", 0, 0, {}]]))
    with refused(CheckpointError, "whose code is not in the file: give a profile"):
        load_checkpoint(path)
