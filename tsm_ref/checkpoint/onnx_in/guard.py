"""Guarded reading of an ONNX file: its structure is judged before any of it is carried out.

A model file is a message that anybody can write: sizes that no memory holds, tensors that live in
other files, circles, types that do not exist. What comes out of here is plain: nodes in an order in
which every input exists, attributes as Python values, initializers whose bytes were there.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tsm_ref.checkpoint.contents import shown
from tsm_ref.checkpoint.disk import StrPath, read_whole
from tsm_ref.checkpoint.onnx_in.tensors import Tensors, type_name
from tsm_ref.errors import CheckpointError, MissingDependency

Array = NDArray[Any]
Dim = int | str

ROUNDED_AS = "tsm_ref.rounded_as/"
"""What our own files keep under this and a name: which operation of LiteRT rounds to that value."""

MAX_FILE = 2**31
MAX_NODES = 100_000
FIRST_OPSET = 7
DOMAINS = ("", "ai.onnx")
FUSED = ("FusedConv", "FusedGemm")
"""Ops of onnxruntime's optimiser that are read: an op with an activation."""

WHOLE = (
    *("QuantizeLinear", "DequantizeLinear", "QLinearAdd", "QLinearMul", "QLinearConcat", "QGemm"),
    *("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearSigmoid", "QLinearLeakyRelu"),
    *("QLinearReduceMean", "QLinearSoftmax"),
)
"""Ops of onnxruntime's quantiser that are read: of whole numbers of 8 bits."""

FLOAT_TYPES = (1, 10, 11, 16)
"""The element types of data: float32, float16, float64, bfloat16."""
BYTES = 2
"""The element type of pixels: uint8."""
INDICES = (6, 7)
"""The element types of class indices, which only outputs have: int32, int64."""


