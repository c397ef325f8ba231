"""Quantised networks of the Numba engine: compiled steps over the plain layout of the NumPy engine.

Such a network is planned as the NumPy engine plans it, value by value and step by step; this room
makes the steps. A convolution reads its input where it lies, or, where it has taps beside each
other, a copy with the zero point around every frame. What has no kernel is a step of the NumPy
engine, on one thread of the BLAS. So neither threads nor the cut of a clip can change a bit.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.arena import Steps, dtype_of
from tsm_ref.engine.exact import factor_of
from tsm_ref.engine.on_numba import whole_chains, whole_inputs
from tsm_ref.engine.on_numba.crew import Crew
from tsm_ref.engine.on_numba.weights import LentWeights
from tsm_ref.engine.on_numba.whole_inputs import Kernel, Source, Work, ends, flip_of, less_zero
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.engine.on_numpy.ops import STEPS, Step, StepMaker
from tsm_ref.engine.on_numpy.steps import Take
from tsm_ref.graph import Graph, Node
from tsm_ref.kernels.cache import bound
from tsm_ref.kernels.integer import (
    conv,
    depthwise,
    pack,
    pool,
    rules,
    tile,
    units,
    values,
    winograd,
    winograd_weights,
)
from tsm_ref.ops_table import Shape
from tsm_ref.reference import litert, quantised

__all__ = ["WholeNumbersEngine"]

Array = NDArray[Any]
Packed = TypeVar("Packed")


class WholeNumbersEngine(NumpyEngine):
    """Runs a quantised graph with compiled kernels, on one or more threads.

    >>> from tsm_ref.graph import Input
    >>> steps = {"y_scale": 0.5, "y_zero_point": 3, "dtype": "uint8"}
    >>> graph = Graph("g", (Input("x", ("N", 2)),), (Node("q", "QuantizeLinear", ("x",), steps),),
    ...               ("q",), {})
    >>> WholeNumbersEngine(graph, {}).run({"x": np.array([[0.5, 9.0]], np.float32)})["q"]
    array([[ 4, 21]], dtype=uint8)
    """

    name = "numba"

    def __init__(
        self, graph: Graph, weights: Mapping[str, Array], threads: int = 1,
        again: Callable[[], Mapping[str, Array]] | None = None,
    ) -> None:  # fmt: skip
        given = dict(weights)
        super().__init__(graph, given, threads=threads)
        if again is not None:
            self.weights = LentWeights(self.weights, given, again)
        self._room: Array | None = None
        self.crew = Crew(threads)
        self._packed: dict[tuple[str, str], Any] = {}
        self._left: dict[str, None] = {}
        self._units: dict[str, str] = {}
        self._taken: Array | None = None  # what is quantised already when its step comes

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """An engine of its own over the same weights; see `NumpyEngine`."""
        twin = super().__deepcopy__(memo)
        twin.crew, twin._left = Crew(self.crew.threads), dict(self._left)
        twin._units = dict(self._units)
        return twin

    @property
    def blas_threads(self) -> int:
        """One: the sums of a product depend on how many there are."""
        return 1

    @property
    def table(self) -> Mapping[str, StepMaker]:
        """What computes each op."""
        return {op: partial(self._step, self.makers.get(op)) for op in STEPS}

    @property
    def makers(self) -> "Mapping[str, Maker]":
        """What has a kernel, in some cases or in all."""
        return MAKERS

    def fallbacks(self) -> list[str]:
        """Nodes that the NumPy engine computes, in the plans made so far."""
        return list(self._left)

    def units(self) -> Mapping[str, str]:
        """What multiplies in the convolutions and matrix products of the plans made so far."""
        return dict(self._units)

    def remarks(self) -> list[str]:
        """Why a better unit of the processor is not used, if one is not."""
        refusal = units.refused()
        return [f"AMX is not used: {refusal}"] if refusal else []

    def joined(self, graph: Graph, shapes: Mapping[str, Shape]) -> Steps:
        """The nodes of a graph in steps: inverted residual blocks are carried out as one."""
        return whole_chains.joined(graph, shapes, self.weights)

    @property
    def room(self) -> Array | None:
        """Memory for a copy of what is read by the step that is being made, if it needs one."""
        return self._room

    def rooms(self, graph: Graph, steps: Steps, shapes: Mapping[str, Shape]) -> Mapping[str, int]:
        """Bytes for the copies with padding that convolutions read."""
        sizes: dict[str, int] = {}
        for first, last in ((nodes[0], nodes[-1]) for nodes in steps):
            if first.op in ("QLinearConv", "FusedConv"):
                x = first.inputs[0]
                dtype = dtype_of(graph, x, self.dtype)
                sizes[last.name] = whole_inputs.room_of(first, shapes[x][1:], dtype)
        return {name: size for name, size in sizes.items() if size}

    def taker(self, graph: Graph, values: Mapping[str, Array]) -> Take:
        """What quantises the input where the caller has it, if that is the first step."""
        node = whole_inputs.entry(graph)
        if node is None or values[node.inputs[0]].dtype != np.float32:
            return super().taker(graph, values)
        y = values[node.name]

        def take(inputs: Mapping[str, Array]) -> None:
            for given in inputs.values():
                x = np.require(given, np.float32, ["C", "A", "W"])  # one type for Numba
                work = _quantized(node, x, y)
                self.crew.share(work.kernel, work.pieces)
                self._taken = y

        return take

    def _entry(self, run: Step, y: Array) -> Step:
        """The step that quantises, which is done where the input was taken so."""

        def step() -> None:
            if self._taken is not y:
                run()
            self._taken = None

        return step

    def step(
        self, nodes: Sequence[Node], arrays: Mapping[str, Array], room: Array | None = None
    ) -> Step:
        """What carries out the nodes of a step."""
        self._room = room
        if len(nodes) == 1:
            run = super().step(nodes, arrays, room)
            (node,) = nodes
            return self._entry(run, arrays[node.name]) if node.op == "QuantizeLinear" else run
        work = whole_chains.inverted_block(self, nodes, arrays)
        self._units |= dict.fromkeys([node.name for node in nodes[:3]], work.unit)
        return self._shared(work)

    def packed(self, node: Node, form: str, make: Callable[[], Packed]) -> Packed:
        """The weights of a node as its kernel reads them: made once for all plans."""
        key = (node.inputs[1], form)
        if key not in self._packed:
            self._packed[key] = make()
        found: Packed = self._packed[key]
        return found

    def _step(self, make: "Maker | None", node: Node, inputs: Sequence[Array], y: Array) -> Step:
        work = make(self, node, inputs, y) if make is not None else None
        if work is None:
            if node.op not in ("Flatten", "Squeeze"):
                self._left[node.name] = None
            return STEPS[node.op](node, inputs, y)
        if work.unit:
            self._units[node.name] = work.unit
        return self._shared(work)

    def _shared(self, work: Work) -> Step:
        """A step that the threads do together."""
        works = [part for part in (work.before, work) if part is not None]
        parts = [part._replace(kernel=_bound(part.kernel)) for part in works]

        def step() -> None:
            for part in parts:
                self.crew.share(part.kernel, part.pieces)

        return step


def _bound(kernel: Kernel) -> Kernel:
    """A kernel whose arguments Numba need not look at again."""
    return bound(kernel.func, *kernel.args, more=(0, 0)) if isinstance(kernel, partial) else kernel


Maker = Callable[[WholeNumbersEngine, Node, Sequence[Array], Array], Work | None]
"""Plans a node: (engine, node, operands, result) -> its work, or None where there is no kernel."""


def _conv(engine: WholeNumbersEngine, node: Node, inputs: Sequence[Array], y: Array) -> Work | None:
    x, weight, _scale, _bias = inputs
    kernel, (st, sh, sw) = weight.shape[2:], node.attr("strides")
    if weight.dtype != np.int8:
        return None
    if _is_depthwise(node, x, weight):
        return _depthwise(node, inputs, y)
    form = _form(node, x, weight)
    if form is not None:
        return _winograd(engine, node, inputs, y, form)
    if sw > 2:
        return None
    flat = kernel[1:] == (1, 1) and (sh, sw) == (1, 1) and not any(node.attr("pads"))
    source = Source(node, x, kernel, flat=not any(node.attr("pads")), room=engine.room)
    joined = flat and not any(node.attr("d")) and st == kernel[0] == 1
    shape = (1, y.shape[1] * y.shape[2], y.shape[3]) if joined else y.shape[1:]
    layer = _planned(engine, node, inputs, y, source, (shape, (1, sh, sw), source.row_bytes, flat))
    run = partial(conv.run_integer_convolution, layer)
    return Work(run, layer.panels, source.fill(), source, units.UNIT.name)


def _planned(
    engine: WholeNumbersEngine, node: Node, inputs: Sequence[Array], y: Array, source: Source,
    places: tuple[Any, ...],
) -> conv.IntegerConvolution:  # fmt: skip
    _, weight, scale, bias = inputs
    group, outputs = node.attr("group"), len(weight)
    matrix = weight.reshape(outputs, -1)
    packed = engine.packed(node, "tiles", lambda: conv.pack_weights(matrix, group))
    runs, begins = pack.runs_of(*places)
    inputs_at = source.places(places[0][0], group, weight.shape[1])
    bias = bias if pack.GROUP == 2 else less_zero(bias, matrix, source.zero)
    return conv.IntegerConvolution(
        places=np.take_along_axis(inputs_at, packed.order[:, None], axis=2),
        runs=runs,
        begins=begins,
        weights=packed.data,
        starts=packed.starts,
        bias=conv.pack_rows(bias, group),
        factor=conv.pack_rows(factor_of(node, scale), group),
        y=y.reshape(-1).view(np.uint8),
        columns=int(np.prod(y.shape[1:])),
        group_outputs=outputs // group,
        stride=places[1][2],
        flip=source.flip,
        input_zero=source.zero,
        form=tile.REAL if node.attr("dtype") == "float32" else tile.WHOLE,
        **ends(node),
        code=tile.code(),
    )


def _matmul(
    engine: WholeNumbersEngine, node: Node, inputs: Sequence[Array], y: Array
) -> Work | None:
    """A convolution of one place per column."""
    x, weight, scale, bias = inputs
    if weight.dtype != np.int8:
        return None
    attrs = {"strides": (1, 1, 1), "dilations": (1, 1, 1), "pads": (0,) * 6, "group": 1}
    layer = Node(node.name, "QLinearConv", node.inputs, {**node.attrs, **attrs})
    places = (len(x), 1, 1, -1)
    five = (x.reshape(places), weight[:, :, None, None, None], scale, bias)
    return _conv(engine, layer, five, y.reshape(len(y), 1, 1, -1))


def _form(node: Node, x: Array, weight: Array) -> winograd.Form | None:
    """How a layer can do with fewer multiplications, if it is a 3x3 convolution."""
    plain = (
        weight.shape[2:] == (1, 3, 3)
        and node.attr("group") == 1
        and node.attr("dtype") != "float32"
        and node.attr("strides") == (1, 1, 1)
        and node.attr("dilations") == (1, 1, 1)
        and node.attr("pads") == (0, 1, 1, 0, 1, 1)
        and min(weight.shape[:2]) >= 16
        and min(x.shape[2:]) >= 4
    )
    return winograd.chosen(weight[:, :, 0], x.shape[1:]) if plain else None


def _winograd(
    engine: WholeNumbersEngine, node: Node, inputs: Sequence[Array], y: Array,
    form: winograd.Form,
) -> Work:  # fmt: skip
    x, weight, scale, bias = inputs
    source = Source(
        node, x, weight.shape[2:], flat=False, multiple=form.size, unit=units.PAIRS,
        room=engine.room,
    )  # fmt: skip
    tiles, strides = (y.shape[1], *form.tiles(*y.shape[2:])), (1, form.size, form.size)
    runs, begins = pack.runs_of(
        tiles, strides, source.row_bytes, flat=False, columns=winograd.COLUMNS
    )
    taps = engine.packed(node, "taps", lambda: winograd_weights.packed_taps(weight[:, :, 0]))
    layer = winograd.IntegerWinograd(
        frames=source.addresses(),
        runs=runs,
        begins=begins,
        places=winograd.places_of(runs, begins, y.shape[1:], form.size),
        size=form.size,
        taps=taps,
        bias=conv.pack_rows(bias, 1),
        factor=conv.pack_rows(factor_of(node, scale), 1),
        y=y.reshape(len(y), -1).view(np.uint8),
        width=y.shape[3],
        row_bytes=source.row_bytes,
        flip=source.flip,
        input_zero=source.zero,
        **ends(node),
        code=tile.code(units.PAIRS),
    )
    run = partial(winograd.run_integer_winograd, layer)
    return Work(run, layer.panels, source.fill(), source, f"winograd, {units.PAIRS.name}")


def _is_depthwise(node: Node, x: Array, weight: Array) -> bool:
    """Whether every channel makes one, frame by frame, and there is code for the kernel."""
    strides, pads = node.attr("strides"), node.attr("pads")
    return bool(
        node.attr("group") == len(x) == len(weight)
        and node.attr("dtype") != "float32"
        and weight.shape[2] == strides[0] == 1
        and strides[1] == strides[2] <= 2
        and weight.shape[3] == weight.shape[4] in depthwise.KERNELS
        and node.attr("dilations") == (1, 1, 1)
        and pads[0] == pads[3] == 0
    )


def _depthwise(node: Node, inputs: Sequence[Array], y: Array) -> Work:
    x, weight, scale, bias = inputs
    source = Source(node, x, weight.shape[2:], flat=True, unit=units.PAIRS)
    pads = node.attr("pads")
    layer = depthwise.IntegerDepthwise(
        frames=source.addresses(),
        x_size=x.shape[2:],
        sides=(*pads[1:3], *pads[4:6]),
        weights=depthwise.pack_taps(weight[:, 0, 0]),
        bias=less_zero(bias, weight.reshape(len(weight), -1), source.zero),
        factor=factor_of(node, scale),
        y=y.view(np.uint8),
        size=weight.shape[3],
        stride=node.attr("strides")[2],
        flip=source.flip,
        input_zero=node.attr("x_zero_point") & 255,
        **ends(node),
    )
    run = partial(depthwise.run_integer_depthwise, layer)
    return Work(run, layer.panels, keeps=source, unit="pairs")


def _pair(op: int) -> Maker:
    """Two values of the same shape, added or multiplied."""

    def make(
        engine: WholeNumbersEngine, node: Node, inputs: Sequence[Array], y: Array
    ) -> Work | None:
        a, b = inputs
        if not a.shape == b.shape == y.shape:
            return None
        scales = [node.attr(name) for name in ("x_scale", "other_scale", "y_scale")]
        if op == values.ADD and node.attr("rule") == "xnnpack":
            return _add_by_shift(node, inputs, y, litert.add_factors(*scales))
        if op == values.ADD:
            factors = [quantised.combined_scale(scale, 1.0, scales[2]) for scale in scales[:2]]
        else:
            factors = [quantised.combined_scale(*scales), np.zeros((), np.float32)]
        steps = [
            (flip_of(x), node.attr(f"{role}_zero_point") + flip_of(x), np.float32(factor))
            for x, role, factor in zip((a, b), ("x", "other"), factors, strict=True)
        ]
        rows = [_bytes(v) for v in (a, b, y)]
        return Work(
            partial(values.combine, op, *rows, *steps, *ends(node).values()),
            values.CUTS,
        )

    return make


def _add_by_shift(
    node: Node, inputs: Sequence[Array], y: Array, factors: tuple[int, int, int]
) -> Work:
    rows = [v.reshape(-1) for v in (*inputs, y)]
    zeros = [node.attr(f"{role}_zero_point") for role in ("x", "other", "y")]
    steps = list(zip(zeros[:2], factors[:2], strict=True))
    how = (*rows, *steps, factors[2], zeros[2], *_limits(node))
    return Work(partial(rules.add_by_shift, *how), rules.CUTS)


def _limits(node: Node) -> tuple[int, int]:
    """What a result is clamped to."""
    least, most = quantised.limits(node.attr("dtype"))
    return max(node.attr("low"), least), min(node.attr("high"), most)


def _quantize(
    engine: WholeNumbersEngine, node: Node, inputs: Sequence[Array], y: Array
) -> Work | None:
    (x,) = inputs
    return _quantized(node, x, y) if x.dtype == np.float32 else None


def _quantized(node: Node, x: Array, y: Array) -> Work:
    how = (x.reshape(-1), np.float32(node.attr("y_scale")), _bytes(y), *ends(node).values())
    return Work(partial(values.quantize, *how), values.CUTS)


def _dequantize(
    engine: WholeNumbersEngine, node: Node, inputs: Sequence[Array], y: Array
) -> Work | None:
    (x,) = inputs
    if y.dtype != np.float32:
        return None
    how = (np.float32(node.attr("x_scale")), node.attr("x_zero_point"), y.reshape(-1))
    return Work(partial(values.dequantize, x.reshape(-1), *how), values.CUTS)


def _look_up(engine: WholeNumbersEngine, node: Node, inputs: Sequence[Array], y: Array) -> Work:
    x, table = inputs
    by_byte = np.roll(table.view(np.uint8), 128 if x.dtype == np.int8 else 0)
    return Work(partial(values.look_up, _bytes(x), by_byte, _bytes(y)), values.CUTS)


def _mean(engine: WholeNumbersEngine, node: Node, inputs: Sequence[Array], y: Array) -> Work | None:
    (x,) = inputs
    places, rule = int(np.prod(x.shape[2:])), node.attr("rule")
    if rule == "tflite":
        return None
    if rule == "xnnpack":
        return _xnnpack_mean(node, x.reshape(-1, places), y.reshape(-1))
    scale = np.float32(node.attr("x_scale")) / (
        np.float32(node.attr("y_scale")) * np.float32(places)
    )
    how = (x.reshape(-1, places), node.attr("x_zero_point"), np.float32(scale), _bytes(y))
    return Work(partial(values.mean, *how, *ends(node).values()), y.size)


def _xnnpack_mean(node: Node, x: Array, y: Array) -> Work:
    steps = ((node.attr(f"{role}_scale"), node.attr(f"{role}_zero_point")) for role in ("x", "y"))
    terms = litert.mean_terms(np.array(x.shape[1]), *steps)
    return Work(partial(rules.mean, x, *map(np.float32, terms), y, *_limits(node)), y.size)


def _max_pool(
    engine: WholeNumbersEngine, node: Node, inputs: Sequence[Array], y: Array
) -> Work | None:
    (x,) = inputs
    kernel, strides, pads = (node.attr(n) for n in ("kernel_shape", "strides", "pads"))
    plain = kernel[0] == strides[0] == 1 and pads[0] == pads[3] == 0
    if not plain or x.dtype.kind == "f" or tuple(node.attr("dilations")) != (1, 1, 1):
        return None
    if strides[2] > 2:
        return None
    planes = [v.reshape(-1, *v.shape[2:]).view(np.uint8) for v in (x, y)]
    how = (kernel[1:], strides[1:], pads[1:3], flip_of(x))
    return Work(partial(pool.max_pool, *planes, *how), len(planes[0]))


def _bytes(x: Array) -> NDArray[np.uint8]:
    return x.reshape(-1).view(np.uint8)


MAKERS: Mapping[str, Maker] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "QLinearConv": _conv,
    "QLinearMatMul": _matmul,
    "QLinearAdd": _pair(values.ADD),
    "QLinearMul": _pair(values.MULTIPLY),
    "QLinearGlobalAveragePool": _mean,
    "LookUp": _look_up,
    "MaxPool": _max_pool,
}
"""What has a kernel, in some cases or in all."""
