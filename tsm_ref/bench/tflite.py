"""A `FrameNetwork` as a TensorFlow Lite file, written with the schema of ai-edge-litert."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.bench.frames import FrameNetwork, Op

Array = NDArray[Any]

_AXIS = (0, 3, 1, 2)  # where batch, channel, row and column stand


def nhwc(values: Sequence[int]) -> list[int]:
    """Return something that is given for N, C, H, W in the order of the file.

    >>> nhwc((8, 3, 224, 112))
    [8, 224, 112, 3]
    """
    return [values[0], *values[2:], values[1]] if len(values) == 4 else list(values)


def write_tflite(network: FrameNetwork, path: Path) -> None:
    """Write a network as a TensorFlow Lite file; an activation is part of the layer before it."""
    schema: Any = importlib.import_module("ai_edge_litert.schema_py_generated")
    flatbuffers: Any = importlib.import_module("flatbuffers")
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(_TfLite(network, schema).model().Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())


class _TfLite:
    """Builds the object tree of the schema, one operator for every operation."""

    def __init__(self, network: FrameNetwork, schema: Any) -> None:
        self.network, self.schema = network, schema
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.file = schema.ModelT()
        self.file.version, self.file.subgraphs = 3, [self.graph]
        self.file.operatorCodes, self.file.buffers = [], [schema.BufferT()]
        self.codes: dict[int, int] = {}
        self.index: dict[str, int] = {}
        readers: dict[str, list[Op]] = {}
        for op in network.ops:
            for name in op.inputs:
                readers.setdefault(name, []).append(op)
        self.readers = readers
        self.done: set[str] = set()

    def model(self) -> Any:
        for name in self.network.inputs:
            self._tensor(name, self.network.shapes[name])
        for op in self.network.ops:
            if op.name not in self.done:
                getattr(self, f"_{op.kind}")(op)
        self.graph.inputs = self._indices(self.network.inputs)
        self.graph.outputs = self._indices(self.network.outputs)
        return self.file

    def _indices(self, names: Sequence[str]) -> Array:
        return np.array([self.index[name] for name in names], np.int32)

    def _tensor(self, name: str, shape: Sequence[int], ordered: bool = False) -> None:
        tensor = self.schema.TensorT()
        tensor.name, tensor.type = name.encode(), self.schema.TensorType.FLOAT32
        tensor.shape = np.array(shape if ordered else nhwc(shape), np.int32)
        tensor.buffer = 0
        self.index[name] = len(self.graph.tensors)
        self.graph.tensors.append(tensor)

    def _constant(self, name: str, value: Array) -> str:
        self._tensor(name, value.shape, ordered=True)
        tensor, buffer = self.graph.tensors[-1], self.schema.BufferT()
        if value.dtype == np.int32:
            tensor.type = self.schema.TensorType.INT32
        buffer.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
        tensor.buffer = len(self.file.buffers)
        self.file.buffers.append(buffer)
        return name

    def _operator(
        self, kind: str, inputs: Sequence[str], output: str, shape: Sequence[int],
        options: str = "", **fields: Any,
    ) -> None:  # fmt: skip
        code = getattr(self.schema.BuiltinOperator, kind)
        if code not in self.codes:
            entry = self.schema.OperatorCodeT()
            entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
            self.codes[code] = len(self.file.operatorCodes)
            self.file.operatorCodes.append(entry)
        operator = self.schema.OperatorT()
        operator.opcodeIndex = self.codes[code]
        operator.inputs = self._indices(inputs)
        self._tensor(output, shape)
        operator.outputs = self._indices([output])
        if options:
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(self.schema, f"{options}T")()
            for name, value in fields.items():
                setattr(operator.builtinOptions, name, value)
        self.graph.operators.append(operator)

    def _activated(self, op: Op) -> tuple[str, int]:
        """Return the value that an operation makes with its activation, and which that is."""
        types = self.schema.ActivationFunctionType
        readers = self.readers.get(op.name, [])
        if len(readers) == 1 and op.name not in self.network.outputs:
            after = readers[0]
            relu6 = after.kind == "clip" and (after.attrs["low"], after.attrs["high"]) == (0, 6)
            if after.kind == "relu" or relu6:
                self.done.add(after.name)
                return after.name, types.RELU6 if relu6 else types.RELU
        return op.name, types.NONE

    def _padded(self, x: str, name: str, around: Sequence[tuple[int, int]]) -> str:
        """Write zeros around the axes N, C, H, W of a value."""
        shape = [n + a + b for n, (a, b) in zip(self.network.shapes[x], around, strict=True)]
        order = [around[i] for i in (0, 2, 3, 1)]
        pads = self._constant(f"{name}.pads", np.array(order, np.int32))
        self._operator("PAD", [x, pads], name, shape, "PadOptions")
        return name

    def _framed(self, op: Op, pad: int) -> str:
        """Write a border around the pictures that an operation reads, if it needs one."""
        around = [(0, 0), (0, 0), (pad, pad), (pad, pad)]
        return self._padded(op.inputs[0], f"{op.name}.framed", around) if pad else op.inputs[0]

    def _conv(self, op: Op) -> None:
        weight, bias = (self.network.tensors[name] for name in op.inputs[1:])
        stride, pad = op.attrs["stride"], op.attrs["pad"]
        same = stride == 1 and weight.shape[2] == 2 * pad + 1
        x = op.inputs[0] if same else self._framed(op, pad)
        name, activation = self._activated(op)
        fields = {
            "padding": self.schema.Padding.SAME if same else self.schema.Padding.VALID,
            "strideH": stride,
            "strideW": stride,
            "dilationHFactor": 1,
            "dilationWFactor": 1,
            "fusedActivationFunction": activation,
        }
        kind, options, order = "CONV_2D", "Conv2DOptions", (0, 2, 3, 1)
        if op.attrs["group"] > 1:
            kind, options, order = "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", (1, 2, 3, 0)
            fields["depthMultiplier"] = 1
        constants = [
            self._constant(op.inputs[1], weight.transpose(order)),
            self._constant(op.inputs[2], bias),
        ]
        self._operator(kind, [x, *constants], name, self.network.shapes[op.name], options, **fields)

    def _relu(self, op: Op) -> None:
        self._operator("RELU", op.inputs, op.name, self.network.shapes[op.name])

    def _clip(self, op: Op) -> None:
        if (op.attrs["low"], op.attrs["high"]) != (0, 6):
            raise ValueError("TensorFlow Lite has a clip to 0 .. 6 only")
        self._operator("RELU6", op.inputs, op.name, self.network.shapes[op.name])

    def _add(self, op: Op) -> None:
        name, activation = self._activated(op)
        shape, fields = self.network.shapes[op.name], {"fusedActivationFunction": activation}
        self._operator("ADD", op.inputs, name, shape, "AddOptions", **fields)

    def _max_pool(self, op: Op) -> None:
        """Zeros around the picture may stand for nothing: what is pooled has passed a ReLU."""
        kernel, stride = op.attrs["kernel"], op.attrs["stride"]
        self._operator(
            "MAX_POOL_2D", [self._framed(op, op.attrs["pad"])], op.name,
            self.network.shapes[op.name], "Pool2DOptions", padding=self.schema.Padding.VALID,
            strideH=stride, strideW=stride, filterHeight=kernel, filterWidth=kernel,
        )  # fmt: skip

    def _reduced(self, op: Op, axes: list[int], keep: bool) -> None:
        where = self._constant(f"{op.name}.axes", np.array(axes, np.int32))
        shape = self.network.shapes[op.name]
        self._operator("MEAN", [*op.inputs, where], op.name, shape, "ReducerOptions", keepDims=keep)

    def _mean(self, op: Op) -> None:
        self._reduced(op, [1, 2], keep=False)

    def _average(self, op: Op) -> None:
        self._reduced(op, [0], keep=True)

    def _linear(self, op: Op) -> None:
        constants = [self._constant(n, self.network.tensors[n]) for n in op.inputs[1:]]
        shape = self.network.shapes[op.name]
        inputs = [op.inputs[0], *constants]
        self._operator("FULLY_CONNECTED", inputs, op.name, shape, "FullyConnectedOptions")

    def _slice(self, op: Op) -> None:
        shape, begin = self.network.shapes[op.name], [0, 0, 0, 0]
        begin[op.attrs["axis"]] = op.attrs["begin"]
        constants = [
            self._constant(f"{op.name}.begin", np.array(nhwc(begin), np.int32)),
            self._constant(f"{op.name}.size", np.array(nhwc(shape), np.int32)),
        ]
        self._operator("SLICE", [*op.inputs, *constants], op.name, shape, "SliceOptions")

    def _pad(self, op: Op) -> None:
        around = [(op.attrs["before"], op.attrs["after"]), (0, 0), (0, 0), (0, 0)]
        self._padded(op.inputs[0], op.name, around)

    def _concat(self, op: Op) -> None:
        axis, shape = _AXIS[op.attrs["axis"]], self.network.shapes[op.name]
        options = "ConcatenationOptions"
        self._operator("CONCATENATION", op.inputs, op.name, shape, options, axis=axis)
