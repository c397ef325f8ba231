"""ONNX means, sums and products of matrices: pools, linear layers, consensus, non-local blocks."""

from math import prod

import numpy as np

from tsm_ref.checkpoint.finish import Step
from tsm_ref.checkpoint.onnx_in.budget import NotUnderstood
from tsm_ref.checkpoint.onnx_in.guard import OnnxNode
from tsm_ref.checkpoint.onnx_in.reading import Array, Reading, Scores, Value
from tsm_ref.checkpoint.onnx_in.scaling import scaled
from tsm_ref.checkpoint.onnx_in.values import Base, Finishing, Moved, View
from tsm_ref.checkpoint.views import Groups


def global_average_pool(reading: Reading, node: OnnxNode) -> list[Value]:
    """The mean over every axis behind the second."""
    view = reading.data(node, 0)
    return [_mean(reading, node, view, range(2, len(view.groups)), keep=True)]


def reduce_mean(reading: Reading, node: OnnxNode) -> list[Value]:
    """The mean over some axes; over the clips of one video, it is a step behind the network."""
    view, axes, keep = _reduction(reading, node)
    gone = [letter for axis in axes for letter in view.letters(axis)]
    if view.base.axes == "NC" and gone == ["N"] and len(axes) == 1:
        return [Finishing(view, (Step("Mean", axes[0], keep),))]
    return [_mean(reading, node, view, axes, keep)]


def reduce_sum(reading: Reading, node: OnnxNode) -> list[Value]:
    """The sum over some axes: their mean, times how many there are."""
    view, axes, keep = _reduction(reading, node)
    count = prod(view.shape[axis] for axis in axes)
    mean = _mean(reading, node, view, axes, keep, suffix=".mean")
    return [scaled(reading, node.outputs[0], mean, float(count))]


def global_max_pool(reading: Reading, node: OnnxNode) -> list[Value]:
    """The largest value over every axis behind the second."""
    view = reading.data(node, 0)
    return [_largest(reading, node, view, list(range(2, len(view.groups))), keep=True)]


def reduce_max(reading: Reading, node: OnnxNode) -> list[Value]:
    """The largest value over some axes."""
    return [_largest(reading, node, *_reduction(reading, node))]


def _largest(reading: Reading, node: OnnxNode, view: View, axes: list[int], keep: bool) -> View:
    """Over T, H or W: a pool as large as they are; over T of rows of features, a consensus."""
    base, size = view.base, view.base.size
    gone = {letter for axis in axes for letter in view.letters(axis)}
    if gone & {"N", "C"}:
        raise NotUnderstood(f"the node {node} takes the maximum over {', '.join(sorted(gone))}")
    if gone and base.axes == "NCTHW":
        kernel = tuple(size[letter] if letter in gone else 1 for letter in "THW")
        base = reading.emit("MaxPool", node.outputs[0], [base.name], kernel_shape=kernel)
    elif gone:
        base = reading.emit("Consensus", node.outputs[0], [base.name], "NC", over="max")
    return View(base, _kept(_left(view.groups, axes, keep), base))


def _left(groups: Groups, axes: "range | list[int]", keep: bool) -> Groups:
    """A layout behind a reduction over some axes of the file."""
    return tuple(
        () if axis in axes else group
        for axis, group in enumerate(groups)
        if keep or axis not in axes
    )


def _reduction(reading: Reading, node: OnnxNode) -> tuple[View, list[int], bool]:
    view = reading.data(node, 0)
    given = reading.constant(node, 1)
    axes = node.attrs.get("axes") if given is None else tuple(int(v) for v in given.reshape(-1))
    rank = len(view.groups)
    if not axes and node.attrs.get("noop_with_empty_axes"):
        axes = ()
    elif not axes:
        axes = tuple(range(rank))
    return view, sorted({axis % rank for axis in axes}), bool(node.attrs.get("keepdims", 1))


def _mean(
    reading: Reading,
    node: OnnxNode,
    view: View,
    axes: "range | list[int]",
    keep: bool,
    suffix: str = "",
) -> View:
    gone = {letter for axis in axes for letter in view.groups[axis]}
    wide = {letter for letter in gone if view.base.size[letter] > 1}
    groups = _left(view.groups, axes, keep)
    if not wide:
        return View(view.base, groups)
    source, factor = reading.scales.get(view.base.name, (view, 1.0))
    name = node.outputs[0] + suffix
    base = _averaged(reading, node, source.base, wide, gone, name if factor == 1 else f"{name}.of")
    result = View(base, _kept(groups, base))
    if prod(result.shape) != prod(base.shape):
        raise NotUnderstood(f"the node {node} averages over time, and leaves places beside it")
    return result if factor == 1 else scaled(reading, name, result, factor)