@dataclass(frozen=True)
class OnnxNode:
    """One operation of the file; an absent optional input or output is an empty name."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{shown(self.name or (self.outputs or ('',))[0])} ({self.op})"


@dataclass(frozen=True)
class OnnxModel:
    """An ONNX file after every check of its structure.

    ``inputs`` are those that a caller gives, with their declared sizes (a name where one is open);
    ``constants`` the initializers, half precision widened; ``storage`` names their types.
    ``makers`` are the operations of TensorFlow Lite that made values of whole numbers, by name.
    """

    name: str
    opset: int
    inputs: tuple[tuple[str, tuple[Dim, ...]], ...]
    outputs: tuple[str, ...]
    output_shapes: tuple[tuple[Dim, ...], ...]
    nodes: tuple[OnnxNode, ...]
    constants: Mapping[str, Array]
    storage: str
    producer: str
    byte_inputs: frozenset[str] = frozenset()
    metadata: Mapping[str, str] = field(default_factory=dict)
    size: int = 0
    sha256: str = ""
    makers: Mapping[str, str] = field(default_factory=dict)


def import_onnx() -> Any:
    """The onnx package; raises `MissingDependency` where it is not installed."""
    try:
        import onnx
    except ImportError:
        raise MissingDependency("onnx", "read or write ONNX files") from None
    return onnx


def read_onnx(path: StrPath, supported: Iterable[str]) -> OnnxModel:
    """Read an ONNX file whose every op is one of `supported`.

    External tensors are read only from a plain file in the same folder.

    Raises `CheckpointError` for anything damaged, hostile or not supported, naming what it is.
    """
    data = read_whole(path, MAX_FILE)
    model = model_of(_parsed(data), supported, Path(path).parent)
    return replace(model, sha256=hashlib.sha256(data).hexdigest())


def model_of(
    model: Any,
    supported: Iterable[str],
    folder: Path | None = None,
    types: Any = (*FLOAT_TYPES, BYTES),
) -> OnnxModel:
    """A `onnx.ModelProto` after every check; ``types`` are those that inputs and outputs may have.

    External tensors are read from `folder` only. Raises `CheckpointError` as `read_onnx` does.
    """
    model = _inlined(model)
    opset = _opset(model)
    graph = model.graph
    if len(graph.node) > MAX_NODES:
        raise CheckpointError(f"{len(graph.node)} nodes are more than the {MAX_NODES} accepted")
    _check_ops(graph.node, tuple(supported))
    reader = Tensors(folder)
    constants = _initializers(graph, reader)
    inputs = tuple(
        (entry.name, _declared(entry, types))
        for entry in graph.input
        if entry.name not in constants
    )
    nodes = tuple(_node(node, reader) for node in graph.node)
    outputs = tuple(entry.name for entry in graph.output)
    check_names([name for name, _ in inputs], constants, nodes, outputs)
    return OnnxModel(
        name=graph.name or "onnx",
        opset=opset,
        inputs=inputs,
        outputs=outputs,
        output_shapes=tuple(_declared(entry, (*types, *INDICES)) for entry in graph.output),
        byte_inputs=frozenset(e.name for e in graph.input if e.type.tensor_type.elem_type == BYTES),
        nodes=nodes,
        constants=constants,
        storage="+".join(dict.fromkeys(reader.float_types)) or "float32",
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        metadata={entry.key: entry.value for entry in model.metadata_props},
        makers={
            entry.key.removeprefix(ROUNDED_AS): entry.value
            for entry in model.metadata_props
            if entry.key.startswith(ROUNDED_AS)
        },
        size=model.ByteSize() + sum(values.nbytes for values in constants.values()),
    )


def _parsed(data: bytes) -> Any:
    onnx = import_onnx()
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:  # a DecodeError, whose module is not typed, and whatever else there may be
        raise CheckpointError("this is not an ONNX model, or it is cut off or damaged") from None
    if not model.HasField("graph") or not len(model.graph.node):
        raise CheckpointError("the ONNX model is empty: there is no graph in it")
    return model


def _inlined(model: Any) -> Any:
    """The model with its own functions written out, as some exporters leave them.

    Raises `CheckpointError` for functions that call each other in circles, or whose calls of calls
    make more than `MAX_NODES` nodes: both are counted before one is written out.
    """
    if not len(model.functions):
        return model
    bodies = {(f.domain, f.name): [(n.domain, n.op_type) for n in f.node] for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}
    for _ in range(len(bodies) + 1):  # as deep as calls can be without a circle
        for key, calls in bodies.items():
            if key not in sizes and all(c in sizes for c in calls if c in bodies):
                sizes[key] = sum(min(sizes.get(c, 1), MAX_NODES + 1) for c in calls)
    for _, name in bodies.keys() - sizes.keys():
        raise CheckpointError(f"the function {shown(name)} calls itself, or one that does")
    if len(bodies) != len(model.functions):
        raise CheckpointError("two functions of the model have the same name")
    total = sum(sizes.get((node.domain, node.op_type), 1) for node in model.graph.node)
    if total > MAX_NODES:
        raise CheckpointError(f"{total} nodes are more than the {MAX_NODES} accepted")
    from onnx.inliner import inline_local_functions

    try:
        return inline_local_functions(model)
    except Exception as error:  # of a library in another language
        raise CheckpointError(f"the functions of the model do not fit it: {error}") from None


def _opset(model: Any) -> int:
    """The version of the standard ops; other domains may be declared, but not used."""
    versions = {entry.version for entry in model.opset_import if entry.domain in DOMAINS}
    if len(versions) != 1:
        raise CheckpointError(f"the opset versions are {sorted(versions)}; there must be one")
    opset = int(versions.pop())
    newest = import_onnx().defs.onnx_opset_version()
    if not FIRST_OPSET <= opset <= newest:
        raise CheckpointError(f"the opset is {opset}; supported are {FIRST_OPSET} to {newest}")
    return opset


def _check_ops(nodes: Iterable[Any], supported: tuple[str, ...]) -> None:
    for node in nodes:
        if node.domain == "com.microsoft" and node.op_type in (*FUSED, *WHOLE):
            continue
        if node.domain.startswith("com.microsoft"):
            raise CheckpointError(
                f"the op {shown(node.op_type)} is of the domain {shown(node.domain)}: the file was "
                "optimised for one machine; give the original, or save it with the graph "
                "optimisation level ORT_ENABLE_BASIC"
            )
        if node.domain not in DOMAINS:
            raise CheckpointError(
                f"the op {shown(node.op_type)} is of the domain {shown(node.domain)}; "
                "only standard ONNX ops are supported"
            )
        if node.op_type not in supported or node.op_type in FUSED:
            if node.op_type in ("Resize", "Upsample"):
                raise CheckpointError(
                    f"the op {shown(node.op_type)} is not supported: it scales pictures inside; "
                    "export the network behind it, whose profile says how they are scaled"
                )
            raise CheckpointError(
                f"the op {shown(node.op_type)} is not supported; "
                f"supported are {', '.join(sorted({*supported} - {*FUSED}))}"
            )


def _declared(entry: Any, types: Any) -> tuple[Dim, ...]:
    """The shape of an input or output; a size that is left open is its name, or ``?`` and a place.

    Raises `CheckpointError` for what is not a tensor, or has a size below 1.
    """
    if entry.type.WhichOneof("value") != "tensor_type":
        raise CheckpointError(f"{shown(entry.name)} is not a tensor, which it must be")
    kind = entry.type.tensor_type
    if kind.elem_type not in types:
        raise CheckpointError(
            f"{shown(entry.name)} has the element type {type_name(kind.elem_type)}; "
            "a float type is needed, or uint8 for pixels"
        )
    dims: list[Dim] = []
    for place, dim in enumerate(kind.shape.dim):
        if dim.WhichOneof("value") == "dim_value":
            least = 1 if len(types) < 8 else 0  # data cannot be empty, constants can
            if not least <= dim.dim_value < 2**31:
                raise CheckpointError(
                    f"{shown(entry.name)} has the size {dim.dim_value} along axis {place}; "
                    "a size is 1 or more"
                )
            dims.append(int(dim.dim_value))
        else:
            dims.append(dim.dim_param or f"?{place}")
    return tuple(dims)


def _initializers(graph: Any, reader: Tensors) -> dict[str, Array]:
    constants: dict[str, Array] = {}
    if len(graph.sparse_initializer):
        raise CheckpointError("the model has sparse initializers; only dense ones are supported")
    for tensor in graph.initializer:
        if tensor.name in constants or not tensor.name:
            raise CheckpointError(f"the name of the initializer {shown(tensor.name)} is not unique")
        constants[tensor.name] = reader.array(tensor, tensor.name)
    return constants


def _node(node: Any, reader: Tensors) -> OnnxNode:
    attrs: dict[str, Any] = {}
    for attribute in node.attribute:
        where = f"the attribute {shown(attribute.name)} of {shown(node.name)}"
        if attribute.name in attrs:
            raise CheckpointError(f"{where} is given twice")
        attrs[attribute.name] = _attribute(attribute, where, reader)
    return OnnxNode(node.name, node.op_type, tuple(node.input), tuple(node.output), attrs)


def _attribute(attribute: Any, where: str, reader: Tensors) -> Any:
    kind = attribute.type
    if attribute.ref_attr_name:
        raise CheckpointError(f"{where} refers to another attribute, which only functions may")
    if kind == 1:
        return float(attribute.f)
    if kind == 2:
        return int(attribute.i)
    if kind == 3:
        return attribute.s.decode("utf-8", "replace")
    if kind == 4:
        return reader.array(attribute.t, where)
    if kind in (6, 7):
        return tuple(attribute.floats if kind == 6 else attribute.ints)
    if kind == 8:
        return tuple(text.decode("utf-8", "replace") for text in attribute.strings)
    raise CheckpointError(f"{where} has the type {kind}; numbers, texts and tensors are supported")


def check_names(
    inputs: Iterable[str],
    constants: Mapping[str, Array],
    nodes: Iterable[OnnxNode],
    outputs: tuple[str, ...],
) -> None:
    """Every name is made once, and before it is read."""
    inputs = tuple(inputs)
    if len(set(inputs)) != len(inputs) or not all(inputs):
        raise CheckpointError("two inputs have the same name, or one has none")
    if len(set(outputs)) != len(outputs) or not outputs:
        raise CheckpointError("two outputs have the same name, or there is none")
    nodes = tuple(nodes)
    later = {name for node in nodes for name in node.outputs}
    known = {"", *inputs, *constants}
    for node in nodes:
        for name in node.inputs:
            if name not in known:
                why = "is made only later (a circle?)" if name in later else "nothing makes"
                raise CheckpointError(f"the node {node} reads {shown(name)}, which {why}")
        for name in node.outputs:
            if name and name in known:
                raise CheckpointError(f"the node {node} makes {shown(name)}, which exists already")
        known.update(node.outputs)
    for name in outputs:
        if name not in known or not name:
            raise CheckpointError(f"the output {shown(name)} is made by no node")
