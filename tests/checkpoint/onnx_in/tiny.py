"""A good model of one convolution, from which the tests of bad ones start."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WEIGHT = np.linspace(-1, 1, 4 * 3 * 9, dtype=np.float32).reshape(4, 3, 3, 3)


def tiny(nodes: list[Any] | None = None, **changes: Any) -> onnx.ModelProto:
    """A model of one convolution; `changes` are other inputs, outputs, initializers, opset."""
    shape = changes.get("shape", [8, 3, 6, 6])
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(
        nodes or [helper.make_node("Conv", ["x", "w"], ["y"], name="conv")],
        "tiny",
        changes.get("inputs", inputs),
        changes.get("outputs", outputs),
        changes.get("initializers", [numpy_helper.from_array(WEIGHT, "w")]),
    )
    opset = [helper.make_opsetid("", changes.get("opset", 13))]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)