def _averaged(
    reading: Reading, node: OnnxNode, base: Base, wide: set[str], gone: set[str], name: str
) -> Base:
    """The mean over H and W, over one of them, over T, or over all three."""
    if wide & {"N", "C"}:
        raise NotUnderstood(f"the node {node} averages over {', '.join(sorted(wide))}")
    place = wide & {"H", "W"}
    if place:
        inner = name if "T" not in wide else f"{name}.frames"
        base = _over_place(reading, base, place, inner)
    if "T" in wide:
        if len(base.shape) == 5:
            base = flattened(reading, base, "CHW", f"{name}.flat")
        if base.axes != "NCT":
            raise NotUnderstood(f"the node {node} averages {base.axes} over time")
        frames = base
        base = reading.emit("Consensus", name, [base.name], "NC")
        reading.frames[base.name] = frames
    return base


def _over_place(reading: Reading, base: Base, place: set[str], name: str) -> Base:
    """Over H and W at once, also where two nodes do one each."""
    source = reading.means.get(base.name, base)
    size = base.size
    if all(letter in place or size[letter] == 1 for letter in "HW"):
        return reading.emit("GlobalAveragePool", name, [source.name])
    kernel = (1, *(size[letter] if letter in place else 1 for letter in "HW"))
    result = reading.emit("AveragePool", name, [base.name], kernel_shape=kernel)
    reading.means[result.name] = base
    return result


def _kept(groups: Groups, base: Base) -> Groups:
    """A layout without the letters that a value does not have."""
    return tuple(tuple(letter for letter in group if letter in base.axes) for group in groups)


def flattened(reading: Reading, base: Base, order: str, name: str) -> Base:
    """(N, C, T, H, W) as (N, C*H*W, T), in one of two orders."""
    return reading.emit(
        "Flatten", name, [base.name], **({} if order == "CHW" else {"order": order})
    )


def gemm(reading: Reading, node: OnnxNode) -> list[Value]:
    """``alpha x W + beta b`` with the factors folded into the constants."""
    weight, bias = reading.constant(node, 1), reading.constant(node, 2)
    if weight is None or node.attrs.get("transA"):
        raise NotUnderstood(f"the node {node} has no constant weight, or transposes its data")
    weight = weight if node.attrs.get("transB") else weight.T
    alpha, beta = node.attrs.get("alpha", 1.0), node.attrs.get("beta", 1.0)
    weight = weight if alpha == 1 else weight * np.float32(alpha)
    if bias is not None:
        bias = np.broadcast_to(bias if beta == 1 else bias * np.float32(beta), (1, weight.shape[0]))
        bias = bias.reshape(-1)
    return [_linear(reading, node, weight, bias)]


def matmul(reading: Reading, node: OnnxNode) -> list[Value]:
    """A linear layer, or one of the two products of a non-local block."""
    a, b = (reading.values[name] for name in node.inputs)
    if isinstance(a, Scores):
        return [_attend(reading, node, a)]
    if isinstance(b, np.ndarray):
        if b.ndim != 2:
            raise NotUnderstood(f"the node {node} multiplies with a weight of {b.ndim} axes")
        return [_linear(reading, node, b.T, None)]
    if isinstance(a, np.ndarray):
        raise NotUnderstood(f"the node {node} multiplies a constant with data")
    theta, phi = reading.data(node, 0), reading.data(node, 1)
    if _wide(theta) != ["N", "T*H*W", "C"] or _wide(phi) != ["N", "C", "T*H*W"]:
        raise NotUnderstood(f"the node {node} multiplies data with data, but not as attention does")
    return [Scores(theta.base, phi.base)]


def _wide(view: View) -> list[str]:
    """The layout on paper, the axes of size 1 among the places included."""
    shown = []
    for axis, group in enumerate(view.groups):
        letters = view.letters(axis)
        places = bool(set(letters) & set("THW")) and not set(letters) & set("NC")
        in_order = list(letters) == [v for v in "THW" if v in letters]
        shown.append("T*H*W" if places and in_order else "*".join(letters or group))
    return shown


def _attend(reading: Reading, node: OnnxNode, scores: Scores) -> View:
    """Attention times values: the end of a non-local block."""
    g = reading.data(node, 1)
    if _wide(g) != ["N", "T*H*W", "C"] or not scores.mode:
        raise NotUnderstood(f"the node {node} is no attention over places")
    inputs = [scores.theta.name, scores.phi.name, g.base.name]
    base = reading.emit("NonLocal", node.outputs[0], inputs, mode=scores.mode)
    return View(base, (("N",), ("T", "H", "W"), ("C",)))


