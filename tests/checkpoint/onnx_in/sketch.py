"""A small ONNX graph that is written down line by line, as exporters write theirs."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tsm_ref.checkpoint import Checkpoint
from tsm_ref.errors import CheckpointError

Check = Callable[..., Checkpoint]
"""The fixture ``check``: imports a sketch, and holds it against the evaluator of ONNX."""

T, C = 4, 8
RNG = np.random.default_rng(11)


class Sketch:
    """A small ONNX graph that is written down line by line; `x` is its input."""

    def __init__(self, shape: Sequence[int | str], opset: int = 13) -> None:
        self.opset = opset
        self.inputs = {"x": shape}
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []
        self.indices: list[str] = []

    def const(self, values: Any) -> str:
        values = np.asarray(values)
        if values.dtype == np.float64:
            values = values.astype(np.float32)
        name = f"c{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(values, name))
        return name

    def random(self, *shape: int) -> str:
        return self.const(RNG.normal(size=shape) / np.sqrt(max(1, np.prod(shape[1:]))))

    def do(self, op: str, *inputs: str, outs: int = 1, **attrs: Any) -> Any:
        names = [f"v{len(self.nodes)}.{i}" for i in range(outs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attrs))
        return names if outs > 1 else names[0]

    def reshape(self, x: str, *shape: int) -> str:
        return str(self.do("Reshape", x, self.const(np.array(shape, np.int64))))

    def cut(self, x: str, start: int, end: int, axis: int) -> str:
        return str(self.do("Slice", x, *(self.const(np.array([v])) for v in (start, end, axis))))

    def stem(self, x: str = "x") -> str:
        """Rows of pictures (rows, 3, 12, 12) as (rows, 8, 12, 12)."""
        return self.do("Relu", self.do("Conv", x, self.random(C, 3, 3, 3), pads=[1, 1, 1, 1]))

    def shift(self, x: str, size: int, channels: int = C, fold: int = 1) -> str:
        """The shift of MMAction2: slices, and zeros made by subtracting a slice from itself."""
        x = self.reshape(x, -1, T, channels, size)
        first = self.cut(x, 0, fold, 2)
        second = self.cut(x, fold, 2 * fold, 2)
        rest = self.cut(x, 2 * fold, 2**31, 2)
        ahead = self.cut(self.do("Sub", first, first), 0, 1, 1)
        first = self.do("Concat", self.cut(first, 1, 2**31, 1), ahead, axis=1)
        behind = self.cut(self.do("Sub", second, second), 0, 1, 1)
        second = self.do("Concat", behind, self.cut(second, 0, -1, 1), axis=1)
        return str(self.do("Concat", first, second, rest, axis=2))

    def head(self, rows: str, channels: int = C) -> str:
        x = self.do("Flatten", self.do("GlobalAveragePool", rows))
        x = self.do("Gemm", x, self.random(5, channels), self.random(5), transB=1)
        return str(self.do("ReduceMean", self.reshape(x, -1, T, 5), axes=[1], keepdims=0))

    def model(self, *outputs: str, takes: int = TensorProto.FLOAT) -> Any:
        """The file; outputs among ``indices`` are whole numbers."""
        kinds = {o: TensorProto.INT64 if o in self.indices else TensorProto.FLOAT for o in outputs}
        graph = helper.make_graph(
            self.nodes,
            "sketch",
            [helper.make_tensor_value_info(n, takes, list(s)) for n, s in self.inputs.items()],
            [helper.make_tensor_value_info(o, kind, None) for o, kind in kinds.items()],
            self.tensors,
        )
        opset = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8)


def ops(found: Checkpoint) -> list[str]:
    return [node.op for node in found.graph.nodes]


def d_of(found: Checkpoint) -> list[tuple[int, ...]]:
    return [node.attrs["d"] for node in found.graph.select("TemporalShift")]


def refusal(check: Check, sketch: Sketch, output: str) -> str:
    """Why a sketch is not understood, in one line."""
    with pytest.raises(CheckpointError) as caught:
        check(sketch, output)
    message = str(caught.value)
    assert "\n" not in message
    return message
