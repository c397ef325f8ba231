"""Reads a pickle without unpickling it: a machine of our own that knows containers and tensors.

Python's unpickler calls whatever function a file names. Here a file names something of a short list
(`tsm_ref.checkpoint.tensors.pickle_names`), whose entries only build plain values, or is refused
with the name. The opcodes are decoded by `pickletools`, which runs nothing. Tensors come out as
descriptions: their numbers are elsewhere in the file, and are read when their shape is what a
network expects.
"""

import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from tsm_ref.checkpoint.contents import shown
from tsm_ref.checkpoint.tensors.pickle_names import (
    STORAGES,
    Named,
    NumpyArray,
    NumpyType,
    Storage,
    named,
)
from tsm_ref.errors import CheckpointError

MAX_OPCODES = 5_000_000
MAX_BUILT = 2**30
MAX_BITS = 128


def read_pickle(file: BinaryIO) -> Any:
    """The tree that the next pickle of a file describes; the file stands behind it afterwards.

    Raises `CheckpointError` for a name that is not on the list, or anything that is not a pickle.

    >>> import io, pickle
    >>> read_pickle(io.BytesIO(pickle.dumps({"epoch": 3, "best": [0.5, None]})))
    {'epoch': 3, 'best': [0.5, None]}
    >>> read_pickle(io.BytesIO(pickle.dumps(print)))
    Traceback (most recent call last):
    tsm_ref.errors.CheckpointError: the pickle names 'builtins.print', which is not a tensor, a \
container, a number or a text; it is refused, never called
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if count > MAX_OPCODES:
                raise CheckpointError(f"the pickle has more than {MAX_OPCODES} opcodes")
            machine.do(opcode.name, argument)
        (value,) = machine.stack
    except CheckpointError:
        raise
    except (
        ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError,
        RecursionError, UnicodeError, struct.error, Warning,
    ) as error:  # fmt: skip
        raise CheckpointError(
            f"the pickle is damaged or cut off ({type(error).__name__})"
        ) from None
    return value


@dataclass
class _Machine:
    """The stack and the memo of a pickle."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    built: int = 0

    def do(self, name: str, argument: Any) -> None:
        if isinstance(argument, int) and argument.bit_length() > MAX_BITS:
            raise CheckpointError(
                f"the pickle has a number of {argument.bit_length()} bits; at most {MAX_BITS} "
                "are accepted"
            )
        if name in _PUSHES:
            self.stack.append(bytes(argument) if isinstance(argument, bytearray) else argument)
        elif name in _CONSTANTS:
            make = _CONSTANTS[name]
            self.stack.append(make())
        else:
            action = getattr(self, f"_{name.lower()}", None)
            if action is None:
                raise CheckpointError(f"the pickle has the opcode {name}, which is refused")
            action(argument)

    def _since_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _proto(self, argument: Any) -> None:
        if argument > 5:
            raise CheckpointError(f"the pickle has the protocol {argument}; known are 0 to 5")

    def _frame(self, argument: Any) -> None:
        pass

    def _stop(self, argument: Any) -> None:
        pass

    def _mark(self, argument: Any) -> None:
        self.marks.append(len(self.stack))

    def _pop(self, argument: Any) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def _pop_mark(self, argument: Any) -> None:
        self._since_mark()

    def _dup(self, argument: Any) -> None:
        self.stack.append(self.stack[-1])

    def _put(self, argument: Any) -> None:
        self.memo[int(argument)] = self.stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, argument: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _get(self, argument: Any) -> None:
        self.stack.append(self.memo[int(argument)])

    _binget = _long_binget = _get

    def _tuple(self, argument: Any) -> None:
        self.stack.append(tuple(self._since_mark()))

    def _list(self, argument: Any) -> None:
        self.stack.append(self._since_mark())

    _frozenset = _list

    def _dict(self, argument: Any) -> None:
        items = self._since_mark()
        self.stack.append(dict(zip(items[::2], items[1::2], strict=True)))

    def _last(self, count: int) -> tuple[Any, ...]:
        if len(self.stack) < count:
            raise IndexError
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        return items

    def _tuple1(self, argument: Any) -> None:
        self.stack.append(self._last(1))

    def _tuple2(self, argument: Any) -> None:
        self.stack.append(self._last(2))

    def _tuple3(self, argument: Any) -> None:
        self.stack.append(self._last(3))

    def _append(self, argument: Any) -> None:
        (item,) = self._last(1)
        self._top(list).append(item)

    def _appends(self, argument: Any) -> None:
        items = self._since_mark()
        self._top(list).extend(items)

    _additems = _appends

    def _setitem(self, argument: Any) -> None:
        key, value = self._last(2)
        self._top(dict)[key] = value

    def _setitems(self, argument: Any) -> None:
        items = self._since_mark()
        self._top(dict).update(zip(items[::2], items[1::2], strict=True))

    def _top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise TypeError
        return self.stack[-1]

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.stack.append(named(f"{module}.{name}"))

    def _stack_global(self, argument: Any) -> None:
        module, name = self._last(2)
        self.stack.append(named(f"{module}.{name}"))

    def _reduce(self, argument: Any) -> None:
        function, arguments = self._last(2)
        if not isinstance(function, Named) or function.build is None:
            raise CheckpointError(f"the pickle calls {shown(str(function))}, which is refused")
        self.built += sum(len(v) for v in arguments if isinstance(v, str | bytes | list | dict))
        if self.built > MAX_BUILT:
            raise CheckpointError("the pickle copies the same values again and again")
        self.stack.append(function.build(*arguments))

    _newobj = _reduce

    def _build(self, argument: Any) -> None:
        (state,) = self._last(1)
        target = self.stack[-1]
        if isinstance(target, NumpyType):
            target.order = str(state[1])
        elif isinstance(target, NumpyArray):
            _, shape, kind, fortran, data = state
            if not isinstance(data, bytes):
                raise TypeError
            target.shape, target.dtype = tuple(shape), kind
            target.fortran, target.data = bool(fortran), data
        elif type(target) is not dict:
            raise CheckpointError("the pickle sets the state of something that has none")

    def _binpersid(self, argument: Any) -> None:
        (identity,) = self._last(1)
        self.stack.append(_storage(identity))


def _storage(identity: Any) -> Storage:
    """What PyTorch writes for a storage: its class, its key, where it was, how long it is."""
    kind, storage, key, _, count, *view = identity
    if kind != "storage" or not isinstance(storage, Named):
        raise CheckpointError(f"the pickle refers to {shown(str(kind))}; only storages are known")
    name = storage.name.rpartition(".")[2]
    if name not in STORAGES and name != "UntypedStorage":
        raise CheckpointError(f"the pickle has the storage {shown(storage.name)}, not a known one")
    start = 0
    if view and view[0] is not None:
        _, start, count = view[0]
    if any(type(v) is not int or v < 0 for v in (start, count)):
        raise CheckpointError("a storage of the pickle begins, or has a length, below 0")
    return Storage(str(key), STORAGES.get(name, "uint8"), count, start)


_PUSHES = frozenset(
    (
        *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG", "FLOAT", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
_CONSTANTS: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
}