def _linear(reading: Reading, node: OnnxNode, weight: Array, bias: Array | None) -> View:
    view = _frame_tuple(reading, node) or reading.data(node, 0)
    source, factor = reading.scales.get(view.base.name, (view, 1.0))
    if view.base.axes == "NC" and source.base.name in reading.frames:
        weight = weight if factor == 1 else weight * np.float32(factor)
        return _linear_before_consensus(reading, node, View(source.base, view.groups), weight, bias)
    if len(view.base.shape) == 5 and view.letters(len(view.groups) - 1) == ("C",):
        outer = {v for axis in range(len(view.groups) - 1) for v in view.letters(axis)}
        if outer & {"H", "W"}:
            return _pointwise(reading, node, view, weight, bias)
    frames = _frames(reading, node, view)
    inputs = _tensors(reading, node, frames.base.name, weight, bias)
    return View(reading.emit("Linear", node.outputs[0], inputs, "NCT"), frames.groups)


def _frame_tuple(reading: Reading, node: OnnxNode) -> View | None:
    """Features of several frames of each clip, one frame's behind the other's, as TRN reads them.

    None where the operand is anything else.
    """
    value = reading.values.get(node.inputs[0])
    if not isinstance(value, View | Moved) or len(value.shape) != 2 or not prod(value.shape):
        return None
    if isinstance(value, View) and value.letters(1) != ("T", "C"):
        return None
    codes = value.codes() if isinstance(value, View) else value.codes
    base = reading.owner(int(codes.max()))
    clips, channels = base.shape[:2]
    if base.axes != "NCT" or codes.shape[0] != clips or codes.shape[1] % channels:
        return None
    frames = codes[0, ::channels] - base.start
    if len(frames) < 2 or frames.min() < 0 or frames.max() >= base.size["T"]:
        return None
    if not np.array_equal(codes, base.codes()[:, :, frames].swapaxes(1, 2).reshape(codes.shape)):
        return None
    chosen = tuple(int(frame) for frame in frames)
    made = reading.emit("FrameTuple", f"{node.inputs[0]}.frames", [base.name], frames=chosen)
    return View(made, (("N",), ("C",)))


def _tensors(
    reading: Reading, node: OnnxNode, x: str, weight: Array, bias: Array | None
) -> list[str]:
    names = [x, reading.parameter(node.inputs[1], weight)]
    return names if bias is None else [*names, reading.parameter(node.inputs[2], bias)]


def _frames(reading: Reading, node: OnnxNode, view: View) -> View:
    """A value with one row of features per frame, (N, C, T)."""
    last = view.letters(len(view.groups) - 1)
    if view.base.axes == "NCT":
        if last not in (("C",), ()):
            raise NotUnderstood(f"the node {node} is linear along {'*'.join(last)}, not C")
        return view
    wide = [letter for letter in "CHW" if view.base.size.get(letter, 1) > 1]
    orders = {tuple(v for v in order if v in wide): order for order in ("HWC", "CHW")}
    if view.base.axes != "NCTHW" or last not in orders:
        raise NotUnderstood(f"the node {node} is linear along {'*'.join(last)}, not C, H, W")
    key = (view.base.name, orders[last])
    if key not in reading.flat:
        reading.flat[key] = flattened(reading, view.base, orders[last], node.inputs[0])
    base = reading.flat[key]
    outer = tuple(tuple(v for v in group if v in "NT") for group in view.groups[:-1])
    return View(base, (*outer, ("C",)))


def _pointwise(
    reading: Reading, node: OnnxNode, view: View, weight: Array, bias: Array | None
) -> View:
    """A linear layer at every place is a 1x1 convolution."""
    kernel = weight.reshape(*weight.shape, 1, 1, 1)
    inputs = _tensors(reading, node, view.base.name, kernel, bias)
    return View(reading.emit("Conv", node.outputs[0], inputs), view.groups)


def _linear_before_consensus(
    reading: Reading, node: OnnxNode, view: View, weight: Array, bias: Array | None
) -> View:
    """A linear layer of a mean is the mean of the linear layer: the logits per frame exist too.

    The same holds for the last frame instead of the mean.
    """
    inputs = _tensors(reading, node, reading.frames[view.base.name].name, weight, bias)
    rows = reading.emit("Linear", f"{node.outputs[0]}.frames", inputs, "NCT")
    made = next(n for n in reversed(reading.nodes) if n.name == view.base.name)
    base = reading.emit("Consensus", node.outputs[0], [rows.name], "NC", **made.attrs)
    reading.frames[base.name] = rows
    return View(base, view.groups)
