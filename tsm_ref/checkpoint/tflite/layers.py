"""Ops of TensorFlow Lite that compute, as ONNX ops over channels that come first.

Each function writes what an operation computes of reals and returns the name of the result; who
calls it applies the activation that is part of the operation, and rounds where the file does.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tsm_ref.checkpoint.contents import shown
from tsm_ref.checkpoint.tflite.guard import Operator
from tsm_ref.checkpoint.tflite.schema import ACTIVATIONS
from tsm_ref.checkpoint.tflite.writing import LAST, Writing, back
from tsm_ref.errors import CheckpointError

Layer = Callable[[Writing, Operator], str]

PADDING = {0: "SAME_UPPER", 1: "VALID"}
LOWEST = -3e38
"""What stands for minus infinity."""
CLIPS = {"RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0), "RELU_0_TO_1": (0.0, 1.0)}


def _window(operator: Operator, letters: str) -> dict[str, Any]:
    """What a window does along its axes."""
    options = operator.options
    padding = options["padding"]
    if padding not in PADDING:
        raise CheckpointError(f"an operation {operator.op} has the padding {padding}; 0 or 1 is")
    found: dict[str, Any] = {"auto_pad": PADDING[padding]}
    found["strides"] = tuple(options[f"stride_{letter}"] for letter in letters)
    if "dilation_w" in options:
        found["dilations"] = tuple(options[f"dilation_{letter}"] for letter in letters)
    return found


def framed(w: Writing, operator: Operator) -> tuple[int, dict[str, Any]]:
    """What a window reads, and the frame that a PAD puts around it, which the window takes over.

    A pool of maxima takes nothing in its frame: a frame of zeros is left where a value may be less.
    """
    number, rank = operator.inputs[0], w.rank(operator)
    maker = w.makers.get(number)
    if maker is None or maker.op not in ("PAD", "PADV2") or operator.options["padding"] != 1:
        return number, {}
    pads, pool = w.ints(maker, 1), operator.op == "MAX_POOL_2D"
    if len(pads) != 2 * rank or any(pads[:2]) or any(pads[-2:]) or min(pads) < 0:
        return number, {}
    fill = 0.0
    if maker.op == "PADV2":
        tensor, value = w.tensor(maker, 2), w.fixed(maker, 2)
        if tensor.dtype != "float32" or value.size != 1:
            return number, {}
        fill = float(value.reshape(-1)[0])
    least = fill <= LOWEST or (fill == 0 and _never_negative(w, maker.inputs[0]))
    if not (least if pool else fill == 0):
        return number, {}
    inner = pads[2:-2]
    return maker.inputs[0], {"pads": (*inner[::2], *inner[1::2]), "auto_pad": "NOTSET"}


def _never_negative(w: Writing, number: int) -> bool:
    """True for a value behind a ReLU."""
    maker = w.makers.get(number)
    if maker is None:
        return False
    kind = ACTIVATIONS.get(maker.options.get("activation", 0), maker.op)
    if kind in ("RELU", "RELU6"):
        return True
    return kind in ("MAX_POOL_2D", "QUANTIZE", "DEQUANTIZE") and _never_negative(w, maker.inputs[0])


def conv_2d(w: Writing, operator: Operator) -> str:
    """CONV_2D, in groups where its weight has fewer channels than what it reads."""
    shape, given = w.tensor(operator, 1).shape, w.tensor(operator, 0).shape
    if len(shape) != 4 or len(given) != 4 or not shape[3] or given[3] % shape[3]:
        raise CheckpointError(f"a CONV_2D of {given} has a weight of the shape {shape}")
    weight = w.weight(operator, 1, (0, 3, 1, 2))
    return _convolved(w, operator, weight, "hw", given[3] // shape[3])


def depthwise_conv_2d(w: Writing, operator: Operator) -> str:
    """DEPTHWISE_CONV_2D: every channel has one or several outputs of its own."""
    shape, given = w.tensor(operator, 1).shape, w.tensor(operator, 0).shape
    if len(shape) != 4 or len(given) != 4 or not given[3] or shape[3] % given[3]:
        raise CheckpointError(f"a DEPTHWISE_CONV_2D of {given} has a weight of the shape {shape}")
    return _convolved(w, operator, w.weight(operator, 1, (3, 0, 1, 2)), "hw", given[3])


def conv_3d(w: Writing, operator: Operator) -> str:
    """CONV_3D over (N, T, H, W, C)."""
    return _convolved(w, operator, w.weight(operator, 1, (4, 3, 0, 1, 2)), "dhw", 1)


def _convolved(w: Writing, operator: Operator, weight: str, letters: str, group: int) -> str:
    order = LAST[len(letters) + 2]
    number, pads = framed(w, operator)
    x = w.turned(w.real_of(number), order)
    attrs: dict[str, Any] = {"group": group} if group > 1 else {}
    inputs = [x, weight, *w.bias(operator)]
    made = w.do("Conv", inputs, **{**_window(operator, letters), **pads}, **attrs)
    return w.turned(made, back(order))


def _pool(op: str) -> Layer:
    def layer(w: Writing, operator: Operator) -> str:
        kernel = (operator.options["height"], operator.options["width"])
        number, pads = framed(w, operator)
        if pads and op == "AveragePool":
            pads["count_include_pad"] = 1
        x = w.turned(w.real_of(number), LAST[4])
        made = w.do(op, [x], kernel_shape=kernel, **{**_window(operator, "hw"), **pads})
        return w.turned(made, back(LAST[4]))

    return layer


def fully_connected(w: Writing, operator: Operator) -> str:
    """FULLY_CONNECTED; what it reads is rows as long as its weight is wide."""
    if operator.options["format"]:
        raise CheckpointError("a FULLY_CONNECTED has its weight shuffled for one processor")
    shape, x = w.tensor(operator, 1).shape, w.real(operator, 0)
    weight = w.weight(operator, 1, (0, 1))
    if w.rank(operator) != 2 and not operator.options["keep"]:
        x = w.do("Reshape", [x, w.constant(np.array([-1, shape[1]]))], allowzero=1)
    return w.do("Gemm", [x, weight, *w.bias(operator)], transB=1)


def batch_matmul(w: Writing, operator: Operator) -> str:
    """BATCH_MATMUL: the two products of a non-local block, or a linear layer."""
    names = []
    for place, adjoint in enumerate(("adj_x", "adj_y")):
        name, rank = w.real(operator, place), w.rank(operator, place)
        if operator.options[adjoint]:
            name = w.turned(name, (*range(rank - 2), rank - 1, rank - 2))
        names.append(name)
    return w.do("MatMul", names)


def _reduced(op: str) -> Layer:
    def layer(w: Writing, operator: Operator) -> str:
        axes = w.constant(np.array(w.ints(operator, 1), np.int64))
        keep = int(operator.options["keep"])
        inputs = [w.real(operator, 0), axes]
        return w.do(op, inputs, keepdims=keep, noop_with_empty_axes=1)

    return layer


def _pair(op: str) -> Layer:
    def layer(w: Writing, operator: Operator) -> str:
        return w.do(op, [w.real(operator, 0), w.real(operator, 1)])

    return layer


def _limit(end: int) -> Layer:
    """MAXIMUM and MINIMUM with a number: one end of a clip."""

    def layer(w: Writing, operator: Operator) -> str:
        constant = next((i for i in (0, 1) if w.tensor(operator, i).data is not None), None)
        if constant is None or w.tensor(operator, constant).dtype != "float32":
            raise CheckpointError(f"an operation {operator.op} is supported with a number alone")
        values = w.fixed(operator, constant)
        if values.size != 1:
            raise CheckpointError(f"an operation {operator.op} has a limit for each place")
        number = w.constant(values.reshape(()))
        limits = ["", number][: end + 1] if end else [number]
        return w.do("Clip", [w.real(operator, 1 - constant), *limits])

    return layer


def activation(w: Writing, name: str, kind: str, **attrs: Any) -> str:
    """A value behind RELU, RELU6, ... by name."""
    if kind in CLIPS:
        low, high = CLIPS[kind]
        return w.do("Clip", [name], min=low, max=high)
    return w.do({"RELU": "Relu", "TANH": "Tanh", "LOGISTIC": "Sigmoid"}[kind], [name], **attrs)


def fused(w: Writing, operator: Operator, made: str) -> str:
    """A value behind the activation that is part of an operation."""
    number = operator.options.get("activation", 0)
    if not number:
        return made
    if number not in ACTIVATIONS:
        raise CheckpointError(f"an operation {operator.op} has the activation {number}")
    return activation(w, made, ACTIVATIONS[number])


def _activated(kind: str) -> Layer:
    return lambda w, operator: activation(w, w.real(operator, 0), kind)


def _unary(op: str) -> Layer:
    return lambda w, operator: w.do(op, [w.real(operator, 0)])


def leaky_relu(w: Writing, operator: Operator) -> str:
    """LEAKY_RELU."""
    return w.do("LeakyRelu", [w.real(operator, 0)], alpha=operator.options["alpha"])


def softmax(w: Writing, operator: Operator) -> str:
    """SOFTMAX along the last axis, of beta times what it reads."""
    x, beta = w.real(operator, 0), operator.options["beta"] or 1.0
    if not np.isfinite(beta):
        raise CheckpointError(
            f"a SOFTMAX of {shown(w.tensor(operator, 0).name)} has no finite beta"
        )
    if beta != 1:
        x = w.do("Mul", [x, w.constant(np.float32(beta))])
    return w.do("Softmax", [x], axis=-1)


def log_softmax(w: Writing, operator: Operator) -> str:
    """LOG_SOFTMAX along the last axis."""
    return w.do("LogSoftmax", [w.real(operator, 0)], axis=-1)


def _arg(op: str) -> Layer:
    def layer(w: Writing, operator: Operator) -> str:
        (axis,) = w.ints(operator, 1)
        return w.do(op, [w.real(operator, 0)], axis=axis, keepdims=0)

    return layer


def fake_quant(w: Writing, operator: Operator) -> str:
    """DEQUANTIZE, of whole numbers or of half precision, and QUANTIZE, also from steps to steps."""
    return w.real(operator, 0)


LAYERS: Mapping[str, Layer] = {
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "CONV_3D": conv_3d,
    "AVERAGE_POOL_2D": _pool("AveragePool"),
    "MAX_POOL_2D": _pool("MaxPool"),
    "FULLY_CONNECTED": fully_connected,
    "BATCH_MATMUL": batch_matmul,
    "MEAN": _reduced("ReduceMean"),
    "SUM": _reduced("ReduceSum"),
    "REDUCE_MAX": _reduced("ReduceMax"),
    "REDUCE_MIN": _reduced("ReduceMin"),
    "REDUCE_PROD": _reduced("ReduceProd"),
    "ADD": _pair("Add"),
    "SUB": _pair("Sub"),
    "MUL": _pair("Mul"),
    "DIV": _pair("Div"),
    "MAXIMUM": _limit(0),
    "MINIMUM": _limit(1),
    **{kind: _activated(kind) for kind in ("RELU", *CLIPS, "TANH", "LOGISTIC")},
    "HARD_SWISH": _unary("HardSwish"),
    "NEG": _unary("Neg"),
    "SQRT": _unary("Sqrt"),
    "LEAKY_RELU": leaky_relu,
    "PRELU": lambda w, operator: w.do("PRelu", [w.real(operator, 0), w.real(operator, 1)]),
    "SOFTMAX": softmax,
    "LOG_SOFTMAX": log_softmax,
    "ARG_MAX": _arg("ArgMax"),
    "ARG_MIN": _arg("ArgMin"),
    "QUANTIZE": fake_quant,
    "DEQUANTIZE": fake_quant,
}
"""The ops that compute."""
