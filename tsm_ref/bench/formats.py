"""A `FrameNetwork` as the files of other runtimes: ONNX, and what ncnn reads."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tsm_ref.bench.frames import FrameNetwork, Op
from tsm_ref.errors import UsageError

Array = NDArray[Any]

OPSET = 17


def write_onnx(network: FrameNetwork, path: Path) -> None:
    """Write a network as an ONNX file with values in NCHW."""
    path.write_bytes(_Onnx(network).model().SerializeToString())


class _Onnx:
    """Writes one node for every operation."""

    def __init__(self, network: FrameNetwork) -> None:
        self.network = network
        self.nodes: list[Any] = []
        self.tensors = {n: numpy_helper.from_array(t, n) for n, t in network.tensors.items()}

    def model(self) -> onnx.ModelProto:
        for op in self.network.ops:
            getattr(self, f"_{op.kind}")(op)
        graph = helper.make_graph(
            self.nodes,
            "network",
            [self._declared(name) for name in self.network.inputs],
            [self._declared(name) for name in self.network.outputs],
            list(self.tensors.values()),
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        onnx.checker.check_model(model)
        return model

    def _declared(self, name: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, self.network.shapes[name])

    def _node(self, kind: str, op: Op, *more: str, **attrs: Any) -> None:
        self.nodes.append(helper.make_node(kind, [*op.inputs, *more], [op.name], **attrs))

    def _constant(self, *values: float, dtype: Any = np.int64) -> str:
        name = f"constant {np.dtype(dtype).char} {' '.join(map(str, values))}"
        array = np.array(values if dtype == np.int64 else values[0], dtype)
        self.tensors[name] = numpy_helper.from_array(array, name)
        return name

    def _conv(self, op: Op) -> None:
        size = self.network.tensors[op.inputs[1]].shape[2]
        pad, stride = op.attrs["pad"], op.attrs["stride"]
        self._node(
            "Conv",
            op,
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[pad] * 4,
            group=op.attrs["group"],
        )

    def _relu(self, op: Op) -> None:
        self._node("Relu", op)

    def _clip(self, op: Op) -> None:
        limits = [self._constant(op.attrs[n], dtype=np.float32) for n in ("low", "high")]
        self._node("Clip", op, *limits)

    def _add(self, op: Op) -> None:
        self._node("Add", op)

    def _max_pool(self, op: Op) -> None:
        kernel, stride, pad = (op.attrs[name] for name in ("kernel", "stride", "pad"))
        self._node("MaxPool", op, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)

    def _mean(self, op: Op) -> None:
        pooled = f"{op.name}.pooled"
        self.nodes.append(helper.make_node("GlobalAveragePool", [op.inputs[0]], [pooled]))
        self.nodes.append(helper.make_node("Flatten", [pooled], [op.name], axis=1))

    def _linear(self, op: Op) -> None:
        self._node("Gemm", op, transB=1)

    def _average(self, op: Op) -> None:
        self._node("ReduceMean", op, axes=[0], keepdims=1)

    def _slice(self, op: Op) -> None:
        places = [self._constant(op.attrs[name]) for name in ("begin", "end", "axis")]
        self._node("Slice", op, *places)

    def _pad(self, op: Op) -> None:
        before, after = op.attrs["before"], op.attrs["after"]
        self._node("Pad", op, self._constant(before, 0, 0, 0, after, 0, 0, 0))

    def _concat(self, op: Op) -> None:
        self._node("Concat", op, axis=op.attrs["axis"])


_NCNN_MAGIC = 7767517


def write_ncnn(network: FrameNetwork, parameters: Path, weights: Path) -> None:
    """Write a network of single pictures as ncnn's text of layers and file of weights.

    A value that several layers read has to be split into as many, so a layer of copies stands
    behind it. Raises `UsageError` where pictures of a batch would meet: ncnn has no batch.
    """
    writer = _Ncnn(network)
    for name in network.inputs:
        channels, height, width = network.shapes[name][1:]
        writer.layer("Input", name, [], f"0={width} 1={height} 2={channels}")
    for op in network.ops:
        getattr(writer, f"_{op.kind}", writer.refuse)(op)
    head = f"{_NCNN_MAGIC}\n{len(writer.layers)} {writer.blobs}\n"
    parameters.write_text(head + "\n".join(writer.layers) + "\n")
    weights.write_bytes(b"".join(writer.weights))


class _Ncnn:
    """Writes one line for every operation, and one for every value that is read again."""

    def __init__(self, network: FrameNetwork) -> None:
        self.network = network
        self.layers: list[str] = []
        self.weights: list[bytes] = []
        self.blobs = 0
        self.readers: dict[str, int] = {}
        for name in [i for op in network.ops for i in op.inputs] + network.outputs:
            self.readers[name] = self.readers.get(name, 0) + 1
        self.copies: dict[str, list[str]] = {}

    def refuse(self, op: Op) -> None:
        raise UsageError(f"ncnn takes one picture at a time and has no {op.kind!r}")

    def layer(self, kind: str, name: str, inputs: list[str], options: str = "") -> None:
        read = [self._copy(i) for i in inputs]
        self._line(kind, name, read, [name], options)
        count = self.readers.get(name, 0)
        if count > 1:
            self.copies[name] = [f"{name}/{i}" for i in range(count)]
            self._line("Split", f"{name}/split", [name], self.copies[name], "")

    def _line(self, kind: str, name: str, inputs: list[str], made: list[str], rest: str) -> None:
        self.blobs += len(made)
        words = [kind, name, str(len(inputs)), str(len(made)), *inputs, *made, rest]
        self.layers.append(" ".join(word for word in words if word))

    def _copy(self, name: str) -> str:
        return self.copies[name].pop(0) if name in self.copies else name

    def _values(self, op: Op, flagged: str, *plain: str) -> None:
        """Append weights; the first have a flag in front that says float32."""
        self.weights.append(struct.pack("<I", 0) + self.network.tensors[flagged].tobytes())
        self.weights.extend(self.network.tensors[name].tobytes() for name in plain)

    def _conv(self, op: Op) -> None:
        weight, group = self.network.tensors[op.inputs[1]], op.attrs["group"]
        options = f"0={len(weight)} 1={weight.shape[2]} 3={op.attrs['stride']} "
        options += f"4={op.attrs['pad']} 5=1 6={weight.size}"
        kind = "Convolution"
        if group > 1:
            kind, options = "ConvolutionDepthWise", f"{options} 7={group}"
        self.layer(kind, op.name, [op.inputs[0]], options)
        self._values(op, *op.inputs[1:])

    def _relu(self, op: Op) -> None:
        self.layer("ReLU", op.name, list(op.inputs))

    def _clip(self, op: Op) -> None:
        self.layer("Clip", op.name, list(op.inputs), f"0={op.attrs['low']} 1={op.attrs['high']}")

    def _add(self, op: Op) -> None:
        self.layer("BinaryOp", op.name, list(op.inputs), "0=0")

    def _max_pool(self, op: Op) -> None:
        kernel, stride, pad = (op.attrs[name] for name in ("kernel", "stride", "pad"))
        options = f"0=0 1={kernel} 2={stride} 3={pad} 5=1"
        self.layer("Pooling", op.name, list(op.inputs), options)

    def _mean(self, op: Op) -> None:
        self.layer("Pooling", op.name, list(op.inputs), "0=1 4=1")

    def _linear(self, op: Op) -> None:
        weight = self.network.tensors[op.inputs[1]]
        options = f"0={len(weight)} 1=1 2={weight.size}"
        self.layer("InnerProduct", op.name, [op.inputs[0]], options)
        self._values(op, *op.inputs[1:])

    def _slice(self, op: Op) -> None:
        if op.attrs["axis"] != 1:
            self.refuse(op)
        begin, end = op.attrs["begin"], op.attrs["end"]
        options = f"-23309=1,{begin} -23310=1,{end} -23311=1,0"
        self.layer("Crop", op.name, list(op.inputs), options)

    def _concat(self, op: Op) -> None:
        self.layer("Concat", op.name, list(op.inputs), "0=0")
