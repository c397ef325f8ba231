"""Which field of which table of a TensorFlow Lite file means what, and what its ops are called.

Source: the schema of TensorFlow Lite, version 3 (``schema.fbs``): fields are numbered in its order.
"""

from collections.abc import Mapping
from typing import NamedTuple

from tsm_ref.checkpoint.tflite.flatbuffer import Table

MAGIC = b"TFL3"
"""The file identifier, behind the first four bytes."""

TYPES: Mapping[int, tuple[str, str]] = {
    0: ("float32", "<f4"),
    1: ("float16", "<f2"),
    2: ("int32", "<i4"),
    3: ("uint8", "|u1"),
    4: ("int64", "<i8"),
    6: ("bool", "|b1"),
    7: ("int16", "<i2"),
    9: ("int8", "|i1"),
    10: ("float64", "<f8"),
    12: ("uint64", "<u8"),
    15: ("uint32", "<u4"),
    16: ("uint16", "<u2"),
    18: ("bfloat16", "<u2"),
}
"""The tensor types that are read: name, and how a value lies in the file."""

OTHER_TYPES = {
    5: "string", 8: "complex64", 11: "complex128", 13: "resource", 14: "variant", 17: "int4",
    19: "int2", 20: "uint4", 21: "float8_e4m3fn", 22: "float8_e5m2",
}  # fmt: skip
"""The tensor types that are not read, by name."""


def type_name(number: int) -> str:
    """The name of a tensor type.

    >>> type_name(9), type_name(17), type_name(99)
    ('int8', 'int4', 'with the unknown number 99')
    """
    known = {n: kind for n, (kind, _) in TYPES.items()} | OTHER_TYPES
    return known.get(number, f"with the unknown number {number}")


CUSTOM = 32
"""The op whose name stands in the file."""

