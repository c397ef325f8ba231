"""What a weight file of Keras does not say, and who says it."""

from pathlib import Path

import numpy as np

from tests.checkpoint.keras.test_networks import LAYOUTS
from tsm_ref.checkpoint import load_checkpoint
from tsm_ref.checkpoint.keras.layers import stored_shapes
from tsm_ref.checkpoint.keras.networks import CREATED
from tsm_ref.models import build_ts_can
from tsm_ref.profile import PROFILES


def test_the_frame_depth_is_assumed_or_told(tmp_path: Path) -> None:
    graph = build_ts_can(filters=(4, 8), hidden=6)
    convs = ["conv2d", *(f"conv2d_{i}" for i in range(1, 10))]
    names = dict(zip(CREATED, convs, strict=True)) | {"dense1": "dense", "dense2": "dense_1"}
    roles = {"weight": "kernel", "bias": "bias"}
    rng = np.random.default_rng(0)
    values = {}
    for name, shape in stored_shapes(graph).items():
        layer, _, role = name.rpartition(".")
        values[f"{names[layer]}/{roles[role]}"] = rng.normal(size=shape).astype(np.float32)
    path = LAYOUTS["Keras 2"](tmp_path / "w.h5", values)
    assumed = load_checkpoint(path, PROFILES["mtts-can"])
    assert "this is assumed: --frame-depth 10 " in assumed.warnings[0]
    told = load_checkpoint(path, PROFILES["mtts-can"], {"frame_depth": 10})
    assert told.warnings == ()
    assert told.graph == assumed.graph
    assert next(str(fact) for fact in told.facts) == "frame_depth 10 (the option)"
