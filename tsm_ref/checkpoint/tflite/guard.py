"""The structure of a TensorFlow Lite file, judged before any of it is carried out.

What comes out is plain: operators with Python values as options, tensors whose bytes were there,
and numbers of tensors that exist. Nothing is made of the sizes that a file declares: the bytes of
a constant stay where they are until an operator needs them, and then have to fit its shape.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.checkpoint.contents import shown
from tsm_ref.checkpoint.disk import StrPath, read_whole
from tsm_ref.checkpoint.onnx_in.guard import MAX_FILE, MAX_NODES
from tsm_ref.checkpoint.tflite.flatbuffer import Table, damaged, root
from tsm_ref.checkpoint.tflite.schema import (
    CUSTOM,
    MAGIC,
    OPS,
    TYPES,
    Field,
    options_of,
    type_name,
)
from tsm_ref.errors import CheckpointError

Array = NDArray[Any]

MAX_RANK = 8
VERSION = 3


@dataclass(frozen=True)
class Steps:
    """How a tensor is rounded: scales and zero points, one or one for each place of an axis.

    One has no axis, whatever the file says: it is 0.
    """

    scale: Array
    zero_point: Array
    axis: int


@dataclass(frozen=True)
class TfliteTensor:
    """A value, or a constant where it has ``data``; open sizes are -1 in ``signature``."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    steps: Steps | None
    data: bytes | None

    def values(self) -> Array:
        """The constant as an array; raises `CheckpointError` where bytes and shape do not fit."""
        stored = next(np.dtype(kind) for name, kind in TYPES.values() if name == self.dtype)
        data = self.data or b""
        if len(data) != prod(self.shape) * stored.itemsize:
            raise CheckpointError(
                f"the tensor {shown(self.name)} has {len(data)} bytes; its shape {self.shape} and "
                f"type {self.dtype} take {prod(self.shape) * stored.itemsize}"
            )
        flat = np.frombuffer(data, stored)
        if self.dtype == "bfloat16":
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        return (flat.astype(np.float32) if self.dtype == "float16" else flat).reshape(self.shape)


@dataclass(frozen=True)
class Operator:
    """One operation on tensors by their numbers; an absent input is -1."""

    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class TfliteModel:
    """A TensorFlow Lite file after every check of its structure."""

    name: str
    description: str
    tensors: tuple[TfliteTensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]
    size: int
    sha256: str


def read_tflite(path: StrPath, supported: Sequence[str]) -> TfliteModel:
    """Read a file whose every op is one of `supported`.

    Raises `CheckpointError` for anything damaged, hostile or not supported, naming what it is.
    """
    data = read_whole(path, MAX_FILE)
    if data[4:8] != MAGIC:
        raise CheckpointError("this is no TensorFlow Lite file: it does not begin as one")
    return _Reader(data, supported).model()


