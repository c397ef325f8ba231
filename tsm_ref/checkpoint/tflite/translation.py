"""A TensorFlow Lite file written out in ONNX's ops, whole numbers as the reals behind them.

An operation on whole numbers is written as ``dequantize - op - quantize``, which is what it means;
`tsm_ref.passes.whole_numbers` then computes with whole numbers where it can. Inputs and outputs in
whole numbers become the reals that they stand for.

TensorFlow Lite rounds a sum to 8 bits in one of two ways. XNNPACK, which LiteRT uses unless told
otherwise, multiplies float32(sum) by a float32 scale and rounds halves to even: our rule. Its own
kernels multiply with a whole number of 31 bits and shift, halves away from zero: a result next to a
half may be one step away from ours. What LiteRT with XNNPACK computes by another formula than ours
is told by the name of the operation, and computed by that (`tsm_ref.reference.litert`).
"""

from collections.abc import Sequence

from tsm_ref.checkpoint.contents import shown
from tsm_ref.checkpoint.onnx_in.guard import Dim, OnnxModel, OnnxNode, check_names
from tsm_ref.checkpoint.tflite.guard import Operator, TfliteModel, TfliteTensor
from tsm_ref.checkpoint.tflite.layers import LAYERS, fused
from tsm_ref.checkpoint.tflite.moves import MOVES
from tsm_ref.checkpoint.tflite.writing import FINE, ROUNDED, Writing
from tsm_ref.errors import CheckpointError

OPSET = 18
"""The version of ONNX's ops that is written."""

SUPPORTED = (*LAYERS, *MOVES)
INPUT_TYPES = ("float32", "float16", FINE, *ROUNDED)
SATURATED = ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_3D", "FULLY_CONNECTED", "ADD", "SUB", "MUL")
"""The layers whose results may lie beyond the range that the file gives them."""

WITH_WEIGHTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_3D", "FULLY_CONNECTED", "BATCH_MATMUL")


def as_onnx(model: TfliteModel) -> OnnxModel:
    """The same network in the form that the reader of ONNX files goes on with.

    Raises `CheckpointError` for operations that are damaged or not supported.
    """
    w = Writing(model)
    inputs = tuple(_input(w, number) for number in model.inputs)
    outputs = tuple(w.leave(number) for number in model.outputs)
    for operator in model.operators:
        _write(w, operator)
    for name, number in zip(outputs, model.outputs, strict=True):
        w.answer(name, number)
    check_names([name for name, _ in inputs], w.constants, w.nodes, outputs)
    nodes = _read(w.nodes, outputs)
    return OnnxModel(
        name=model.name or "tflite",
        opset=OPSET,
        inputs=inputs,
        outputs=outputs,
        output_shapes=tuple(_dims(model.tensors[number]) for number in model.outputs),
        nodes=nodes,
        constants=w.constants,
        storage=_storage(model),
        producer=model.description,
        byte_inputs=frozenset(
            name
            for (name, _), number in zip(inputs, model.inputs, strict=True)
            if model.tensors[number].dtype == "uint8" and model.tensors[number].steps is None
        ),
        makers=_makers(w),
        size=model.size + sum(values.nbytes for values in w.constants.values()),
        sha256=model.sha256,
    )


def _makers(w: Writing) -> dict[str, str]:
    """The operations whose results are rounded, by the names of these."""
    return {
        w.name(number): operator.op
        for operator in w.model.operators
        for number in operator.outputs
        if w.model.tensors[number].dtype in ROUNDED
    }


def rounded_at_run_time(model: TfliteModel) -> int:
    """How many layers have weights of 8 bits and read reals, which LiteRT rounds as it goes."""
    tensors = model.tensors
    return sum(
        operator.op in WITH_WEIGHTS
        and len(operator.inputs) > 1
        and tensors[operator.inputs[0]].dtype == "float32"
        and tensors[operator.inputs[1]].dtype in ROUNDED
        for operator in model.operators
    )


def fine(model: TfliteModel) -> int:
    """How many values stand for reals in 16 bits, to which LiteRT rounds them."""
    made = {number for operator in model.operators for number in operator.outputs}
    return sum(model.tensors[number].dtype == FINE for number in made)


