"""Quantised layers with weights, ready to run: convolutions in their forms, and matrix products."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.exact import factor_of
from tsm_ref.engine.on_numba.whole_inputs import Maker, Packer, Source, Work, ends, less_zero
from tsm_ref.graph import Node
from tsm_ref.kernels.integer import (
    conv,
    depthwise,
    pack,
    tile,
    units,
    winograd,
    winograd_weights,
)

__all__ = ["MAKERS"]

Array = NDArray[Any]


def _conv(engine: Packer, node: Node, inputs: Sequence[Array], y: Array) -> Work | None:
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
    engine: Packer, node: Node, inputs: Sequence[Array], y: Array, source: Source,
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


def _matmul(engine: Packer, node: Node, inputs: Sequence[Array], y: Array) -> Work | None:
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
    engine: Packer, node: Node, inputs: Sequence[Array], y: Array,
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


MAKERS: Mapping[str, Maker] = {"QLinearConv": _conv, "QLinearMatMul": _matmul}
"""The operations that have a kernel, in some cases or in all."""