class _Reader:
    """Goes through the tables of a file once."""

    def __init__(self, data: bytes, supported: Sequence[str]) -> None:
        self.data, self.supported = data, supported
        self.file = root(data)

    def model(self) -> TfliteModel:
        """The file; ops are judged first, as a refusal should name them."""
        version = self.file.number(Field.Model.VERSION, "I")
        if version != VERSION:
            raise CheckpointError(f"the TFLite schema is version {version}; {VERSION} is supported")
        count = self.file.length(Field.Model.SUBGRAPHS)
        if count != 1:
            raise CheckpointError(
                f"the file holds {count} subgraphs (several signatures, or control flow); "
                "export the network as one"
            )
        (graph,) = self.file.tables(Field.Model.SUBGRAPHS)
        names = self._codes()
        operators = tuple(self._operators(graph, names))
        buffers = list(_few(self.file, Field.Model.BUFFERS, "buffers"))
        tensors = tuple(
            self._tensor(table, place, buffers)
            for place, table in enumerate(_few(graph, Field.Subgraph.TENSORS, "tensors"))
        )
        inputs = _indices(graph, Field.Subgraph.INPUTS)
        outputs = _indices(graph, Field.Subgraph.OUTPUTS)
        used = {*inputs, *outputs, *(i for o in operators for i in (*o.inputs, *o.outputs))}
        if used and not -1 <= min(used) <= max(used) < len(tensors):
            damaged("a tensor is named that it does not have")
        if not operators or not inputs or not outputs or -1 in (*inputs, *outputs):
            raise CheckpointError("the TFLite file has no operation, no input or no output")
        digest = hashlib.sha256(self.data).hexdigest()
        return TfliteModel(
            graph.text(Field.Subgraph.NAME)[:80],
            self.file.text(Field.Model.DESCRIPTION)[:200],
            tensors,
            inputs,
            outputs,
            operators,
            len(self.data),
            digest,
        )

    def _codes(self) -> list[str]:
        found = []
        for table in _few(self.file, Field.Model.CODES, "kinds of ops"):
            code = max(table.number(Field.Code.OLD, "b"), table.number(Field.Code.BUILTIN, "i"))
            name = OPS.get(code, f"number {code}")
            if code == CUSTOM:
                custom = table.text(Field.Code.CUSTOM)
                name = f"custom op {shown(custom)}"
            found.append(name)
        return found

    def _operators(self, graph: Table, names: Sequence[str]) -> list[Operator]:
        found = []
        for table in _few(graph, Field.Subgraph.OPERATORS, "operations"):
            code = table.number(Field.Operator.CODE, "I")
            if code >= len(names):
                damaged("an operation is of a kind that it does not have")
            op = names[code]
            if op.startswith("custom"):
                raise CheckpointError(
                    f"the {op} is not supported: what it does is not in the file; "
                    "convert the network with built-in ops alone"
                )
            if op not in self.supported:
                raise CheckpointError(
                    f"the TFLite op {op} is not supported; "
                    f"supported are {', '.join(sorted(self.supported))}"
                )
            options = options_of(op, table)
            if options is None:
                damaged(f"an operation {op} has the options of another")
            inputs = _indices(table, Field.Operator.INPUTS)
            outputs = _indices(table, Field.Operator.OUTPUTS)
            if not outputs or -1 in outputs:
                damaged(f"an operation {op} makes nothing")
            found.append(Operator(op, inputs, outputs, options))
        return found

    def _tensor(self, table: Table, place: int, buffers: Sequence[Table]) -> TfliteTensor:
        name = table.text(Field.Tensor.NAME)[:200] or f"tensor {place}"
        where = f"the tensor {shown(name)}"
        kind = table.number(Field.Tensor.TYPE, "b")
        if kind not in TYPES:
            raise CheckpointError(
                f"{where} is of the type {type_name(kind)}, which is not supported"
            )
        if table.table(Field.Tensor.SPARSITY) is not None:
            raise CheckpointError(f"{where} is sparse; only dense tensors are supported")
        if table.number(Field.Tensor.VARIABLE, "?"):
            raise CheckpointError(
                f"{where} is a variable that lives from call to call; export the network with its "
                "state as inputs and outputs"
            )
        if table.number(Field.Tensor.EXTERNAL, "I"):
            raise CheckpointError(f"{where} is kept outside of the file, which is not supported")
        shape = _shape(table, Field.Tensor.SHAPE, where)
        signature = _shape(table, Field.Tensor.SIGNATURE, where, least=-1) or shape
        if len(signature) != len(shape):
            damaged(f"{where} has two numbers of axes")
        data = self._bytes(table.number(Field.Tensor.BUFFER, "I"), buffers)
        zeros = data is not None and not np.frombuffer(data, np.uint8).any()
        steps = _steps(table, TYPES[kind][0], where, zeros)
        return TfliteTensor(name, TYPES[kind][0], shape, signature, steps, data)

    def _bytes(self, number: int, buffers: Sequence[Table]) -> bytes | None:
        """The bytes of a buffer, in the flatbuffer or, of large files, behind it."""
        if not number:
            return None
        if number >= len(buffers):
            damaged("a buffer is named that it does not have")
        buffer = buffers[number]
        offset, size = (buffer.number(f, "Q") for f in (Field.Buffer.OFFSET, Field.Buffer.SIZE))
        if offset > 1:
            if offset + size > len(self.data):
                damaged("a buffer lies outside of it")
            return memoryview(self.data)[offset : offset + size]  # type: ignore[return-value]
        found = buffer.array(Field.Buffer.DATA, "|u1")
        return None if found is None or not found.size else found.data  # type: ignore[return-value]


def _few(table: Table, field: int, what: str) -> Any:
    count = table.length(field)
    if count > MAX_NODES:
        raise CheckpointError(f"{count} {what} are more than the {MAX_NODES} accepted")
    return table.tables(field)


def _indices(table: Table, field: int) -> tuple[int, ...]:
    found = table.array(field, "<i4")
    if found is None:
        return ()
    if found.size > MAX_NODES:
        damaged(f"an operation has {found.size} operands")
    return tuple(int(v) for v in found)


def _shape(table: Table, field: int, where: str, least: int = 0) -> tuple[int, ...]:
    found = table.array(field, "<i4")
    if found is None:
        return ()
    if found.size > MAX_RANK or (found < least).any():
        raise CheckpointError(f"{where} has the shape {found[: MAX_RANK + 1].tolist()}")
    return tuple(int(v) for v in found)


def _steps(table: Table, dtype: str, where: str, zeros: bool) -> Steps | None:
    """Scales and zero points after every check; None where the tensor is not rounded.

    Zeros of 16 bits have the scale 0, as the converter writes them.
    """
    steps = table.table(Field.Tensor.STEPS)
    scale = None if steps is None else steps.array(Field.Steps.SCALE, "<f4")
    if steps is None or scale is None or not scale.size:
        return None
    if dtype not in ("int8", "uint8", "int16", "int32", "int64"):
        return None
    if not scale.any() and (dtype in ("int32", "int64") or (dtype == "int16" and zeros)):
        return None
    if steps.number(Field.Steps.KIND, "B"):
        raise CheckpointError(f"{where} is rounded in a way of its own, which is not supported")
    bad = scale[~(np.isfinite(scale) & (scale > 0))]
    if bad.size:
        raise CheckpointError(f"{where} has the scale {bad[0]:g}; it must be positive and finite")
    zero = steps.array(Field.Steps.ZERO, "<i8")
    zero = np.zeros(scale.size, np.int64) if zero is None or not zero.size else zero
    if zero.size not in (1, scale.size):
        raise CheckpointError(f"{where} has {scale.size} scales and {zero.size} zero points")
    info = np.iinfo(dtype)
    if zero.min() < info.min or zero.max() > info.max:
        raise CheckpointError(f"{where} has a zero point that {dtype} does not have")
    shape = table.array(Field.Tensor.SHAPE, "<i4")
    axis = int(steps.number(Field.Steps.AXIS, "i")) if scale.size > 1 else 0
    if scale.size > 1:
        rank = 0 if shape is None else shape.size
        if shape is None or not 0 <= axis < rank or int(shape[axis]) != scale.size:
            raise CheckpointError(
                f"{where} has {scale.size} scales, which do not fit its axis {axis}"
            )
    return Steps(scale, np.broadcast_to(zero, scale.shape), axis)
