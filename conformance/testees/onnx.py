"""ONNX models as a testee: one model per operation, named after it.

``onnx:temporal_shift.onnx`` is one operation, ``onnx:models/`` a folder of them. Inputs and outputs
go by order: data first, then weights in the order of the case. The model's metadata may hold
``operation``, ``layout``, ``profile`` and ``attributes`` (JSON: what was fixed when it was
exported); a call with other attributes is unsupported. Runs on onnxruntime where that is installed,
and on ONNX's own slow evaluator otherwise.
"""

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from conformance.questions.arrays import Array, native
from tsm_ref.errors import MissingDependency, UsageError


class OnnxModels:
    """Every model of a file or folder as a callable under the name of its operation."""

    def __init__(self, path: Path) -> None:
        files = sorted(path.glob("*.onnx")) if path.is_dir() else [path]
        if not files or not files[0].is_file():
            raise UsageError(f"there is no ONNX model at {str(path)!r}")
        self._models = {model.operation: model for model in map(OnnxModel, files)}
        first = next(iter(self._models.values()))
        self.declaration = {
            "name": path.name,
            "language": f"ONNX on {first.runtime}",
            "profile": first.metadata.get("profile", "mit"),
            "capabilities": {
                "layout": first.metadata.get("layout", "NCTHW"),
                "streaming": False,
            },
        }

    def __getattr__(self, name: str) -> Any:
        models = self.__dict__.get("_models", {})
        if name not in models:
            raise AttributeError(name)
        return models[name]


class OnnxModel:
    """One model as a callable over NumPy arrays."""

    def __init__(self, path: Path) -> None:
        try:
            import onnx
        except ImportError:
            raise MissingDependency("onnx", "run an ONNX model") from None
        try:
            model = onnx.load(path)
            onnx.checker.check_model(model)
        except Exception as error:
            raise UsageError(f"{path} is no ONNX model: {_line(error)}") from None
        self.metadata = {entry.key: entry.value for entry in model.metadata_props}
        self.operation = self.metadata.get("operation", path.stem)
        self.fixed: Mapping[str, Any] = json.loads(self.metadata.get("attributes", "{}"))
        known = {tensor.name for tensor in model.graph.initializer}
        self.inputs = [value.name for value in model.graph.input if value.name not in known]
        self.runtime, self._run = _runner(path, model)

    def __call__(
        self, *arrays: Array, weights: Mapping[str, Array] | None = None, **rest: Any
    ) -> Any:
        """The first output; ValueError for attributes other than those of the export."""
        data = [*arrays, *(v for v in rest.values() if isinstance(v, np.ndarray))]
        data += list((weights or {}).values())
        attributes = {k: v for k, v in rest.items() if not isinstance(v, np.ndarray)}
        for name, value in attributes.items():
            if name in self.fixed and self.fixed[name] != value:
                raise NotImplementedError(
                    f"the model was exported for `{name}` = {self.fixed[name]!r}, not {value!r}"
                )
        if len(data) != len(self.inputs):
            raise ValueError(f"the model has the inputs {self.inputs}; {len(data)} were given")
        return self._run(dict(zip(self.inputs, map(native, data), strict=True)))


def _runner(path: Path, model: Any) -> tuple[str, Any]:
    try:
        onnxruntime = import_module("onnxruntime")
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(model)
        return "the ONNX reference evaluator", lambda inputs: _first(evaluator.run(None, inputs))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return "onnxruntime", lambda inputs: _first(session.run(None, inputs))


def _first(outputs: Any) -> Any:
    return outputs[0]


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
