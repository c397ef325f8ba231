"""One value from one or two others, pixel by pixel, on the blocked layout.

An operand that has one row, one pixel, one frame or one channel where the result has several is
read again and again. Where the planes of the first operand lie may be told by a table, so that a
temporal shift is such an operation, too.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.kernels.blocked import PIXEL, Layout
from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.plans import Plan, planned
from tsm_ref.kernels.vector import (
    FLOAT,
    Emitter,
    Value,
    address,
    count,
    generated,
    integer_at,
    real,
)

IDENTITY, SUM, PRODUCT, SCALED, MASKED = range(5)
"""x; x + z; x * z; x * z + the 16 values behind z, of each block; x * (0.5 / z), z of 1 channel."""

ELEMENTWISE = np.dtype(
    [
        ("kind", np.int64),
        ("x", np.int64),  # addresses of pixel (0, 0) of the first plane
        ("z", np.int64),
        ("y", np.int64),
        ("planes", np.int64),  # frames times blocks of channels
        ("blocks", np.int64),
        ("height", np.int64),
        ("width", np.int64),
        ("moves", np.int64),  # 0, or the address of what is added to x by [frame][block]
        ("splat", np.int64),  # z has one channel
        ("x_slots", np.int64),  # frames that there is memory for
        ("z_slots", np.int64),
        ("y_slots", np.int64),
        ("x_frame", np.int64),  # strides in bytes; 0 where an operand is read again
        ("x_block", np.int64),
        ("x_row", np.int64),
        ("z_frame", np.int64),
        ("z_block", np.int64),
        ("z_row", np.int64),
        ("z_pixel", np.int64),
        ("y_frame", np.int64),
        ("y_block", np.int64),
        ("y_row", np.int64),
        ("low", np.float32),
        ("high", np.float32),
    ],
    align=True,
)
"""A planned elementwise operation, for `run_elementwise`."""


def plan_elementwise(
    kind: int,
    x: Layout,
    y: Layout,
    z: Layout | None = None,
    planes: NDArray[np.int64] | None = None,
    /,
    **fields: Any,
) -> Plan:
    """Plan an operation whose first operand has the shape of the result, or fewer channels.

    `z` is the layout of the second operand, where it has one; the addresses of the operands are
    `x`, `z` and `y` among the `fields`. ``planes[frame, block]`` are the offsets of the planes of x
    that are read, where they are not its own. `SCALED` has no layout of z: it is the address of
    [block][2][16] values.
    """
    blocks = x.blocks
    if planes is not None:
        fields["moves"] = x.moves(planes)
    if z is not None:
        fields |= {
            "splat": int(z.channels == 1),
            "z_slots": z.slots or z.frames,
            "z_frame": z.frame if z.frames > 1 else 0,
            "z_block": z.block if z.blocks > 1 else 0,
            "z_row": z.row if z.height > 1 else 0,
            "z_pixel": PIXEL if z.width > 1 else 0,
        }
    elif kind == SCALED:
        fields |= {"z_slots": 1, "z_block": 2 * PIXEL}
    plan = planned(
        ELEMENTWISE,
        **{"low": -np.inf, "high": np.inf, "z_slots": 1, **fields},
        kind=kind,
        planes=y.frames * blocks,
        blocks=blocks,
        height=y.height,
        width=y.width,
        **x.steps("x"),
        **y.steps("y"),
    )
    plan.record["x"] += x.at()
    plan.record["y"] += y.at()
    if z is not None:
        plan.record["z"] += z.at()
    return plan


Formula = Callable[[Emitter, Value, Callable[..., Value]], Value]


def _write_row(formula: Formula, *, splat: bool = False) -> Any:
    """The formula gets a vector of x, and what reads one of z, so many bytes further on."""

    @generated(address, address, address, count, count, real, real)
    def row(
        emit: Emitter, x: Value, z: Value, y: Value, width: Value, z_pixel: Value, low: Value,
        high: Value,
    ) -> None:  # fmt: skip
        """Write a row of pixels of one block."""
        lower, upper = emit.splat(low), emit.splat(high)
        source, other, result = emit.bytes_at(x), emit.bytes_at(z), emit.bytes_at(y)
        with emit.loop(width) as over:
            at = emit.times(over.index, PIXEL)
            here, out = emit.move(source, at), emit.move(result, at)
            beside = emit.move(other, emit.builder.mul(over.index, z_pixel))
            for part in range(0, PIXEL, emit.bytes):

                def read(further: int = 0, part: int = part, beside: Value = beside) -> Value:
                    if splat:
                        return emit.splat(emit.load(beside, further, FLOAT))
                    return emit.load(beside, further + part)

                value = formula(emit, emit.load(here, part), read)
                emit.store(emit.clamp(value, lower, upper), out, part)

    return row


def _plus(emit: Emitter, x: Value, z: Callable[..., Value]) -> Value:
    return emit.plus(x, z())


def _times(emit: Emitter, x: Value, z: Callable[..., Value]) -> Value:
    return emit.product(x, z())


_identity = _write_row(lambda emit, x, z: x)
_sum, _sum_of_one = _write_row(_plus), _write_row(_plus, splat=True)
_product, _product_of_one = _write_row(_times), _write_row(_times, splat=True)
_scaled = _write_row(lambda emit, x, z: emit.fma(x, z(), z(PIXEL)))
_masked = _write_row(
    lambda emit, x, z: emit.product(x, emit.builder.fdiv(emit.constant(0.5), z())), splat=True
)


def run_elementwise(layers: NDArray[Any], index: int, first: int, last: int) -> None:
    """Compute planes ``first .. last - 1`` of an `ELEMENTWISE`: of every frame, each block."""
    layer = layers[index]
    low, high, width = layer.low, layer.high, layer.width
    for plane in range(first, last):
        frame, block = plane // layer.blocks, plane % layer.blocks
        x = layer.x + frame % layer.x_slots * layer.x_frame + block * layer.x_block
        z = layer.z + frame % layer.z_slots * layer.z_frame + block * layer.z_block
        y = layer.y + frame % layer.y_slots * layer.y_frame + block * layer.y_block
        if layer.moves != 0:
            x += integer_at(layer.moves + 8 * plane)
        for _ in range(layer.height):
            if layer.kind == IDENTITY:
                _identity(x, x, y, width, 0, low, high)
            elif layer.kind == SUM:
                if layer.splat:
                    _sum_of_one(x, z, y, width, layer.z_pixel, low, high)
                else:
                    _sum(x, z, y, width, layer.z_pixel, low, high)
            elif layer.kind == PRODUCT:
                if layer.splat:
                    _product_of_one(x, z, y, width, layer.z_pixel, low, high)
                else:
                    _product(x, z, y, width, layer.z_pixel, low, high)
            elif layer.kind == SCALED:
                _scaled(x, z, y, width, 0, low, high)
            else:
                _masked(x, z, y, width, layer.z_pixel, low, high)
            x, z, y = x + layer.x_row, z + layer.z_row, y + layer.y_row


run_elementwise = compiled()(run_elementwise)
