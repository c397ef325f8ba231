"""Reads a pickle without unpickling it: a machine of our own that knows containers and tensors.

Python's unpickler calls whatever function a file names. Here a name either builds a plain value
(`tsm_ref.checkpoint.tensors.pickle_names`) or stands for itself, with what the file hands to it.
The opcodes are decoded by `pickletools`, which runs nothing. Tensors come out as descriptions:
their numbers are elsewhere in the file, and are read when their shape is what a network expects.

A file costs what it is long. Every opcode takes constant time but for what it takes off the stack;
no value is hashed, compared, printed or copied but texts and numbers, and what is copied is never
more than the file has bytes.
"""

import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from tsm_ref.checkpoint.contents import shown
from tsm_ref.checkpoint.tensors.pickle_names import (
    STORAGES,
    Foreign,
    Named,
    NumpyArray,
    NumpyType,
    Storage,
    Tensor,
    called,
    is_count,
    is_plain,
    named,
    numpy_array,
)
from tsm_ref.errors import CheckpointError

MAX_OPCODES = 5_000_000
MAX_BITS = 128
MAX_MEMO = 2**32
COPIES = 4
"""How often calls may copy what stands in the file: pickles share short texts and shapes."""


@dataclass
class Pickled:
    """One pickle of a file: the tree that it describes, and what else is of use.

    ``storages`` are all that its tensors refer to, by key; ``foreign`` counts the objects of
    unknown classes by name, ``left_out`` the entries of dictionaries whose keys are not plain.
    """

    tree: Any
    storages: Mapping[str, Storage]
    foreign: Mapping[str, int]
    left_out: int


def read_pickle(file: BinaryIO) -> Any:
    """The tree that the next pickle of a file describes; the file stands behind it afterwards.

    Raises `CheckpointError` for a name that only an attacker writes, or what is not a pickle.

    >>> import io, pickle
    >>> read_pickle(io.BytesIO(pickle.dumps({"epoch": 3, "best": [0.5, None]})))
    {'epoch': 3, 'best': [0.5, None]}
    >>> read_pickle(io.BytesIO(pickle.dumps(eval)))
    Traceback (most recent call last):
    tsm_ref.errors.CheckpointError: the pickle names 'builtins.eval', which is not a tensor, a \
container, a number or a text; it is refused, never called
    """
    return walk_pickle(file).tree


def walk_pickle(file: BinaryIO) -> Pickled:
    """The next pickle of a file, as `read_pickle` reads it, with what was met on the way."""
    machine = _Machine()
    begin = file.tell()
    try:
        for count, (opcode, argument, place) in enumerate(pickletools.genops(file)):
            if count > MAX_OPCODES:
                raise CheckpointError(f"the pickle has more than {MAX_OPCODES} opcodes")
            machine.passed = (place or begin) - begin
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
    return Pickled(value, machine.storages, machine.foreign, machine.left_out)


