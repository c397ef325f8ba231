"""The shift along height and width, in ONNX: a frame made larger, and every fold cut out of it."""

from itertools import groupby

import numpy as np

from tsm_ref.checkpoint.onnx_out.in_time import within
from tsm_ref.checkpoint.onnx_out.writer import Writer
from tsm_ref.graph import Node, ValueType

LAST = 2**31 - 1


def spatial_shift(writer: Writer, node: Node, kind: ValueType) -> None:
    """Lengthen every frame on its four sides by what the fill says, and cut every fold out late.

    Frames are (N*T, C, H, W); a fold that is shifted by (dh, dw) starts so much earlier.
    """
    (x,) = node.inputs
    fill, (height, width) = node.attr("fill"), writer.shapes[x][3:]
    dh = [within(v, height, fill) for v in node.attrs["dh"]]
    dw = [within(v, width, fill) for v in node.attrs["dw"]]
    reach = max(map(abs, dh)), max(map(abs, dw))
    larger = _enlarged(writer, node, kind, (height, width), reach)
    parts, start = [], 0
    for (down, right), run in groupby(zip(dh, dw, strict=True)):
        stop = start + len(list(run))
        top, left = reach[0] - down, reach[1] - right
        ends = writer.ints(stop, top + height, left + width)
        box = [writer.ints(start, top, left), ends, writer.ints(1, 2, 3)]
        parts.append(writer.step("Slice", [larger, *box], node.name))
        start = stop
    writer.rows[node.name] = writer.node("Concat", parts, writer.row_name(node.name), axis=1)


def _enlarged(
    writer: Writer, node: Node, kind: ValueType, sizes: tuple[int, int], reach: tuple[int, int]
) -> str:
    rows, fill = writer.rows[node.inputs[0]], node.attr("fill")
    if not any(reach):
        return rows
    if fill != "circular":
        pads = writer.ints(0, 0, *reach, 0, 0, *reach)
        inputs = [rows, pads]
        if kind.quantised and fill == "zero":
            zero = np.array(kind.zero_point, kind.dtype)
            inputs.append(writer.tensor(f"{kind.dtype} {zero}", zero))
        mode = "constant" if fill == "zero" else "edge"
        return writer.step("Pad", inputs, node.name, mode=mode)
    for axis, size, by in zip((2, 3), sizes, reach, strict=True):
        if by:
            along = writer.ints(axis)
            tail = [rows, writer.ints(size - by), writer.ints(LAST), along]
            head = [rows, writer.ints(0), writer.ints(by), along]
            ends = [writer.step("Slice", part, node.name) for part in (tail, head)]
            rows = writer.step("Concat", [ends[0], rows, ends[1]], node.name, axis=axis)
    return rows
