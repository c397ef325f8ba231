"""Chains of quantised layers that are carried out as one: the inverted residual block.

A chain is expand - depthwise - project, and the addition behind it if there is one, where nothing
else looks into it. The first may be any convolution, so the stem of a MobileNetV2 is one too.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.arena import Steps
from tsm_ref.engine.exact import factor_of
from tsm_ref.engine.on_numba.whole_inputs import Packer, Source, Work, ends, flip_of, less_zero
from tsm_ref.graph import Graph, Node
from tsm_ref.kernels.integer import blocks, inverted
from tsm_ref.ops_table import Shape
from tsm_ref.reference import quantised

__all__ = ["inverted_block", "joined"]

Array = NDArray[Any]
Chain = Sequence[Node]
F32 = np.float32


def joined(graph: Graph, shapes: Mapping[str, Shape], weights: Mapping[str, Array]) -> Steps:
    """The nodes of a graph in steps: those of a chain at the place of its last one."""
    chains = _chains(graph, shapes, weights) if blocks.TRIED else {}
    inside = {node.name for chain in chains.values() for node in chain[:-1]}
    return [chains.get(n.name, (n,)) for n in graph.nodes if n.name not in inside]


def _chains(
    graph: Graph, shapes: Mapping[str, Shape], weights: Mapping[str, Array]
) -> dict[str, tuple[Node, ...]]:
    """The chains by the name of their last node; where two share a layer, the first is taken."""
    found: dict[str, tuple[Node, ...]] = {}
    taken: set[str] = set()
    for middle in graph.select("QLinearConv"):
        first = graph.node.get(middle.inputs[0])
        last = graph.only_reader(middle.name)
        if first is None or last is None or taken & {first.name, middle.name, last.name}:
            continue
        chain: tuple[Node, ...] = (first, middle, last)
        if (
            graph.only_reader(first.name) is middle
            and all(_is_convolution(node, weights) for node in chain)
            and _is_expand(first)
            and _is_depthwise(middle, weights)
            and _is_project(last, weights)
        ):
            add = graph.only_reader(last.name)
            if add is not None and _is_sum(add, last, shapes):
                chain = (*chain, add)
            found[chain[-1].name] = chain
            taken |= {node.name for node in chain}
    return found


def _is_convolution(node: Node, weights: Mapping[str, Array]) -> bool:
    """Whether a node makes bytes by weights of 8 bits, with sums that scaling keeps in range."""
    return bool(
        node.op == "QLinearConv"
        and node.attr("dtype") != "float32"
        and weights[node.inputs[1]].dtype == np.int8
        and blocks.fits(factor_of(node, weights[node.inputs[2]]))
    )


def _is_expand(node: Node) -> bool:
    return bool(node.attr("group") == 1 and node.attr("strides")[2] <= 2)


def _is_depthwise(node: Node, weights: Mapping[str, Array]) -> bool:
    weight, strides, pads = weights[node.inputs[1]], node.attr("strides"), node.attr("pads")
    return bool(
        weight.shape[1:] == (1, 1, 3, 3)
        and node.attr("group") == len(weight) > 1  # one channel is packed as any convolution
        and strides[0] == 1
        and strides[1] == strides[2] <= 2
        and node.attr("dilations") == (1, 1, 1)
        and pads[0] == pads[3] == 0
        and max(pads) <= 1
        and not any(node.attr("d"))
    )


def _is_project(node: Node, weights: Mapping[str, Array]) -> bool:
    return bool(
        weights[node.inputs[1]].shape[2:] == (1, 1, 1)
        and node.attr("group") == 1
        and node.attr("strides") == (1, 1, 1)
        and not any(node.attr("pads"))
        and not any(node.attr("d"))
    )


def _is_sum(node: Node, last: Node, shapes: Mapping[str, Shape]) -> bool:
    """Whether a node adds something of the same shape to what a convolution makes, by our rule."""
    return (
        node.op == "QLinearAdd"
        and node.attr("rule") == "onnxruntime"
        and node.inputs[0] != node.inputs[1]
        and all(shapes.get(name) == shapes[last.name] for name in node.inputs)
    )


def inverted_block(engine: Packer, chain: Sequence[Node], arrays: Mapping[str, Array]) -> Work:
    """The work of a chain; `arrays` hold its operands and the result of its last node."""
    first, middle = chain[:2]
    x, y = arrays[first.inputs[0]], arrays[chain[-1].name]
    weight = arrays[first.inputs[1]]
    (_, sh, sw), pads = first.attr("strides"), middle.attr("pads")
    flat = _is_flat(first, weight)
    source = Source(first, x, weight.shape[2:], flat, unit=blocks.UNIT, room=engine.room)
    kept = _Kept()
    hidden, stride, width = _hidden_size(first, x, weight), middle.attr("strides")[2], y.shape[3]
    count, inputs = blocks.blocks(len(weight)), blocks.blocks(weight[0].size)
    strips = 1 if y.shape[1] >= engine.crew.threads else min(engine.crew.threads, y.shape[2])
    rows = inverted.choose_rows(count, hidden, y.shape[2:], stride, strips)
    buffer = inverted.buffer_of(hidden, width, pads[2], stride, rows)
    signed = (x.dtype == np.int8, bool(_flip(first)), bool(_flip(middle)))
    layers = [
        _layer(engine, node, arrays, sign, kept, result=node is chain[2])
        for node, sign in zip(chain[:3], signed, strict=True)
    ]
    pixel, channels = blocks.PIXEL, blocks.CHANNELS
    tiles_of = inverted.tiles_of
    block = inverted.IntegerInverted(
        inputs=kept.address(_inputs(first, source, weight, y.shape[1])),
        input_blocks=inputs,
        input_row=0 if flat else sh * source.row_bytes,
        input_stride=sw,
        flip=source.flip,
        expand=layers[0],
        taps=layers[1],
        project=layers[2],
        blocks=count,
        hidden=hidden,
        stride=stride,
        sides=(pads[1], pads[2]),
        padding=layers[0].zero,
        y=y.ctypes.data,
        size=y.shape,
        y_flip=flip_of(y),
        adds=len(chain) == 4,
        sum=_sum(chain, arrays),
        rows=rows,
        strips=strips,
        places=kept.address(
            tiles_of(buffer[0] * hidden[1], inputs, hidden[1], buffer[1] * pixel, pixel)
        ),
        flat=kept.address(
            tiles_of(rows * width, count, width, width * channels, channels)
        ),
        buffer=buffer,
    )  # fmt: skip
    run = partial(inverted.run_integer_inverted, block)
    unit = f"fused, {blocks.UNIT.name}"
    return Work(run, block.panels, source.fill(), (source, arrays, kept), unit)


class _Kept(list[Array]):
    """The arrays of which a block has the addresses."""

    def address(self, array: Array) -> int:
        """Keep an array, and return where it lies."""
        self.append(array)
        return int(array.ctypes.data)


def _is_flat(node: Node, weight: Array) -> bool:
    """Whether a convolution reads planes place by place."""
    return bool(
        weight.shape[3:] == (1, 1)
        and node.attr("strides")[1:] == (1, 1)
        and not any(node.attr("pads"))
    )


def _hidden_size(node: Node, x: Array, weight: Array) -> tuple[int, int]:
    """Height and width of what a convolution makes."""
    kernel = weight.shape[2:]
    strides, pads, dilations = (node.attr(n) for n in ("strides", "pads", "dilations"))
    height, width = (
        (x.shape[i + 1] + pads[i] + pads[i + 3] - dilations[i] * (kernel[i] - 1) - 1)
        // strides[i] + 1
        for i in (1, 2)
    )  # fmt: skip
    return height, width


def _inputs(node: Node, source: Source, weight: Array, frames: int) -> Array:
    """The address of every k for each frame; what fills the last block is read, and not used."""
    addresses, inputs = source.addresses(), source.inputs(weight.shape[1])
    inputs = inputs[inputs[:, 0] >= 0]
    channel, time, offset = np.pad(
        inputs, ((0, -len(inputs) % blocks.CHANNELS), (0, 0)), mode="edge"
    ).T
    times = np.arange(frames)[:, None] * node.attr("strides")[0] + time
    return np.ascontiguousarray(addresses[channel, times] + offset)


def _layer(
    engine: Packer, node: Node, arrays: Mapping[str, Array], signed: bool, kept: _Kept, result: bool
) -> inverted.Layer:
    """A convolution as its kernel reads it; `signed` are its inputs, `result` says the last."""
    weight, scale, bias = (arrays[name] for name in node.inputs[1:4])
    matrix, x_zero = weight.reshape(len(weight), -1), node.attr("x_zero_point") + 128 * signed
    depthwise, form = node.attr("group") > 1, "result" if result else "blocks"

    def pack() -> Array:
        return blocks.pack_taps(matrix) if depthwise else blocks.pack_products(matrix, result)

    weights = engine.packed(node, form, pack)
    flip, (least, most) = _flip(node), quantised.limits(node.attr("dtype"))
    return inverted.Layer(
        weights=kept.address(weights),
        block=weights[0].nbytes,
        steps=weights.shape[1],
        bias=kept.address(blocks.ordered(less_zero(bias, matrix, x_zero), result)),
        factor=kept.address(blocks.ordered(factor_of(node, scale), result)),
        zero=node.attr("y_zero_point") + flip,
        low=max(node.attr("low"), least) + flip,
        high=min(node.attr("high"), most) + flip,
    )


def _flip(node: Node) -> int:
    """What turns a byte of a result into one without a sign."""
    return 128 if node.attr("dtype") == "int8" else 0


def _sum(chain: Chain, arrays: Mapping[str, Array]) -> inverted.Sum:
    """What is added to the result of a convolution; nothing, if the chain ends with it."""
    if len(chain) == 3:
        return inverted.Sum(0, 0, 0, F32(0), 0, F32(0), 0, 0, F32(0), F32(0))
    last, add = chain[2:]
    own, other = ("x", "other") if add.inputs[0] == last.name else ("other", "x")
    value = arrays[add.inputs[1 if own == "x" else 0]]
    factors = [
        quantised.combined_scale(add.attr(f"{role}_scale"), 1.0, add.attr("y_scale"))
        for role in (own, other)
    ]
    flip = flip_of(value)
    return inverted.Sum(
        place=value.ctypes.data,
        row=value.strides[0],
        x_zero=add.attr(f"{own}_zero_point") + _flip(last),
        x_factor=F32(factors[0]),
        other_zero=add.attr(f"{other}_zero_point") + flip,
        other_factor=F32(factors[1]),
        flip=flip,
        **ends(add),
    )
