"""Writes the bytes that PyTorch and Paddle write, opcode by opcode, without either of them.

Half of it is what an attacker would use: every part can be replaced by something else.
"""

import io
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

STORAGES = {"float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage",
            "int64": "LongStorage"}  # fmt: skip


class Raw:
    """Opcodes that are put where a value would stand."""

    def __init__(self, code: bytes) -> None:
        self.code = code


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value) if -(2**31) <= value < 2**31 else long(value)


def long(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def name(module: str, attribute: str) -> bytes:
    return b"c" + f"{module}\n{attribute}\n".encode()


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + b"(" + b"".join(arguments) + b"tR"


def sizes(values: Any) -> bytes:
    return b"(" + b"".join(number(v) for v in values) + b"t"


class Pickle:
    """One pickle; arrays become tensors, whose storages are numbered from 0."""

    def __init__(self, legacy: bool = False) -> None:
        self.legacy = legacy
        self.storages: list[np.ndarray[Any, Any]] = []

    def value(self, value: Any) -> bytes:
        if isinstance(value, Raw):
            return value.code
        if isinstance(value, np.ndarray):
            return self.tensor(value)
        if isinstance(value, Mapping):
            items = b"".join(self.value(k) + self.value(v) for k, v in value.items())
            return b"}(" + items + b"u"
        if isinstance(value, list | tuple):
            body = b"(" + b"".join(self.value(v) for v in value)
            return body + (b"l" if isinstance(value, list) else b"t")
        if isinstance(value, bool) or value is None:
            return {True: b"\x88", False: b"\x89", None: b"N"}[value]
        if isinstance(value, float):
            return b"G" + struct.pack(">d", value)
        return text(value) if isinstance(value, str) else number(value)

    def storage(self, array: np.ndarray[Any, Any], key: str = "", count: int = -1) -> bytes:
        self.storages.append(np.ascontiguousarray(array).reshape(-1))
        key = key or str(len(self.storages) - 1)
        parts = [
            text("storage"),
            name("torch", STORAGES[array.dtype.name]),
            text(key),
            text("cpu"),
            number(array.size if count < 0 else count),
        ]
        if self.legacy:
            parts.append(b"N")
        return b"(" + b"".join(parts) + b"tQ"

    def tensor(self, array: np.ndarray[Any, Any], **changes: Any) -> bytes:
        strides = [s // array.itemsize for s in np.asarray(array, order="C").strides]
        return call(
            name("torch._utils", "_rebuild_tensor_v2"),
            changes.get("storage") or self.storage(array, count=changes.get("count", -1)),
            number(changes.get("offset", 0)),
            sizes(changes.get("shape", array.shape)),
            sizes(changes.get("strides", strides)),
            b"\x89",
            call(name("collections", "OrderedDict")),
        )

    def finished(self, tree: Any) -> bytes:
        return b"\x80\x02" + self.value(tree) + b"."


def zip_file(tree: Any, members: Mapping[str, bytes] | None = None, **options: Any) -> bytes:
    """A .pth of today; `members` replace or join those that belong to the tree."""
    pickle = Pickle()
    data = pickle.finished(tree) if not isinstance(tree, Raw) else tree.code
    parts = {"data.pkl": data, "byteorder": b"little", "version": b"3\n"}
    parts |= {f"data/{i}": s.tobytes() for i, s in enumerate(pickle.storages)}
    parts |= dict(members or {})
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", options.get("compression", zipfile.ZIP_STORED)) as archive:
        for part, content in parts.items():
            archive.writestr(part if part.startswith(("/", "..")) else f"archive/{part}", content)
    return file.getvalue()


def legacy_file(tree: Any, **changes: Any) -> bytes:
    """A .pth of before 2020: five pickles, then the storages one after another."""
    pickle = Pickle(legacy=True)
    data = pickle.finished(tree)
    system = {"protocol_version": 1001, "little_endian": changes.get("little", True),
              "type_sizes": {"int": 4}}  # fmt: skip
    keys = changes.get("keys") or [str(i) for i in range(len(pickle.storages))]
    head = [
        b"\x80\x02" + long(changes.get("magic", 0x1950A86A20F9469CFC6C)) + b".",
        b"\x80\x02" + number(1001) + b".",
        Pickle().finished(system),
        data,
        Pickle().finished(keys),
    ]
    body = b"".join(struct.pack("<q", s.size) + s.tobytes() for s in pickle.storages)
    return b"".join(head) + body