@dataclass
class _Machine:
    """The stack and the memo of a pickle."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    storages: dict[str, Storage] = field(default_factory=dict)
    foreign: dict[str, int] = field(default_factory=dict)
    left_out: int = 0
    passed: int = 0
    copied: int = 0

    def do(self, name: str, argument: Any) -> None:
        if type(argument) is int and argument.bit_length() > MAX_BITS:
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
        if argument >= MAX_MEMO:
            raise CheckpointError("the pickle numbers its values beyond what a file can hold")
        self.memo[argument] = self.stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, argument: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _get(self, argument: Any) -> None:
        self.stack.append(self.memo[argument])

    _binget = _long_binget = _get

    def _tuple(self, argument: Any) -> None:
        self.stack.append(tuple(self._since_mark()))

    def _list(self, argument: Any) -> None:
        self.stack.append(self._since_mark())

    _frozenset = _list

    def _dict(self, argument: Any) -> None:
        items = self._since_mark()
        self.stack.append({})
        self._set(items)

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
        self._elements().append(item)

    def _appends(self, argument: Any) -> None:
        items = self._since_mark()
        self._elements().extend(items)

    _additems = _appends

    def _elements(self) -> list[Any]:
        """The list on top of the stack, or that of a foreign object which is one."""
        top = self.stack[-1]
        if type(top) is Foreign:
            top.elements = [] if top.elements is None else top.elements
            return top.elements
        if type(top) is not list:
            raise TypeError
        return top

    def _setitem(self, argument: Any) -> None:
        self._set(list(self._last(2)))

    def _setitems(self, argument: Any) -> None:
        self._set(self._since_mark())

    def _set(self, items: list[Any]) -> None:
        """Put keys and values into what is on top of the stack; only plain keys are hashed."""
        target = self.stack[-1]
        if type(target) is Foreign:
            target.items = {} if target.items is None else target.items
            target = target.items
        if type(target) is not dict or len(items) % 2:
            raise TypeError
        for key, value in zip(items[::2], items[1::2], strict=True):
            if is_plain(key):
                target[key] = value
            else:
                self.left_out += 1

    def _global(self, argument: str) -> None:
        self.stack.append(named(*argument.split(" ", 1)))

    def _stack_global(self, argument: Any) -> None:
        self.stack.append(named(*self._last(2)))

    def _reduce(self, argument: Any) -> None:
        function, arguments = self._last(2)
        self._call(function, arguments)

    _newobj = _reduce

    def _newobj_ex(self, argument: Any) -> None:
        kind, arguments, _ = self._last(3)
        self._call(kind, arguments)

    def _inst(self, argument: str) -> None:
        self._call(named(*argument.split(" ", 1)), tuple(self._since_mark()))

    def _obj(self, argument: Any) -> None:
        kind, *arguments = self._since_mark()
        self._call(kind, tuple(arguments))

    def _call(self, function: Any, arguments: Any) -> None:
        """Build what calling a name builds; what that copies must once have stood in the file."""
        if type(arguments) is tuple:
            self.copied += sum(len(v) for v in arguments if type(v) in _COPIED)
        if self.copied > COPIES * self.passed:
            raise CheckpointError("the pickle copies the same values again and again")
        value = called(function, arguments)
        if type(value) is Foreign:
            self.foreign[value.name] = self.foreign.get(value.name, 0) + 1
        self.stack.append(value)

    def _build(self, argument: Any) -> None:
        (state,) = self._last(1)
        target = self.stack[-1]
        kind = type(target)
        if kind is Foreign:
            target.state = state
        elif kind is NumpyType:
            if type(state) is not tuple or type(state[1]) is not str:
                raise TypeError
            target.order = state[1]
        elif kind is NumpyArray:
            if type(state) is not tuple:
                raise TypeError
            _, shape, dtype, fortran, data = state
            made = numpy_array(shape, dtype, fortran, data)
            target.shape, target.dtype = made.shape, made.dtype
            target.fortran, target.data = made.fortran, made.data
        elif kind is not dict and kind is not Tensor:
            raise CheckpointError("the pickle sets the state of something that has none")

    def _binpersid(self, argument: Any) -> None:
        (identity,) = self._last(1)
        storage = _storage(identity)
        if type(storage) is Storage:
            self.storages[storage.key] = storage
        self.stack.append(storage)


def _storage(identity: Any) -> Storage | Foreign:
    """What PyTorch writes for a storage: its class, its key, where it was, how long it is."""
    if type(identity) is not tuple or len(identity) < 5:
        raise CheckpointError("the pickle refers to something that is no storage")
    kind, storage, key, _, count, *view = identity
    if type(kind) is not str or kind != "storage" or type(storage) is not Named:
        what = shown(kind) if type(kind) is str else "something else"
        raise CheckpointError(f"the pickle refers to {what}; only storages are known")
    name = storage.name.rpartition(".")[2]
    if name not in STORAGES and name != "UntypedStorage":
        if not name.endswith("Storage"):
            raise CheckpointError(
                f"the pickle has the storage {shown(storage.name)}, not a known one"
            )
        return Foreign(storage.name)
    start = 0
    if view and view[0] is not None:
        if type(view[0]) is not tuple:
            raise TypeError
        _, start, count = view[0]
    if not is_count(start) or not is_count(count):
        raise CheckpointError("a storage of the pickle begins, or has a length, below 0")
    if type(key) is not str and type(key) is not int:
        raise CheckpointError("a storage of the pickle has a key that is not a text")
    return Storage(str(key), STORAGES.get(name, "uint8"), count, start)


_COPIED = frozenset((str, bytes, list, dict, tuple))
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
