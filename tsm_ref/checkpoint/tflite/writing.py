"""The ONNX nodes that a TensorFlow Lite file is written out as, and the tensors that they read.

Every tensor of the file has one name. Where it holds whole numbers that stand for reals, that name
is of the whole numbers, and `Writing.real` gives another one to the reals behind them.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.checkpoint.contents import shown
from tsm_ref.checkpoint.onnx_in.guard import OnnxNode
from tsm_ref.checkpoint.tflite.guard import Operator, Steps, TfliteModel, TfliteTensor
from tsm_ref.errors import CheckpointError

Array = NDArray[Any]

LAST = {3: (0, 2, 1), 4: (0, 3, 1, 2), 5: (0, 4, 1, 2, 3)}
"""For each number of axes, the order that puts the channels second; they are last in the file."""

ROUNDED = ("int8", "uint8")
"""The types of values that stand for reals."""

FINE = "int16"
"""The type of values that stand for reals in steps so small that they are read as these reals."""

RECENT = 16
"""How far back a node may stand that is given the name of the file."""

FREE, PER_BYTE = 2**24, 8
"""How many bytes all constants may take that are made: buffers may be shared, files lie."""


class Writing:
    """The ONNX graph so far."""

    def __init__(self, model: TfliteModel) -> None:
        self.model = model
        self.at = ""
        self.nodes: list[OnnxNode] = []
        self.makers = {n: o for o in model.operators for n in o.outputs}
        self.constants: dict[str, Array] = {}
        self._names = _unique([tensor.name for tensor in model.tensors])
        self._used = set(self._names)
        self._reals: dict[int, str] = {}
        self._left = FREE + PER_BYTE * model.size

    # Tensors

    def begin(self, operator: Operator) -> None:
        """From here on nodes and names belong to an operation."""
        self.at = self._names[operator.outputs[0]]

    def tensor(self, operator: Operator, place: int) -> TfliteTensor:
        """An operand; raises `CheckpointError` where it is missing."""
        if not self.given(operator, place):
            raise CheckpointError(f"an operation {operator.op} lacks its operand {place}")
        return self.model.tensors[operator.inputs[place]]

    def given(self, operator: Operator, place: int) -> bool:
        """True where an operation has such an operand."""
        return place < len(operator.inputs) and operator.inputs[place] >= 0

    def name(self, number: int) -> str:
        """The name of a tensor, as it is in the file: whole numbers where it holds them."""
        name, tensor = self._names[number], self.model.tensors[number]
        if tensor.data is not None and name not in self.constants:
            self.constants[name] = self._taken(tensor.values())
        return name

    def operand(self, operator: Operator, place: int) -> str:
        """The name of an operand, as it is in the file."""
        self.tensor(operator, place)
        return self.name(operator.inputs[place])

    def real(self, operator: Operator, place: int) -> str:
        """The name of an operand as reals."""
        self.tensor(operator, place)
        return self.real_of(operator.inputs[place])

    def real_of(self, number: int) -> str:
        """The name of a tensor as reals, which are made of its whole numbers once."""
        tensor = self.model.tensors[number]
        if tensor.data is None and tensor.dtype == FINE:
            return self.name(number)
        if tensor.steps is None:
            if tensor.dtype in ROUNDED and tensor.data is None:
                raise CheckpointError(
                    f"the tensor {shown(tensor.name)} of {tensor.dtype} has no scale"
                )
            return self.name(number)
        if number not in self._reals:
            self._reals[number] = self.fresh(f"{self._names[number]}/real")
            self.dequantized(self.name(number), tensor, tensor.steps, self._reals[number])
        return self._reals[number]

    def dequantized(self, name: str, tensor: TfliteTensor, steps: Steps, to: str) -> None:
        """Write the reals behind whole numbers."""
        scale, zero = self.steps(tensor, steps)
        axis = {"axis": steps.axis} if steps.scale.size > 1 else {}
        self.nodes.append(OnnxNode(self.at, "DequantizeLinear", (name, scale, zero), (to,), axis))

    def quantized(self, name: str, number: int) -> None:
        """Write the whole numbers of a tensor, rounded from the reals with this name."""
        tensor = self.model.tensors[number]
        if tensor.steps is None or tensor.dtype not in ROUNDED:
            raise CheckpointError(
                f"the tensor {shown(tensor.name)} of {tensor.dtype} is rounded, but not to int8 or "
                "uint8 with a scale"
            )
        steps = self.steps(tensor, tensor.steps)
        self.nodes.append(
            OnnxNode(self.at, "QuantizeLinear", (name, *steps), (self._names[number],), {})
        )

    def steps(self, tensor: TfliteTensor, steps: Steps) -> tuple[str, str]:
        """The names of a scale and of a zero point in the type of a tensor."""
        one = steps.scale.size == 1
        scale = steps.scale.reshape(()) if one else steps.scale
        zero = steps.zero_point.astype(tensor.dtype)
        return self.constant(scale), self.constant(zero.reshape(()) if one else zero)

    def weight(self, operator: Operator, place: int, perm: Sequence[int]) -> str:
        """A weight as reals, its axes in the order of ONNX."""
        tensor = self.tensor(operator, place)
        if tensor.data is None:
            return self.turned(self.real(operator, place), perm)
        if len(tensor.shape) != len(perm):
            raise CheckpointError(
                f"the weight {shown(tensor.name)} has the shape {tensor.shape}; {len(perm)} axes "
                "are needed"
            )
        turned = self._taken(tensor.values()).transpose(perm)
        name = self.constant(turned, f"{self._names[operator.inputs[place]]}/onnx")
        if tensor.steps is None:
            return name
        steps = replace(tensor.steps, axis=list(perm).index(tensor.steps.axis))
        real = self.fresh(f"{name}/real")
        self.dequantized(name, tensor, steps, real)
        return real

    def bias(self, operator: Operator, place: int = 2) -> list[str]:
        """The bias of a layer as reals, if it has one; rounded, it is in steps of its products."""
        if not self.given(operator, place):
            return []
        tensor = self.tensor(operator, place)
        x, weight = (self.tensor(operator, i).steps for i in (0, 1))
        if tensor.dtype not in ("int32", "int64"):
            return [self.real(operator, place)]
        if x is None or weight is None:
            raise CheckpointError(
                f"the bias {shown(tensor.name)} is whole, what it is added to not"
            )
        scale = x.scale.reshape(-1)[0] * weight.scale
        _check_bias(tensor, scale)
        if scale.size not in (1, *tensor.shape[:1]):
            raise CheckpointError(f"the bias {shown(tensor.name)} does not fit its weight")
        name = self.fresh(f"{self._names[operator.inputs[place]]}/real")
        if tensor.dtype == "int64":  # beside values of int16, which are read as reals
            self.constants[name] = (self._taken(tensor.values()) * scale).astype(np.float32)
            return [name]
        steps = Steps(scale, np.zeros(scale.size, np.int64), 0)
        self.dequantized(self.name(operator.inputs[place]), tensor, steps, name)
        return [name]

    def enter(self, number: int) -> str:
        """Declare an input of the file; where it takes whole numbers, the reals are given here."""
        name, tensor = self._names[number], self.model.tensors[number]
        if tensor.steps is not None and tensor.dtype in ROUNDED:
            self._names[number] = self.fresh(f"{name}/whole")
            self.quantized(name, number)
        return name

    def leave(self, number: int) -> str:
        """Keep the name of an output for its reals; `answer` writes them."""
        name, tensor = self._names[number], self.model.tensors[number]
        if tensor.steps is not None and tensor.dtype in ROUNDED:
            self._names[number] = self.fresh(f"{name}/whole")
        return name

    def answer(self, name: str, number: int) -> None:
        """Write the reals of an output that the file gives as whole numbers."""
        tensor = self.model.tensors[number]
        if self._names[number] != name and tensor.steps is not None:
            self.dequantized(self.name(number), tensor, tensor.steps, name)

    def fixed(self, operator: Operator, place: int) -> Array:
        """An operand that has to be a constant, as it is in the file."""
        tensor = self.tensor(operator, place)
        if tensor.data is None and 0 not in tensor.shape:
            raise CheckpointError(
                f"an operation {operator.op} computes its operand {place} "
                f"({shown(tensor.name)}); a constant is needed"
            )
        return self._taken(tensor.values())

    def ints(self, operator: Operator, place: int) -> tuple[int, ...]:
        """A short list of whole numbers that is a constant."""
        values = self.fixed(operator, place)
        if values.dtype.kind not in "iu" or values.size > 64:
            raise CheckpointError(
                f"an operation {operator.op} has {values.size} values of {values.dtype} as its "
                f"operand {place}; a few whole numbers are needed"
            )
        return tuple(int(v) for v in values.reshape(-1))

    def rank(self, operator: Operator, place: int = 0) -> int:
        """The number of axes of an operand."""
        return len(self.tensor(operator, place).shape)

    def _taken(self, values: Array) -> Array:
        self._left -= values.nbytes
        if self._left < 0:
            raise CheckpointError(
                "the constants of the file take many times its size: its buffers are shared by too "
                "many tensors"
            )
        return values

    # Nodes

    def constant(self, values: Any, hint: str = "constant") -> str:
        """The name of a new constant."""
        name = self.fresh(hint)
        self.constants[name] = np.asarray(values)
        return name

    def fresh(self, hint: str) -> str:
        """A name that is not taken."""
        name, count = hint, len(self.nodes) + len(self.constants)
        while name in self._used:
            count += 1
            name = f"{hint}/{count}"
        self._used.add(name)
        return name

    def do(self, op: str, inputs: Sequence[str], result: str = "", **attrs: Any) -> str:
        """Write a node with one result; returns its name, one of its own unless it is given."""
        result = result or self.fresh(f"{self.at}/{op}")
        self.nodes.append(OnnxNode(self.at, op, tuple(inputs), (result,), attrs))
        return result

    def finish(self, made: str, number: int) -> None:
        """Let a tensor of the file be what was made: reals, rounded where the file rounds them."""
        tensor = self.model.tensors[number]
        if tensor.steps is not None and tensor.dtype in ROUNDED:
            self.quantized(made, number)
        else:
            self.rename(made, number)

    def rename(self, made: str, number: int) -> None:
        """Let a tensor of the file be what was made, as it is."""
        name = self._names[number]
        for place in range(len(self.nodes) - 1, max(len(self.nodes) - RECENT, -1), -1):
            node = self.nodes[place]
            if node.outputs == (made,) and made not in self._reals.values():
                self.nodes[place] = replace(node, outputs=(name,))
                return
            if made in node.inputs:
                break
        self.do("Identity", [made], name)

    def turned(self, name: str, perm: Sequence[int]) -> str:
        """A value with its axes in another order."""
        return self.do("Transpose", [name], perm=tuple(perm))


def back(perm: Sequence[int]) -> tuple[int, ...]:
    """The order that undoes another one.

    >>> back((0, 3, 1, 2))
    (0, 2, 3, 1)
    """
    return tuple(int(v) for v in np.argsort(perm))


def _check_bias(tensor: TfliteTensor, product: Array) -> None:
    """Raise `CheckpointError` for a bias in other steps than those of the products it is added to.

    LiteRT does so beyond 2 % of a step where there is one scale for all.
    """
    if tensor.steps is None:
        return
    own = tensor.steps.scale
    near = own.size in (1, product.size) or product.size == 1
    if tensor.steps.zero_point.any() or not (near and (abs(own - product) < 0.02 * product).all()):
        raise CheckpointError(
            f"the bias {shown(tensor.name)} is not in steps of the products that it is added to: "
            f"its scale is {own[0]:g}, theirs {product[0]:g}, its zero point must be 0"
        )


def _unique(names: Sequence[str]) -> list[str]:
    """Names of which some may be the same, told apart by their places."""
    seen: set[str] = set()
    found = []
    for place, name in enumerate(names):
        unique = name if name not in seen else f"{name}#{place}"
        while unique in seen:
            unique += "#"
        seen.add(unique)
        found.append(unique)
    return found
