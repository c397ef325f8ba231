"""An ONNX file in the making: nodes, tensors and names, in the layout that runtimes are fast in.

Runtimes have fast convolutions for pictures, so frames stand in rows: (N*T, C, H, W). What acts in
time is done on the layout of our graph, (N, C, T, H, W), and put back into rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.checkpoint.onnx_in.guard import import_onnx
from tsm_ref.ops_table import Shape

Array = NDArray[Any]


class Writer:
    """Collects the nodes of an ONNX graph.

    ``shapes`` are those of our graph for one clip. A value is kept as the name of its tensor of
    rows; `natural` gives the tensor in the layout of our graph. ``makers`` are the operations of
    LiteRT that values are rounded as, which ONNX cannot say.
    """

    def __init__(
        self,
        shapes: Mapping[str, Shape],
        opset: int,
        batch: int | str,
        outputs: Sequence[str] = (),
    ) -> None:
        self.onnx = import_onnx()
        self.shapes = dict(shapes)
        self.opset = opset
        self.batch = batch
        self.rows: dict[str, str] = {}
        self.nodes: list[Any] = []
        self.tensors: dict[str, Array] = {}
        self.scales: dict[str, Array] = {}
        self.makers: dict[str, str] = {}
        self._naturals: dict[str, str] = {}
        self._names = set(shapes)
        self._outputs = outputs

    def node(self, op: str, inputs: Sequence[str], name: str, **attrs: Any) -> str:
        """Add a node whose output has this name, or a new one like it; returns the name."""
        self._names.add(name)
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), [name], name=name, **attrs))
        return name

    def step(self, op: str, inputs: Sequence[str], of: str, **attrs: Any) -> str:
        """Add a node on the way to the value `of`; its output gets a name of its own."""
        return self.node(op, inputs, self.unused(f"{of}/{op}"), **attrs)

    def tensor(self, name: str, values: Array) -> str:
        """Keep a constant; the same values under the same name are kept once."""
        old = self.tensors.get(name)
        if old is not None and (old.shape != values.shape or not np.array_equal(old, values)):
            return self.tensor(self.unused(name), values)
        self._names.add(name)
        self.tensors[name] = values
        return name

    def numbers(self, name: str, values: Array) -> str:
        """A tensor of a layer: float32, or whole numbers and what dequantises them per channel."""
        scale = self.scales.get(name)
        if scale is None:
            return self.tensor(name, np.ascontiguousarray(values, np.float32))
        inputs = [self.tensor(name, values), self.tensor(f"{name}/scale", scale)]
        if values.dtype != np.int32:  # onnxruntime makes a scalar of one that is left out
            inputs.append(self.tensor(f"{name}/zero", np.zeros(scale.shape, values.dtype)))
        return self.step("DequantizeLinear", inputs, inputs[0], axis=0)

    def ints(self, *values: int) -> str:
        """A constant list of integers."""
        name = f"ints {' '.join(str(v) for v in values)}"
        return self.tensor(name, np.array(values, np.int64))

    def unused(self, name: str) -> str:
        """A name that nothing has yet."""
        unique, count = name, 1
        while unique in self._names:
            count += 1
            unique = f"{name}.{count}"
        return unique

    # Layouts

    def row_shape(self, value: str) -> Shape:
        """(C, H, W) of a value in rows; (C,) of one without places."""
        shape = self.shapes[value]
        return (shape[1], *shape[3:])

    def frames(self, value: str) -> int:
        """How many rows of a value make one clip."""
        shape = self.shapes[value]
        return shape[2] if len(shape) > 2 else 1

    def natural(self, value: str) -> str:
        """The tensor of a value in the layout of our graph: (N, C, T, ...), (N, C)."""
        if value not in self._naturals:
            shape = self.shapes[value]
            if len(shape) < 3:
                return self.rows[value]
            split = self.clips(value, self.rows[value])
            self._naturals[value] = self.step("Transpose", [split], value, perm=_swap(len(shape)))
        return self._naturals[value]

    def clips(self, value: str, rows: str, frames: int = 0) -> str:
        """Rows as (N, T, C, ...), in clips of so many frames; all of the value's unless given."""
        shape = (frames or self.frames(value), *self.row_shape(value))
        return self.step("Reshape", [rows, self.ints(-1, *shape)], value)

    def row_name(self, value: str) -> str:
        """The name of a value's rows: its own, unless an output of another layout has that."""
        return f"{value}/rows" if value in self._outputs and len(self.shapes[value]) > 2 else value

    def from_natural(self, value: str, tensor: str) -> None:
        """Keep a value whose tensor has the layout of our graph."""
        shape = self.shapes[value]
        if len(shape) < 3:
            self.rows[value] = self.node("Identity", [tensor], value)
            return
        self._naturals[value] = tensor
        turned = self.step("Transpose", [tensor], value, perm=_swap(len(shape)))
        target = self.ints(-1, *self.row_shape(value))
        self.rows[value] = self.node("Reshape", [turned, target], self.row_name(value))

    # The file

    def model(
        self,
        name: str,
        inputs: Mapping[str, Sequence[int | str]],
        outputs: Mapping[str, Sequence[int | str]],
        metadata: Mapping[str, str],
    ) -> bytes:
        """The bytes of the finished model, which `onnx.checker` has accepted."""
        helper = self.onnx.helper
        kind = self.onnx.TensorProto.FLOAT

        def declared(entries: Mapping[str, Sequence[int | str]]) -> list[Any]:
            return [helper.make_tensor_value_info(n, kind, list(s)) for n, s in entries.items()]

        read = {name for node in self.nodes for name in node.input}
        graph = helper.make_graph(
            self.nodes,
            name,
            declared(inputs),
            declared(outputs),
            [self.onnx.numpy_helper.from_array(v, n) for n, v in self.tensors.items() if n in read],
        )
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=max(8, helper.find_min_ir_version_for(opsets)),
            producer_name="tsm_ref",
        )
        helper.set_model_props(model, dict(metadata))
        self.onnx.checker.check_model(model, full_check=True)
        data: bytes = model.SerializeToString(deterministic=True)
        return data


def _swap(rank: int) -> list[int]:
    """The order of axes that exchanges C and T."""
    return [0, 2, 1, *range(3, rank)]
