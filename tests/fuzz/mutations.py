"""How a file is spoiled: bytes for any format, trees for those that hold JSON or messages."""

import copy
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.strategies import GARBAGE, places

Rng = np.random.Generator
Bytes = bytes | bytearray

EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
"""Numbers at which sizes and offsets go wrong."""
SHREDS = (b"\0" * 8, b"\xff" * 8, b"\x1b[31m", b"../", b"\n", b"9" * 40, b"\xe2\x80\xae", b"nan")


def spoiled(data: bytes, rng: Rng) -> bytes:
    """The bytes with one to six accidents: flipped, cut, doubled, moved, or put in."""
    made = bytearray(data)
    for _ in range(int(rng.integers(1, 7))):
        ACCIDENTS[int(rng.integers(len(ACCIDENTS)))](made, rng)
    return bytes(made)


def _at(data: Bytes, rng: Rng) -> int:
    """A place; most files keep their structure in front or at their end."""
    size = max(len(data), 1)
    where = rng.random()
    if where < 0.4:
        return int(rng.integers(min(size, 256)))
    if where < 0.5:
        return size - 1 - int(rng.integers(min(size, 256)))
    return int(rng.integers(size))


def _flip(data: bytearray, rng: Rng) -> None:
    if data:
        data[_at(data, rng)] ^= 1 << int(rng.integers(8))


def _byte(data: bytearray, rng: Rng) -> None:
    if data:
        data[_at(data, rng)] = int(rng.integers(256))


def _number(data: bytearray, rng: Rng) -> None:
    """An edge, in two to eight bytes of either order."""
    width = int(rng.choice([2, 4, 8]))
    value = EDGES[int(rng.integers(len(EDGES)))] & (256**width - 1)
    at = _at(data, rng)
    data[at : at + width] = value.to_bytes(width, "little" if rng.random() < 0.5 else "big")


def _cut(data: bytearray, rng: Rng) -> None:
    del data[_at(data, rng) :]


def _drop(data: bytearray, rng: Rng) -> None:
    at = _at(data, rng)
    del data[at : at + int(rng.integers(1, 65))]


def _double(data: bytearray, rng: Rng) -> None:
    at, size = _at(data, rng), int(rng.integers(1, 257))
    data[at:at] = data[at : at + size]


def _move(data: bytearray, rng: Rng) -> None:
    here, there, size = _at(data, rng), _at(data, rng), int(rng.integers(1, 129))
    data[there : there + size] = data[here : here + size]


def _insert(data: bytearray, rng: Rng) -> None:
    at = _at(data, rng)
    data[at:at] = SHREDS[int(rng.integers(len(SHREDS)))]


def _zeros(data: bytearray, rng: Rng) -> None:
    """A block that a disk has lost."""
    at, size = _at(data, rng), int(rng.choice([16, 512, 4096]))
    data[at : at + size] = bytes(min(size, len(data) - at))


ACCIDENTS: tuple[Callable[[bytearray, Rng], None], ...] = (
    *(_flip, _byte, _number, _cut, _drop, _double, _move, _insert, _zeros),
    *(_flip, _byte, _number),
)


def spoiled_tree(tree: Any, rng: Rng) -> Any:
    """A tree of JSON in which something is replaced, missing or there twice, up to three times."""
    tree = copy.deepcopy(tree)
    for _ in range(int(rng.integers(1, 4))):
        spots = list(places(tree))
        if not spots:
            break
        container, key = spots[int(rng.integers(len(spots)))]
        action = rng.random()
        if action < 0.35:
            container[key] = copy.deepcopy(GARBAGE[int(rng.integers(len(GARBAGE)))])
        elif action < 0.6 and type(container[key]) in (int, float):
            container[key] = _other_number(container[key], rng)
        elif action < 0.75:
            del container[key]
        elif isinstance(container, list):
            container.insert(int(rng.integers(len(container) + 1)), copy.deepcopy(container[key]))
        else:
            other, place = spots[int(rng.integers(len(spots)))]
            container[key] = copy.deepcopy(other[place])
    return tree


def _other_number(value: float, rng: Rng) -> float:
    near = [value + 1, value - 1, -value, value * 2, 0, 1, 7, 255, 4096, 2**31 - 1, 2**63]
    return near[int(rng.integers(len(near)))]


def as_json(tree: Any) -> str:
    """JSON text; what JSON does not know is written as Python does, as some programs do."""
    return json.dumps(tree)


def spoiled_message(data: bytes, rng: Rng, depth: int = 0) -> bytes:
    """A protobuf message in which a field, or one of a message inside, is other than it was."""
    fields = _fields(data)
    if not fields or depth > 6:
        return spoiled(data, rng)
    index = int(rng.integers(len(fields)))
    number, kind, value = fields[index]
    action = rng.random()
    if kind == 2 and len(value) and (action < 0.75 or depth == 0):
        inner = _fields(value)
        spoil = spoiled_message if inner else spoiled
        value = spoil(value, rng, depth + 1) if inner else spoiled(value, rng)
        fields[index] = number, kind, value
    elif kind == 0 and action < 0.75:
        fields[index] = number, kind, _varint(EDGES[int(rng.integers(len(EDGES)))])
    elif action < 0.85:
        del fields[index]
    elif action < 0.95:
        fields.insert(int(rng.integers(len(fields) + 1)), fields[index])
    else:
        fields[index] = int(rng.integers(1, 24)), kind, value
    return b"".join(_field(*field) for field in fields)


def _field(number: int, kind: int, value: bytes) -> bytes:
    head = _varint(number << 3 | kind)
    return head + (_varint(len(value)) if kind == 2 else b"") + value


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


def _fields(data: bytes) -> list[tuple[int, int, bytes]]:
    """The fields of a message as (number, kind, bytes); none where it is no message."""
    found, at = [], 0
    while at < len(data):
        head, at = _read_varint(data, at)
        kind, begin = head & 7, at
        if kind == 0:
            _, at = _read_varint(data, at)
        elif kind == 2:
            size, begin = _read_varint(data, at)
            at = begin + size
        else:
            at += {1: 8, 5: 4}.get(kind, len(data) + 1)
        if at > len(data) or not head >> 3:
            return []
        found.append((head >> 3, kind, data[begin:at]))
    return found


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    return 0, len(data) + 1


def spoiled_safetensors(data: bytes, rng: Rng) -> bytes:
    """A safetensors file whose header is whole JSON of another content."""
    (size,) = struct.unpack("<Q", data[:8])
    tree = spoiled_tree(json.loads(data[8 : 8 + size]), rng)
    head = as_json(tree).encode()
    return struct.pack("<Q", len(head)) + head + data[8 + size :]
