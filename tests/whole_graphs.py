"""The hypothesis strategy of small random networks of whole numbers, of every op that has them."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.quantised_networks import steps
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.reference import FILLS
from tsm_ref.reference.quantised import limits


@dataclass(frozen=True)
class Value:
    """A quantised value of a network: its name, its shape but for N, and its steps."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero: int

    def as_operand(self, role: str = "x") -> dict[str, Any]:
        return steps(role, self.scale, self.zero)


SHIFTS = ("TemporalShift", "SpatialShift")
CARRIERS = ("LookUp", "MaxPool", "QuantizeLinear")
"""What may leave values where a shift has put them."""


@dataclass
class Sketch:
    """A network in the making; every layer is one method, and draws what it needs."""

    draw: Any
    frames: int
    causal: bool = False
    nodes: list[Node] = field(default_factory=list)
    weights: dict[str, Any] = field(default_factory=dict)
    values: list[Value] = field(default_factory=list)
    moved: set[str] = field(default_factory=set)
    """The values that are a shift of something: two shifts in a row are no shift where the second
    brings frames back that the first has pushed out, and are not read back as one."""

    def steps(self) -> dict[str, Any]:
        """The steps of a result."""
        dtype = self.draw(st.sampled_from(["uint8", "int8"]))
        least, most = limits(dtype)
        scale = float(np.float32(self.draw(st.floats(0.01, 0.2))))
        return {"dtype": dtype, **steps("y", scale, self.draw(st.integers(least, most)))}

    def clamp(self, made: dict[str, Any]) -> dict[str, Any]:
        """Where a result is clamped: at its zero point, at any two numbers, or not at all."""
        least, most = limits(made["dtype"])
        ends = self.draw(st.lists(st.integers(least, most), min_size=2, max_size=2).map(sorted))
        relu = {"low": made["y_zero_point"]}
        return self.draw(st.sampled_from([{}, relu, dict(zip(("low", "high"), ends, strict=True))]))

    def add(self, op: str, inputs: tuple[str, ...], attrs: dict[str, Any], like: Value) -> Value:
        """A node whose result has the steps of its attributes, or else those of what it moves."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(Node(name, op, inputs, attrs))
        known = (like.dtype, like.scale, like.zero)
        if "dtype" in attrs:
            known = (attrs["dtype"], attrs["y_scale"], attrs["y_zero_point"])
        made = Value(name, like.shape, *known)
        if op in SHIFTS or (op in CARRIERS and like.name in self.moved):
            self.moved.add(name)
        self.values.append(made)
        return made

    def some(self) -> Value:
        """One of the latest values of pictures."""
        return self.draw(st.sampled_from([v for v in self.values if len(v.shape) == 4][-4:]))

    def unmoved(self) -> Value:
        """One of the latest values of pictures that is no shift."""
        known = [v for v in self.values if len(v.shape) == 4 and v.name not in self.moved]
        return self.draw(st.sampled_from(known[-4:]))

    def numbers(self, role: str, shape: tuple[int, ...], dtype: str) -> str:
        """A tensor of whole numbers of a type, any of them."""
        least, most = (-3000, 3000) if dtype == "int32" else limits(dtype)
        rng = np.random.default_rng(self.draw(st.integers(0, 2**31)))
        name = f"{role}{len(self.nodes)}"
        self.weights[name] = rng.integers(least, most + 1, shape).astype(dtype)
        return name

    def tensors(self, shape: tuple[int, ...]) -> tuple[str, str, str]:
        """Weight, scales and bias of a layer, so that its results use their range."""
        weight, bias = self.numbers("w", shape, "int8"), self.numbers("b", shape[:1], "int32")
        rng = np.random.default_rng(self.draw(st.integers(0, 2**31)))
        scale = f"s{len(self.nodes)}"
        drawn = rng.uniform(0.5, 1.5, shape[:1]) / (70 * np.sqrt(np.prod(shape[1:])))
        self.weights[scale] = drawn.astype(np.float32)
        return weight, scale, bias

    def window(self, x: Value, in_time: bool) -> dict[str, Any]:
        """A window that fits, its strides and pads; a causal network does not look ahead."""
        _, *sizes = x.shape
        kernel = tuple(self.draw(st.integers(1, min(3, size))) for size in sizes)
        kernel = kernel if in_time else (1, *kernel[1:])
        strides = tuple(self.draw(st.integers(1, 2)) for _ in kernel)
        pads = tuple(self.draw(st.integers(0, k - 1)) for k in kernel * 2)
        if self.causal:
            pads = (kernel[0] - 1, *pads[1:3], 0, *pads[4:])
        strides = (1, *strides[1:])  # so that sums find values of as many frames
        return {"kernel_shape": kernel, "strides": strides, "pads": pads}

    def through(self, x: Value, window: dict[str, Any], channels: int) -> tuple[int, ...]:
        """The shape behind a window."""
        kernel, strides, pads = (window[name] for name in ("kernel_shape", "strides", "pads"))
        places = [
            (size + pads[i] + pads[i + 3] - kernel[i]) // strides[i] + 1
            for i, size in enumerate(x.shape[1:])
        ]
        return (channels, *places)

    def conv(self) -> None:
        """A convolution of any window and groups."""
        x = self.some()
        window = self.window(x, self.draw(st.booleans()))
        group = self.draw(st.sampled_from([1, x.shape[0]]))
        outputs = group * self.draw(st.integers(1, 3 if group == 1 else 1))
        shape = self.through(x, window, outputs)
        tensors = self.tensors((outputs, x.shape[0] // group, *window.pop("kernel_shape")))
        made = self.steps()
        attrs = {**window, "group": group, **x.as_operand(), **made, **self.clamp(made)}
        self.add("QLinearConv", (x.name, *tensors), attrs, Value("", shape, "", 0, 0))

    def table(self) -> None:
        """Any function of one value."""
        x, made = self.some(), self.steps()
        self.add("LookUp", (x.name, self.numbers("t", (256,), made["dtype"])), made, x)

    def shift(self) -> None:
        """A shift in time, by channel."""
        x = self.unmoved()
        most = min(2, x.shape[1] - 1)  # else a channel were zero at all times, and no part of it
        d = self.shifts(x, 0 if self.causal else -most, most)
        fill = "zero" if self.causal else self.draw(st.sampled_from(FILLS))
        attrs = {"d": d, "fill": fill, "x_zero_point": x.zero}
        self.add("TemporalShift", (x.name,), attrs, x)

    def cross(self) -> None:
        """A shift along height and width."""
        x = self.unmoved()
        dh, dw = (self.shifts(x, -min(1, s - 1), min(1, s - 1)) for s in x.shape[2:])
        attrs = {"dh": dh, "dw": dw, "fill": "zero", "x_zero_point": x.zero}
        self.add("SpatialShift", (x.name,), attrs, x)

    def shifts(self, x: Value, least: int, most: int) -> tuple[int, ...]:
        """One for each channel."""
        whole = st.integers(least, most)
        return tuple(self.draw(st.lists(whole, min_size=x.shape[0], max_size=x.shape[0])))

    def maxima(self) -> None:
        """A pool of maxima."""
        x = self.some()
        window = self.window(x, self.draw(st.booleans()))
        shape = self.through(x, window, x.shape[0])
        self.add("MaxPool", (x.name,), window, replace(x, shape=shape))

    def mean(self) -> None:
        """The mean of windows, or of all places."""
        x, made = self.some(), self.steps()
        attrs = {**x.as_operand(), **made, **self.clamp(made)}
        if self.draw(st.booleans()):
            shape = (*x.shape[:2], 1, 1)
            self.add("QLinearGlobalAveragePool", (x.name,), attrs, Value("", shape, "", 0, 0))
            return
        window = self.window(x, False)
        attrs |= {**window, "count_include_pad": self.draw(st.booleans())}
        shape = self.through(x, window, x.shape[0])
        self.add("QLinearAveragePool", (x.name,), attrs, Value("", shape, "", 0, 0))

    def pair(self) -> None:
        """The sum of two values of one shape, or of one with itself; or their product."""
        x = self.some()
        alike = [v for v in self.values if v.shape == x.shape]
        other, made = self.draw(st.sampled_from(alike)), self.steps()
        attrs = {**x.as_operand(), **other.as_operand("other"), **made, **self.clamp(made)}
        op = self.draw(st.sampled_from(["QLinearAdd", "QLinearMul"]))
        self.add(op, (x.name, other.name), attrs, x)

    def gate(self) -> None:
        """A value times one number for each channel and frame."""
        x, made = self.some(), self.steps()
        attrs = {**x.as_operand(), **made}
        pooled = Value("", (*x.shape[:2], 1, 1), "", 0, 0)
        gate = self.add("QLinearGlobalAveragePool", (x.name,), attrs, pooled)
        made = self.steps()
        attrs = {**x.as_operand(), **gate.as_operand("other"), **made}
        self.add("QLinearMul", (x.name, gate.name), attrs, x)

    def reals(self) -> None:
        """A value as reals, clamped, and rounded to other steps."""
        x, made = self.some(), self.steps()
        real = f"v{len(self.nodes)}"
        self.nodes.append(Node(real, "DequantizeLinear", (x.name,), x.as_operand()))
        if self.draw(st.booleans()):
            self.nodes.append(Node(f"v{len(self.nodes)}", "Relu", (real,)))
            real = self.nodes[-1].name
        self.add("QuantizeLinear", (real,), made, x)

    def head(self) -> Graph:
        """Classes of every frame, from all that is left of the last picture."""
        x = self.values[-1]
        flat = self.add("Flatten", (x.name,), {}, x)
        features = int(np.prod([x.shape[0], *x.shape[2:]]))
        made = self.steps()
        names = self.tensors((5, features))
        attrs = {**x.as_operand(), **made, **self.clamp(made)}
        classes = self.add("QLinearMatMul", (flat.name, *names), attrs, Value("", (), "", 0, 0))
        if self.draw(st.booleans()):
            table = self.numbers("t", (256,), "int8")
            made = {**self.steps(), "dtype": "int8", "y_zero_point": 3}
            classes = self.add("LookUp", (classes.name, table), made, classes)
        logits = Node("logits", "DequantizeLinear", (classes.name,), classes.as_operand())
        shapes = {name: value.shape for name, value in self.weights.items()}
        clips = Input("x", ("N", 3, "T", "H", "W"))
        return Graph("random", (clips,), (*self.nodes, logits), ("logits",), shapes)


LAYERS = ("conv", "conv", "table", "shift", "cross", "maxima", "mean", "pair", "gate", "reals")


@st.composite
def whole_graphs(draw: Any, causal: bool = False) -> tuple[Graph, dict[str, Any], Any]:
    """A network (graph, weights) of 1 to 7 layers of whole numbers, and a clip for it."""
    sketch = Sketch(draw, draw(st.integers(4, 6)), causal)
    shape = (3, sketch.frames, *(draw(st.integers(4, 8)) for _ in "HW"))
    sketch.add("QuantizeLinear", ("x",), sketch.steps(), Value("", shape, "", 0, 0))
    for _ in range(draw(st.integers(1, 7))):
        getattr(sketch, draw(st.sampled_from(LAYERS)))()
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    clip = rng.standard_normal((draw(st.integers(1, 2)), *shape)).astype(np.float32) * 4
    return sketch.head(), sketch.weights, clip
