"""ONNX's backend interface over our importer and engines, so that ONNX's own tests can judge them.

A node test feeds one op with everything, weights included, as inputs. Here an input is data where a
layer of ours computes with it, and a constant everywhere else; what has only constants is folded as
the importer folds it. Data of any rank is laid out as the importer understands it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.backend.base import Backend, BackendRep

from tsm_ref.checkpoint.onnx_in.evaluate import evaluate
from tsm_ref.checkpoint.onnx_in.guard import DOMAINS, FIRST_OPSET, FLOAT_TYPES, OnnxModel, model_of
from tsm_ref.checkpoint.onnx_in.load import SUPPORTED
from tsm_ref.checkpoint.onnx_in.moves import FOLDS, MOVES
from tsm_ref.checkpoint.onnx_in.tensors import DTYPES
from tsm_ref.engine import make_engine

__all__ = ["TsmBackend", "TsmBackendRep", "prepare", "run_model", "supports_device", "unsupported"]

Array = NDArray[Any]
Shapes = Mapping[str, tuple[int, ...]]
Form = Callable[[NodeProto, Mapping[str, Any], Shapes], bool]


class TsmBackendRep(BackendRep):
    """A checked model, which is imported anew for the inputs of every run."""

    def __init__(self, model: OnnxModel, engine: str) -> None:
        self.model = model
        self.engine = engine

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Array, ...]:
        """The outputs for inputs in the order of the model, or by name.

        Raises `CheckpointError` for a model that is not understood.
        """
        if not isinstance(inputs, Mapping):
            values = inputs if isinstance(inputs, Sequence) else [inputs]
            inputs = dict(zip((name for name, _ in self.model.inputs), values, strict=False))
        given = {name: _plain(value) for name, value in inputs.items()}

        def run(graph: Any, weights: Any, clips: Any) -> Mapping[str, Array]:
            return make_engine(graph, weights, self.engine).run(clips)

        return tuple(evaluate(self.model, given, run))


class TsmBackend(Backend):
    """`onnx.backend.base.Backend`: our NumPy or Numba engine on the CPU."""

    @classmethod
    def is_compatible(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """True where `unsupported` finds nothing."""
        return cls.supports_device(device) and not unsupported(model)

    @classmethod
    def prepare(
        cls, model: ModelProto, device: str = "CPU", engine: str = "numpy", **kwargs: Any
    ) -> TsmBackendRep:
        """Check a model; raises `CheckpointError` for an op that is not supported."""
        return TsmBackendRep(model_of(model, SUPPORTED, types=tuple(DTYPES)), engine)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """True for the CPU."""
        return device == "CPU"


prepare = TsmBackend.prepare
run_model = TsmBackend.run_model
supports_device = TsmBackend.supports_device


def _plain(value: Any) -> Array:
    """An input as an array; bfloat16 is widened."""
    array = numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def unsupported(model: ModelProto) -> str:
    """The op of a model that is not supported, or its form that is not; empty where all are.

    >>> node = helper.make_node("Softmax", ["x"], ["y"], axis=0)
    >>> x, y = (helper.make_tensor_value_info(n, 1, [2, 3]) for n in "xy")
    >>> unsupported(helper.make_model(helper.make_graph([node], "g", [x], [y])))
    'Softmax along the first axis'
    """
    graph = model.graph
    values = [*graph.input, *graph.output]
    kinds = {v.name: v.type.tensor_type.elem_type for v in values}
    shapes = {
        v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim)
        for v in values
        if v.type.WhichOneof("value") == "tensor_type"
    }
    versions = [entry.version for entry in model.opset_import if entry.domain in DOMAINS]
    for node in graph.node:
        op = str(node.op_type)
        if op not in SUPPORTED or node.domain not in DOMAINS:
            return op
        if min(versions) < FIRST_OPSET:
            return f"{op} before opset {FIRST_OPSET}"
        if len(shapes) < len(kinds) or not set(kinds.values()) <= set(DTYPES):
            return f"{op} of texts, complex numbers, small types, or what is no tensor"
        folds = op in FOLDS or op in MOVES
        if not folds and any(kinds.get(n, 1) not in FLOAT_TYPES for n in node.input[:1]):
            return f"{op} of integers"
        if op == "CastLike" and kinds.get(node.input[1]) == TensorProto.BFLOAT16:
            return f"{op} to bfloat16"
        attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        for words, form in FORMS.get(op, ()):
            if form(node, attrs, shapes):
                return f"{op} {words}"
    return ""


def _rank(node: NodeProto, place: int, shapes: Shapes) -> int:
    return len(shapes.get(node.input[place], ())) if len(node.input) > place else 0


def _reduces(node: NodeProto, attrs: Mapping[str, Any], shapes: Shapes) -> bool:
    return bool(attrs.get("reduction", b"none") != b"none")


def _empty(node: NodeProto, attrs: Mapping[str, Any], shapes: Shapes) -> bool:
    return 0 in shapes.get(node.input[0], ())


FORMS: Mapping[str, tuple[tuple[str, Form], ...]] = {
    "AveragePool": (("with dilations", lambda n, a, s: max(a.get("dilations", [1])) > 1),),
    "BatchNormalization": (("in training", lambda n, a, s: bool(a.get("training_mode"))),),
    "Cast": (("to bfloat16", lambda n, a, s: a.get("to") == TensorProto.BFLOAT16),),
    "Dropout": (
        ("in training", lambda n, a, s: len(n.input) > 2),
        ("with its mask", lambda n, a, s: len(n.output) > 1),
    ),
    "DynamicQuantizeLinear": (
        ("whose values nobody multiplies", lambda n, a, s: n.output[0] in s),
    ),
    "GatherND": (("with batch dimensions", lambda n, a, s: bool(a.get("batch_dims"))),),
    "Gemm": (
        ("with its data transposed", lambda n, a, s: bool(a.get("transA"))),
        (
            "with a bias for every row",
            lambda n, a, s: _rank(n, 2, s) == 2 and s[n.input[2]][0] > 1,
        ),
    ),
    "MatMul": (
        (
            "but of frames with a matrix",
            lambda n, a, s: _rank(n, 1, s) != 2 or _rank(n, 0, s) < 2,
        ),
    ),
    "MaxPool": (("with the places of its maxima", lambda n, a, s: len(n.output) > 1),),
    "PRelu": (("with more than one slope", lambda n, a, s: max(s[n.input[1]], default=1) > 1),),
    "QuantizeLinear": (("with a scale that is an input", lambda n, a, s: n.input[1] in s),),
    "ReduceMax": (("of nothing", _empty),),
    "ReduceMin": (("of nothing", _empty),),
    "ScatterElements": (("with a reduction", _reduces),),
    "ScatterND": (("with a reduction", _reduces),),
    **dict.fromkeys(
        ("Softmax", "LogSoftmax"), (("along the first axis", lambda n, a, s: a.get("axis") == 0),)
    ),
}
"""Forms of supported ops that are not, in words and as a test."""