def _read(nodes: Sequence[OnnxNode], outputs: Sequence[str]) -> tuple[OnnxNode, ...]:
    """The nodes that an output depends on: a frame that a window takes over is read no more."""
    live, kept = set(outputs), []
    for node in reversed(nodes):
        if live & {*node.outputs}:
            live.update(node.inputs)
            kept.append(node)
    return tuple(reversed(kept))


def _input(w: Writing, number: int) -> tuple[str, tuple[Dim, ...]]:
    tensor = w.model.tensors[number]
    unscaled = tensor.dtype in ("int8", FINE) and tensor.steps is None
    if tensor.dtype not in INPUT_TYPES or unscaled:
        raise CheckpointError(
            f"the input {shown(tensor.name)} is of the type {tensor.dtype}; floats, pixels, or "
            "whole numbers of 8 or 16 bits with a scale are needed"
        )
    return w.enter(number), _dims(tensor)


def _dims(tensor: TfliteTensor) -> tuple[Dim, ...]:
    return tuple(f"?{place}" if size < 0 else size for place, size in enumerate(tensor.signature))


def _storage(model: TfliteModel) -> str:
    kinds = [t.dtype for t in model.tensors if t.data is not None and t.dtype in INPUT_TYPES]
    whole = [kind for kind in kinds if kind in ROUNDED]
    return "+".join(dict.fromkeys(whole or [k for k in kinds if k != "int32"])) or "float32"


def _write(w: Writing, operator: Operator) -> None:
    w.begin(operator)
    if operator.op in LAYERS:
        made = fused(w, operator, LAYERS[operator.op](w, operator))
        w.finish(_within_range(w, operator, made), operator.outputs[0])
        return
    move, places = MOVES[operator.op]
    holding: Sequence[int] = places or range(len(operator.inputs))
    if operator.op in ("SHAPE", "RANGE"):
        holding = ()
    same = holding and all(_alike(w, operator, place) for place in holding)
    if same and not operator.options.get("activation"):
        results = move(w, operator, lambda place: w.operand(operator, place))
        _keep(w, operator, results)
        return
    results = move(w, operator, lambda place: w.real(operator, place))
    for made, number in zip(results, operator.outputs, strict=False):
        w.finish(fused(w, operator, made), number)


def _within_range(w: Writing, operator: Operator, made: str) -> str:
    """A value of 16 bits, which stays real, without what lies beyond their range.

    Means are left: the last one is the mean over frames, which a stream does without.
    """
    tensor = w.model.tensors[operator.outputs[0]]
    if tensor.dtype != FINE or tensor.steps is None or operator.op not in SATURATED:
        return made
    scale = float(tensor.steps.scale.reshape(-1)[0])
    low, high = -(2**15) * scale, (2**15 - 1) * scale
    last = w.nodes[-1]
    if last.op in ("Relu", "Clip") and last.outputs == (made,) and last.inputs[1:] == ():
        w.nodes.pop()
        made = last.inputs[0]
        low, high = max(low, last.attrs.get("min", 0.0)), min(high, last.attrs.get("max", high))
    return w.do("Clip", [made], min=low, max=high)


def _alike(w: Writing, operator: Operator, place: int) -> bool:
    """True where an operand has the steps of the results."""
    mine = w.tensor(operator, place)
    return mine.dtype != FINE and all(
        mine.dtype == other.dtype and _same_steps(mine, other)
        for other in (w.model.tensors[number] for number in operator.outputs)
    )


def _same_steps(a: TfliteTensor, b: TfliteTensor) -> bool:
    if a.steps is None or b.steps is None:
        return a.steps is b.steps
    return bool(a.steps.scale.tolist() == b.steps.scale.tolist()) and bool(
        a.steps.zero_point.tolist() == b.steps.zero_point.tolist()
    )


def _keep(w: Writing, operator: Operator, results: Sequence[str]) -> None:
    """Let the tensors of the file be these results, as they are."""
    for made, number in zip(results, operator.outputs, strict=False):
        w.rename(made, number)