ACTIVATIONS = {1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6", 4: "TANH"}
"""Activations that are part of the op in front of them."""


class Options(NamedTuple):
    """The options of an op: which member of the union they are, and number and letter by name.

    A letter is one of `struct`, ``I*`` for a list of whole numbers; a default other than 0 follows.
    """

    member: int
    fields: Mapping[str, tuple[int, str, int]]


def _options(member: int, **fields: tuple[int, str] | tuple[int, str, int]) -> Options:
    return Options(member, {name: (*field, 0)[:3] for name, field in fields.items()})


_POOL = _options(
    5, padding=(0, "b"), stride_w=(1, "i"), stride_h=(2, "i"), width=(3, "i"), height=(4, "i"),
    activation=(5, "b"),
)  # fmt: skip
_REDUCER = _options(27, keep=(0, "?"))

OPTIONS: Mapping[str, Options] = {
    "CONV_2D": _options(
        1, padding=(0, "b"), stride_w=(1, "i"), stride_h=(2, "i"), activation=(3, "b"),
        dilation_w=(4, "i", 1), dilation_h=(5, "i", 1),
    ),
    "DEPTHWISE_CONV_2D": _options(
        2, padding=(0, "b"), stride_w=(1, "i"), stride_h=(2, "i"), multiplier=(3, "i"),
        activation=(4, "b"),
        dilation_w=(5, "i", 1), dilation_h=(6, "i", 1),
    ),
    "CONV_3D": _options(
        106, padding=(0, "b"), stride_d=(1, "i"), stride_w=(2, "i"), stride_h=(3, "i"),
        activation=(4, "b"), dilation_d=(5, "i", 1), dilation_w=(6, "i", 1),
        dilation_h=(7, "i", 1),
    ),
    "AVERAGE_POOL_2D": _POOL,
    "MAX_POOL_2D": _POOL,
    "FULLY_CONNECTED": _options(8, activation=(0, "b"), format=(1, "b"), keep=(2, "?")),
    "BATCH_MATMUL": _options(101, adj_x=(0, "?"), adj_y=(1, "?")),
    "SOFTMAX": _options(9, beta=(0, "f")),
    "CONCATENATION": _options(10, axis=(0, "i"), activation=(1, "b")),
    "ADD": _options(11, activation=(0, "b")),
    "SUB": _options(28, activation=(0, "b")),
    "MUL": _options(21, activation=(0, "b")),
    "DIV": _options(29, activation=(0, "b")),
    "RESHAPE": _options(17, shape=(0, "I*")),
    "SQUEEZE": _options(30, axes=(0, "I*")),
    "STRIDED_SLICE": _options(
        32, begin=(0, "i"), end=(1, "i"), ellipsis=(2, "i"), new=(3, "i"), shrink=(4, "i"),
        offset=(5, "?"),
    ),
    "GATHER": _options(23, axis=(0, "i"), batch=(1, "i")),
    "PACK": _options(59, axis=(1, "i")),
    "UNPACK": _options(64, axis=(1, "i")),
    "LEAKY_RELU": _options(75, alpha=(0, "f")),
    "MIRROR_PAD": _options(77, mode=(0, "b")),
    "CAST": _options(37, source=(0, "b"), to=(1, "b")),
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"), _REDUCER),
}  # fmt: skip
"""The options that are read, by op; those of all other ops say nothing that matters here."""

OPS: Mapping[int, str] = {
    0: "ADD", 1: "AVERAGE_POOL_2D", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D",
    5: "DEPTH_TO_SPACE", 6: "DEQUANTIZE", 7: "EMBEDDING_LOOKUP", 8: "FLOOR", 9: "FULLY_CONNECTED",
    11: "L2_NORMALIZATION", 12: "L2_POOL_2D", 13: "LOCAL_RESPONSE_NORMALIZATION", 14: "LOGISTIC",
    16: "LSTM", 17: "MAX_POOL_2D", 18: "MUL", 19: "RELU", 20: "RELU_N1_TO_1", 21: "RELU6",
    22: "RESHAPE", 23: "RESIZE_BILINEAR", 24: "RNN", 25: "SOFTMAX", 26: "SPACE_TO_DEPTH",
    27: "SVDF", 28: "TANH", 31: "CALL", 33: "EMBEDDING_LOOKUP_SPARSE", 34: "PAD",
    35: "UNIDIRECTIONAL_SEQUENCE_RNN", 36: "GATHER", 37: "BATCH_TO_SPACE_ND",
    38: "SPACE_TO_BATCH_ND", 39: "TRANSPOSE", 40: "MEAN", 41: "SUB", 42: "DIV", 43: "SQUEEZE",
    44: "UNIDIRECTIONAL_SEQUENCE_LSTM", 45: "STRIDED_SLICE", 47: "EXP", 48: "TOPK_V2", 49: "SPLIT",
    50: "LOG_SOFTMAX", 51: "DELEGATE", 53: "CAST", 54: "PRELU", 55: "MAXIMUM", 56: "ARG_MAX",
    57: "MINIMUM", 58: "LESS", 59: "NEG", 60: "PADV2", 61: "GREATER", 62: "GREATER_EQUAL",
    63: "LESS_EQUAL", 64: "SELECT", 65: "SLICE", 66: "SIN", 67: "TRANSPOSE_CONV",
    68: "SPARSE_TO_DENSE", 69: "TILE", 70: "EXPAND_DIMS", 71: "EQUAL", 72: "NOT_EQUAL", 73: "LOG",
    74: "SUM", 75: "SQRT", 76: "RSQRT", 77: "SHAPE", 78: "POW", 79: "ARG_MIN", 80: "FAKE_QUANT",
    81: "REDUCE_PROD", 82: "REDUCE_MAX", 83: "PACK", 84: "LOGICAL_OR", 85: "ONE_HOT",
    86: "LOGICAL_AND", 87: "LOGICAL_NOT", 88: "UNPACK", 89: "REDUCE_MIN", 90: "FLOOR_DIV",
    91: "REDUCE_ANY", 92: "SQUARE", 93: "ZEROS_LIKE", 94: "FILL", 95: "FLOOR_MOD", 96: "RANGE",
    97: "RESIZE_NEAREST_NEIGHBOR", 98: "LEAKY_RELU", 99: "SQUARED_DIFFERENCE", 100: "MIRROR_PAD",
    101: "ABS", 102: "SPLIT_V", 104: "CEIL", 105: "REVERSE_V2", 106: "ADD_N", 107: "GATHER_ND",
    110: "RANK", 111: "ELU", 114: "QUANTIZE", 116: "ROUND", 117: "HARD_SWISH", 118: "IF",
    119: "WHILE", 122: "SCATTER_ND", 123: "SELECT_V2", 124: "DENSIFY", 126: "BATCH_MATMUL",
    128: "CUMSUM", 129: "CALL_ONCE", 130: "BROADCAST_TO", 132: "CONV_3D", 133: "IMAG",
    142: "VAR_HANDLE", 143: "READ_VARIABLE", 144: "ASSIGN_VARIABLE", 145: "BROADCAST_ARGS",
    150: "GELU", 151: "DYNAMIC_UPDATE_SLICE", 152: "RELU_0_TO_1",
}  # fmt: skip
"""The names of ops, for those that are read and those that a refusal should name."""


class Field:
    """The numbers of the fields of each table."""

    class Model:
        """The whole file."""

        VERSION, CODES, SUBGRAPHS, DESCRIPTION, BUFFERS = range(5)

    class Code:
        """An op, of which operators are instances."""

        OLD, CUSTOM, VERSION, BUILTIN = range(4)

    class Subgraph:
        """One graph."""

        TENSORS, INPUTS, OUTPUTS, OPERATORS, NAME = range(5)

    class Tensor:
        """A value or a constant; ``SIGNATURE`` is its shape with -1 where a size is open."""

        SHAPE, TYPE, BUFFER, NAME, STEPS, VARIABLE, SPARSITY, SIGNATURE = range(8)
        VARIANT, EXTERNAL = 9, 10

    class Steps:
        """How a tensor is rounded."""

        SCALE, ZERO, KIND, DETAILS, AXIS = range(2, 7)

    class Operator:
        """One operation."""

        CODE, INPUTS, OUTPUTS, KIND, OPTIONS = range(5)

    class Buffer:
        """The bytes of a constant, inside the flatbuffer or behind it."""

        DATA, OFFSET, SIZE = range(3)


def options_of(op: str, operator: Table) -> Mapping[str, float | int | tuple[int, ...]] | None:
    """The options of an operator by name, defaults for all that are absent.

    None where the file says that they are those of another op.
    """
    known = OPTIONS.get(op, Options(0, {}))
    member = operator.number(Field.Operator.KIND, "B")
    table = operator.table(Field.Operator.OPTIONS) if known.fields and member else None
    if known.fields and member not in (0, known.member):
        return None
    found: dict[str, float | int | tuple[int, ...]] = {}
    for name, (number, letter, default) in known.fields.items():
        if letter == "I*":
            values = None if table is None else table.array(number, "<i4")
            if values is not None:
                found[name] = tuple(values[:16].tolist())
        else:
            found[name] = default if table is None else table.number(number, letter, default)
    return found
