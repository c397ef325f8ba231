"""What the tests of this room share: the import of a sketch beside ONNX's own, and refusals."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

import tsm_ref
from tests.checkpoint.onnx_in.sketch import RNG, Sketch
from tsm_ref.checkpoint import Checkpoint, load_checkpoint
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.engine.oracle import run_with_bound
from tsm_ref.errors import CheckpointError


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., Checkpoint]:
    """Import the sketch, and compare what it computes with the evaluator of the onnx package."""

    def run(sketch: Sketch, output: str, **open_sizes: int) -> Checkpoint:
        model = sketch.model(output)
        path = tmp_path / "sketch.onnx"
        path.write_bytes(model.SerializeToString())
        found = load_checkpoint(path)
        given = {
            name: RNG.normal(size=[open_sizes.get(str(d), d) for d in shape]).astype(np.float32)
            for name, shape in sketch.inputs.items()
        }
        (expected,) = ReferenceEvaluator(model).run(None, given)
        x = {view.value: view.to_graph(given[view.name]) for view in found.inputs}
        (view,) = found.outputs
        y = view.to_file(NumpyEngine(found.graph, found.weights).run(x)[view.value])
        bound = run_with_bound(found.graph, found.weights, x, 2**-24)[view.value]
        assert y.shape == expected.shape
        assert (np.abs(y - expected) <= 2 * view.to_file(bound.tolerance()) + 1e-7).all()
        return found

    return run


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[..., tsm_ref.Model]:
    """Load the sketch as a model, whose `run` gives what the evaluator of the onnx package does."""

    def run(
        sketch: Sketch,
        *outputs: str,
        takes: int = TensorProto.FLOAT,
        judged: bool = True,
        **options: Any,
    ) -> tsm_ref.Model:
        file = sketch.model(*outputs, takes=takes)
        path = tmp_path / "sketch.onnx"
        path.write_bytes(file.SerializeToString())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are in `Model.warnings`, too
            model = tsm_ref.load(path, engine="numpy", **options)
        given = {}
        if not judged:
            return model
        for name, shape in sketch.inputs.items():
            x = RNG.normal(size=[2 if isinstance(d, str) else d for d in shape])
            whole = takes == TensorProto.UINT8
            given[name] = (60 * x + 128).clip(0, 255).astype(np.uint8) if whole else np.float32(x)
        expected = ReferenceEvaluator(file).run(None, given)
        for name, value in zip(outputs, expected, strict=True):
            found = model.run(given)[name]
            assert found.shape == value.shape
            np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-5)
        return model

    return run


@pytest.fixture
def written(tmp_path: Path) -> Callable[[onnx.ModelProto], Path]:
    def write(model: onnx.ModelProto) -> Path:
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return write


@pytest.fixture
def wrong(written: Any, refused: Any) -> Callable[..., None]:
    """This model must be refused with these words."""

    def check(model: onnx.ModelProto, *words: str) -> None:
        with refused(CheckpointError, *words):
            load_checkpoint(written(model))

    return check
