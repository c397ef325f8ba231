"""A small TensorFlow Lite file that is written down line by line, by the documented layout."""

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np

from tsm_ref.checkpoint.tflite.schema import CUSTOM, OPS, OPTIONS, TYPES

CODES = {name: code for code, name in OPS.items()}
KINDS = {name: code for code, (name, _) in TYPES.items()}
STEM = 0.25


class Sketch:
    """One graph; values and constants are known by their numbers."""

    def __init__(self, seed: int = 3) -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors: list[dict[str, Any]] = []
        self.operators: list[dict[str, Any]] = []
        self.names: list[str] = []
        self.version, self.identifier, self.subgraphs = 3, b"TFL3", 1

    def value(self, shape: Sequence[int], dtype: str = "float32", **more: Any) -> int:
        """A tensor; ``steps`` are (scale, zero point, axis)."""
        name = more.pop("name", f"t{len(self.tensors)}")
        entry = {"name": name, "shape": tuple(shape), "dtype": dtype, "data": None, **more}
        self.tensors.append(entry)
        return len(self.tensors) - 1

    def const(self, values: Any, dtype: str = "", **more: Any) -> int:
        values = np.asarray(values)
        if values.dtype == np.float64:
            values = values.astype(np.float32)
        if values.dtype == np.int64:
            values = values.astype(np.int32)
        return self.value(values.shape, dtype or str(values.dtype), data=values, **more)

    def random(self, *shape: int) -> int:
        return self.const(self.rng.normal(size=shape) / np.sqrt(max(1, np.prod(shape[1:]))))

    def do(self, op: str, inputs: Sequence[int], shape: Any, **options: Any) -> Any:
        """An operation; ``shape`` that of its result, or a list of several."""
        like = {k: options.pop(k) for k in ("dtype", "steps") if k in options}
        shapes = shape if isinstance(shape, list) else [shape]
        results = [self.value(each, **like) for each in shapes]
        self.operators.append(
            {"op": op, "inputs": list(inputs), "outputs": results, "options": options}
        )
        return results if isinstance(shape, list) else results[0]

    def shape(self, number: int) -> tuple[int, ...]:
        return tuple(self.tensors[number]["shape"])

    def conv(self, x: int, channels: int, kernel: int = 1, **options: Any) -> int:
        """A CONV_2D that keeps the size."""
        n, h, w, c = self.shape(x)
        inputs = [x, self.random(channels, kernel, kernel, c), self.random(channels)]
        options = {"stride_w": 1, "stride_h": 1, **options}
        return int(self.do("CONV_2D", inputs, (n, h, w, channels), **options))

    def shift(self, x: int, how: str = "pad") -> int:
        """One channel from the past, one from the future; frames are the batch."""
        n, h, w, c = self.shape(x)

        def cut(first: int, last: int, begin: int, end: int) -> int:
            size = (end - begin, h, w, last - first)
            given = [x, self.const([begin, 0, 0, first]), self.const(list(size))]
            return int(self.do("SLICE", given, size))

        def moved(y: int, before: int, after: int) -> int:
            if how == "zeros":
                zeros = self.const(np.zeros((1, h, w, 1), np.float32))
                pair = [zeros, y] if before else [y, zeros]
                return int(self.do("CONCATENATION", pair, (n, h, w, 1), axis=0))
            if how == "times zero":
                zeros = self.do("MUL", [cut(0, 1, 0, 1), self.const(np.float32(0))], (1, h, w, 1))
                pair = [zeros, y] if before else [y, zeros]
                return int(self.do("CONCATENATION", pair, (n, h, w, 1), axis=0))
            around = self.const([[before, after], [0, 0], [0, 0], [0, 0]])
            return int(self.do("PAD", [y, around], (n, h, w, 1)))

        if how == "roll":
            past = [cut(0, 1, n - 1, n), cut(0, 1, 0, n - 1)]
            future = [cut(1, 2, 1, n), cut(1, 2, 0, 1)]
            folds = [self.do("CONCATENATION", p, (n, h, w, 1), axis=0) for p in (past, future)]
        else:
            folds = [moved(cut(0, 1, 0, n - 1), 1, 0), moved(cut(1, 2, 1, n), 0, 1)]
        rest = cut(2, c, 0, n)
        return int(self.do("CONCATENATION", [*folds, rest], (n, h, w, c), axis=3))

    def classify(self, x: int, classes: int = 5) -> int:
        """The mean of each frame, a linear layer, the mean over the frames."""
        n, _, _, c = self.shape(x)
        rows = self.do("MEAN", [x, self.const([1, 2])], (n, c))
        inputs = [rows, self.random(classes, c), self.random(classes)]
        scores = self.do("FULLY_CONNECTED", inputs, (n, classes))
        return int(self.do("MEAN", [scores, self.const([0])], (1, classes), keep=True))

    # The file

    def file(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The bytes of the file."""
        b = self.b = flatbuffers.Builder(1 << 16)
        self.names = list(dict.fromkeys(o["op"] for o in self.operators))
        codes = self._list([self._code(name) for name in self.names])
        buffers = [self._table({})]
        buffers += [
            self._table({0: ("ref", self._bytes(np.ascontiguousarray(t["data"]).tobytes()))})
            if t["data"] is not None
            else self._table({})
            for t in self.tensors
        ]
        tensors = self._list([self._tensor(i, t) for i, t in enumerate(self.tensors)])
        operators = self._list([self._operator(o) for o in self.operators])
        graph = self._table(
            {
                0: ("ref", tensors),
                1: ("ref", self._ints(inputs)),
                2: ("ref", self._ints(outputs)),
                3: ("ref", operators),
                4: ("ref", b.CreateString("main")),
            }
        )
        model = {
            0: ("I", self.version),
            1: ("ref", codes),
            2: ("ref", self._list([graph] * self.subgraphs)),
            3: ("ref", b.CreateString("by hand")),
            4: ("ref", self._list(buffers)),
        }
        b.Finish(self._table(model), self.identifier)
        return bytes(b.Output())

    def _code(self, name: str) -> int:
        if name.startswith("custom:"):
            text = self.b.CreateString(name.partition(":")[2])
            return self._table({0: ("b", CUSTOM), 1: ("ref", text), 3: ("i", CUSTOM)})
        code = CODES.get(name, -1) if not name.isdigit() else int(name)
        return self._table({0: ("b", min(code, 127)), 2: ("i", 1), 3: ("i", code)})

    def _tensor(self, place: int, t: dict[str, Any]) -> int:
        fields = {
            0: ("ref", self._ints(t["shape"])),
            1: ("b", t.get("kind", KINDS[t["dtype"]])),
            2: ("I", t.get("buffer", place + 1)),
            3: ("ref", self.b.CreateString(t["name"])),
        }
        if t.get("steps") is not None:
            scale, zero, axis = t["steps"]
            fields[4] = (
                "ref",
                self._table(
                    {
                        2: ("ref", self.b.CreateNumpyVector(np.atleast_1d(np.float32(scale)))),
                        3: ("ref", self.b.CreateNumpyVector(np.atleast_1d(np.int64(zero)))),
                        6: ("i", axis),
                    }
                ),
            )
        if t.get("variable"):
            fields[5] = ("?", True)
        if t.get("sparse"):
            fields[6] = ("ref", self._table({}))
        if t.get("signature") is not None:
            fields[7] = ("ref", self._ints(t["signature"]))
        return self._table(fields)

    def _operator(self, o: dict[str, Any]) -> int:
        fields = {
            0: ("I", self.names.index(o["op"])),
            1: ("ref", self._ints(o["inputs"])),
            2: ("ref", self._ints(o["outputs"])),
        }
        known = OPTIONS.get(o["op"])
        if known is not None:
            given = {}
            for name, value in o["options"].items():
                number, letter, _ = known.fields[name]
                given[number] = ("ref", self._ints(value)) if letter == "I*" else (letter, value)
            fields[3] = ("B", o.get("member", known.member))
            fields[4] = ("ref", self._table(given))
        return self._table(fields)

    def _table(self, fields: dict[int, tuple[str, Any]]) -> int:
        b = self.b
        b.StartObject(max(fields, default=-1) + 1)
        puts = {
            "b": b.PrependInt8Slot, "B": b.PrependUint8Slot, "?": b.PrependBoolSlot,
            "i": b.PrependInt32Slot, "I": b.PrependUint32Slot, "f": b.PrependFloat32Slot,
            "ref": b.PrependUOffsetTRelativeSlot,
        }  # fmt: skip
        for number, (kind, value) in fields.items():
            puts[kind](number, value, None if kind != "ref" else 0)
        return int(b.EndObject())

    def _list(self, offsets: Sequence[int]) -> int:
        self.b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.b.PrependUOffsetTRelative(offset)
        return int(self.b.EndVector())

    def _ints(self, values: Sequence[int]) -> int:
        return int(self.b.CreateNumpyVector(np.array(values, np.int32)))

    def _bytes(self, data: bytes) -> int:
        return int(self.b.CreateByteVector(data))


def clip_network(how: str = "pad", frames: int = 4, size: int = 8) -> tuple[Sketch, int, int]:
    """A small TSM of frames (T, H, W, 3), with its input and its output."""
    s = Sketch()
    x = s.value((frames, size, size, 3), name="frames")
    y = s.conv(x, 8, 3, activation=1)
    z = s.conv(s.shift(y, how), 8, 3)
    z = s.do("ADD", [y, z], s.shape(y), activation=3)
    return s, x, s.classify(z)


def fine(sketch: Sketch, largest: float = 8.0) -> None:
    """Make values of 16 bits of the reals of a sketch, its weights of 8 bits, its biases of 64."""
    step = np.float32(largest / 32767)
    for tensor in sketch.tensors:
        if tensor["data"] is None:
            tensor.update(dtype="int16", steps=(step, 0, 0))
    for operator in sketch.operators:
        if operator["op"] in ("CONV_2D", "FULLY_CONNECTED"):
            weight, bias = (sketch.tensors[place] for place in operator["inputs"][1:])
            scale = np.abs(weight["data"]).max() / 127
            whole = np.rint(weight["data"] / scale).astype(np.int8)
            weight.update(data=whole, dtype="int8", steps=(scale, 0, 0))
            both = np.float32(step * scale)
            whole = np.rint(bias["data"] / both).astype(np.int64)
            bias.update(data=whole, dtype="int64", steps=(both, 0, 0))


class Rounded(Sketch):
    """Whole numbers: int8 with a scale for each channel of a weight, or uint8 with one for all."""

    def __init__(self, dtype: str = "int8", seed: int = 3) -> None:
        super().__init__(seed)
        self.kind = dtype
        self.zero = {"int8": -7, "uint8": 121}[dtype]

    def rounded(self, shape: Sequence[int], scale: float, zero: int | None = None) -> int:
        steps = (scale, self.zero if zero is None else zero, 0)
        return self.value(shape, self.kind, steps=steps)

    def layer(
        self, op: str, x: int, weight: tuple[int, ...], axis: int, shape: Any, scale: float,
        **options: Any,
    ) -> int:  # fmt: skip
        """A layer with weights per channel and a bias in steps of its products."""
        channels = weight[axis]
        several = op != "FULLY_CONNECTED" and self.kind == "int8"
        scales = np.float32(self.rng.uniform(0.004, 0.01, channels if several else 1))
        zeros = np.zeros(scales.size, np.int64)
        offset = 0 if self.kind == "int8" else 117  # old files have uint8 weights
        whole = self.rng.integers(-117, 118, weight) + offset
        w = self.const(whole.astype(self.kind), steps=(scales, zeros + offset, axis))
        both = np.float32(self.tensors[x]["steps"][0]) * scales
        bias = self.rng.integers(-900, 900, channels).astype(np.int32)
        b = self.const(bias, "int32", steps=(both, zeros, 0))
        steps = (scale, self.zero, 0)
        return int(self.do(op, [x, w, b], shape, dtype=self.kind, steps=steps, **options))

    def do(self, op: str, inputs: Sequence[int], shape: Any, **options: Any) -> Any:
        """As every sketch; what moves elements has the steps of what it reads."""
        first = self.tensors[inputs[0]]
        if op in ("SLICE", "PAD", "CONCATENATION", "MAX_POOL_2D") and "steps" not in options:
            options |= {"dtype": first["dtype"], "steps": first.get("steps")}
        return super().do(op, inputs, shape, **options)


def rounded_clip_network(
    dtype: str = "int8", how: str = "pad", seed: int = 3
) -> tuple[Rounded, int, int]:
    """A small TSM of whole numbers, (T, H, W, 3) -> classes."""
    s = Rounded(dtype, seed)
    x = s.rounded((4, 8, 8, 3), 0.03)
    same = {"stride_w": 1, "stride_h": 1}
    y = s.layer("CONV_2D", x, (8, 3, 3, 3), 0, (4, 8, 8, 8), 0.05, activation=1, **same)
    z = s.shift(y, how)
    z = s.layer(
        "DEPTHWISE_CONV_2D",
        z,
        (1, 3, 3, 8),
        3,
        (4, 8, 8, 8),
        0.06,
        activation=3,
        multiplier=1,
        **same,
    )
    z = s.layer("CONV_2D", z, (8, 1, 1, 8), 0, (4, 8, 8, 8), 0.06, **same)
    steps = {"dtype": dtype, "steps": (0.07, s.zero, 0)}
    z = s.do("ADD", [y, z], (4, 8, 8, 8), activation=1, **steps)
    z = s.do("MAX_POOL_2D", [z], (4, 4, 4, 8), width=2, height=2, stride_w=2, stride_h=2, padding=1)
    rows = s.do("MEAN", [z, s.const([1, 2])], (4, 8), dtype=dtype, steps=(0.04, s.zero, 0))
    scores = s.layer("FULLY_CONNECTED", rows, (5, 8), 0, (4, 5), 0.2)
    steps = {"dtype": dtype, "steps": (0.2, s.zero, 0)}
    return s, x, s.do("MEAN", [scores, s.const([0])], (1, 5), keep=True, **steps)
