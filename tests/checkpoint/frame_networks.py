"""Networks of others in plain NumPy, frame by frame, from the facts that they published.

Nothing of ours is used here. A clip is (T, C, H, W), as PyTorch and Paddle keep one; tensors come
under the names of their files.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Array = Any
Tensors = Mapping[str, Array]
Shapes = dict[str, tuple[int, ...]]
Layer = Callable[..., Array]


def drawn(shapes: Shapes, seed: int = 0) -> dict[str, Array]:
    """Random float32 tensors of a sane size; variances are not among them."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(0, 0.3 if len(shape) == 1 else np.prod(shape[1:]) ** -0.5, shape).astype(
            np.float32
        )
        for name, shape in shapes.items()
    }


# Layers


def convolved(x: Array, weight: Array, stride: int = 1, groups: int = 1) -> Array:
    """A 2-D convolution, padded so that stride 1 keeps the size."""
    k = weight.shape[-1]
    pad = (k - 1) // 2
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), (2, 3))
    windows = windows[:, :, ::stride, ::stride]
    if groups == 1:
        return np.einsum("tchwij,ocij->tohw", windows, weight, optimize=True)
    return np.einsum("tchwij,cij->tchw", windows, weight[:, 0])


def normalised(x: Array, scale: Array, bias: Array, mean: Array, variance: Array) -> Array:
    def each(values: Array) -> Array:
        return np.float64(values)[:, None, None]

    return (x - each(mean)) / np.sqrt(each(variance) + 1e-5) * each(scale) + each(bias)


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def leaky_relu(x: Array) -> Array:
    return np.where(x < 0, 0.01 * x, x)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def max_pooled(x: Array) -> Array:
    """3x3, stride 2, padding 1."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    return windows[:, :, ::2, ::2].max((4, 5))


def halved(x: Array) -> Array:
    """The mean of 2x2 pixels; of fewer at the end of an odd side."""
    height, width = x.shape[2:]
    rows = [
        [x[:, :, i : i + 2, j : j + 2].mean((2, 3)) for j in range(0, width, 2)]
        for i in range(0, height, 2)
    ]
    return np.moveaxis(np.array(rows), (0, 1), (2, 3))


def every_second_frame(x: Array) -> Array:
    """The maximum of frames 2t - 1, 2t and 2t + 1, where they exist."""
    return np.array([x[max(0, t - 1) : t + 2].max(0) for t in range(0, len(x), 2)])


def paddle_shift(x: Array, ratio: float) -> Array:
    """The first fold reads the past and the second the future."""
    channels = x.shape[1]
    first, second = int(channels * ratio), int(2 * channels * ratio)
    y = x.copy()
    y[1:, :first], y[0, :first] = x[:-1, :first], 0
    y[:-1, first:second], y[-1, first:second] = x[1:, first:second], 0
    return y


def mit_shift(x: Array, divisor: int) -> Array:
    """The first fold reads the future and the second the past."""
    fold = x.shape[1] // divisor
    y = x.copy()
    y[:-1, :fold], y[-1, :fold] = x[1:, :fold], 0
    y[1:, fold : 2 * fold], y[0, fold : 2 * fold] = x[:-1, fold : 2 * fold], 0
    return y


# Residual networks

STRIDES = (1, 2, 2, 2)


def residual_network(
    x: Array,
    layer: Layer,
    blocks: Sequence[int],
    *,
    stem: int = 1,
    bottleneck: bool = True,
    vd: bool = False,
    shift: Callable[[Array], Array],
    in_place: bool = False,
    activate: Callable[[Array], Array] = relu,
    pooled: bool = False,
    project: bool = False,
) -> Array:
    """The features (T, C) of a clip; ``layer(x, name, stride)`` is a convolution and its norm.

    Its names are ``stem0``, ..., and ``(stage, block, i)``, where `i` is -1 for the shortcut.
    ``project`` gives every stage one, strided, though its shape may be that of what it skips.
    """
    for i in range(stem):
        x = activate(layer(x, f"stem{i}", 2 if i == 0 else 1))
    x = max_pooled(x)
    for stage, count in enumerate(blocks):
        if pooled and stage == 1:
            x = every_second_frame(x)
        for block in range(count):
            stride = STRIDES[stage] if block == 0 else 1
            y = shift(x)
            x = y if in_place else x
            strides = (1, stride, 1) if bottleneck else (stride, 1)
            for i, step in enumerate(strides):
                y = layer(y, (stage, block, i), step)
                y = activate(y) if i < len(strides) - 1 else y
            if block == 0 and (bottleneck or stage or project):
                if vd and stride == 2 and not project:
                    x = layer(halved(x), (stage, block, -1), 1)
                else:
                    x = layer(x, (stage, block, -1), stride)
            x = activate(y + x)
    return x.mean((2, 3))


def residual_shapes(
    blocks: Sequence[int],
    width: int,
    *,
    stem: Sequence[tuple[int, int, int]],
    bottleneck: bool,
    project: bool = False,
) -> dict[Any, tuple[int, ...]]:
    """The weights of the convolutions of such a network, by the names that ``layer`` is given."""
    found: dict[Any, tuple[int, ...]] = {
        f"stem{i}": (new, old, k, k) for i, (new, old, k) in enumerate(stem)
    }
    last = width
    for stage, count in enumerate(blocks):
        planes = width * 2**stage
        wide = planes * (4 if bottleneck else 1)
        for block in range(count):
            if bottleneck:
                sizes = [(planes, last, 1), (planes, planes, 3), (wide, planes, 1)]
            else:
                sizes = [(planes, last, 3), (wide, planes, 3)]
            for i, (new, old, k) in enumerate(sizes):
                found[stage, block, i] = (new, old, k, k)
            if block == 0 and (bottleneck or stage or project):
                found[stage, block, -1] = (wide, last, 1, 1)
            last = wide
    return found


# PP-LCNetV2, as PP-TSMv2 has it

LCNET = ((64, 3), (128, 3), (256, 5), (512, 5))
"""Half of the channels of each stage, and its depthwise window."""


def lcnet_shapes(
    depths: Sequence[int] = (2, 2, 6, 2),
    *,
    scale: float = 1.0,
    hidden: int = 1280,
    classes: int = 400,
    attention: int = 0,
) -> Shapes:
    """The tensors of a file of PP-TSMv2; `scale` must make multiples of 8."""
    found: Shapes = {}

    def layer(name: str, new: int, old: int, k: int) -> None:
        found[f"backbone.{name}.conv.weight"] = (new, old, k, k)
        for role in ("weight", "bias", "_mean", "_variance"):
            found[f"backbone.{name}.bn.{role}"] = (new,)

    first = int(32 * scale)
    layer("stem.0", first, 3, 3)
    layer("stem.1.dw_conv", first, 1, 3)
    layer("stem.1.pw_conv", 2 * first, first, 1)
    last = 2 * first
    for stage, (half, kernel) in enumerate(LCNET):
        wide = int(2 * half * scale)
        for i in range(depths[stage]):
            name = f"stages.{stage}.{i}"
            if stage < 2:
                layer(f"{name}.dw_conv", last, 1, kernel)
            else:
                for j, k in enumerate((5, 3) if i == 0 else (5, 3, 1)):
                    layer(f"{name}.dw_conv_list.{j}", last, 1, k)
                found[f"backbone.{name}.dw_conv.weight"] = (last, 1, 5, 5)
                found[f"backbone.{name}.dw_conv.bias"] = (last,)
            if stage == 2:
                for j, (new, old) in enumerate(((last // 4, last), (last, last // 4)), start=1):
                    found[f"backbone.{name}.se.conv{j}.weight"] = (new, old, 1, 1)
                    found[f"backbone.{name}.se.conv{j}.bias"] = (new,)
                layer(f"{name}.pw_conv_1", wide // 2, last, 1)
                layer(f"{name}.pw_conv_2", wide, wide // 2, 1)
            else:
                layer(f"{name}.pw_conv", wide, last, 1)
            last = wide
    found["backbone.last_conv.weight"] = (hidden, last, 1, 1)
    found["backbone.fc.weight"], found["backbone.fc.bias"] = (hidden, classes), (classes,)
    if attention:
        found["backbone.global_attention.fc.weight"] = (attention, attention)
        found["backbone.global_attention.fc.bias"] = (attention,)
    return found


def lcnet(x: Array, p: Tensors, depths: Sequence[int], ratio: float) -> Array:
    """The logits of a clip (T, 3, H, W)."""

    def layer(x: Array, name: str, stride: int = 1, groups: int = 1) -> Array:
        y = convolved(x, np.float64(p[f"backbone.{name}.conv.weight"]), stride, groups)
        roles = ("weight", "bias", "_mean", "_variance")
        return normalised(y, *(p[f"backbone.{name}.bn.{role}"] for role in roles))

    def dense(x: Array, name: str) -> Array:
        weight, bias = (np.float64(p[f"backbone.{name}.{role}"]) for role in ("weight", "bias"))
        return x @ (weight[:, :, 0, 0].T if weight.ndim == 4 else weight) + bias

    def separable(x: Array, name: str, stride: int, stage: int) -> Array:
        channels = x.shape[1]
        if stage < 2:
            y = layer(x, f"{name}.dw_conv", stride, channels)
        else:
            branches = range(3 if stride == 1 else 2)
            y = sum(layer(x, f"{name}.dw_conv_list.{j}", stride, channels) for j in branches)
        y = relu(y)
        if stage == 2:
            gate = dense(relu(dense(y.mean((2, 3)), f"{name}.se.conv1")), f"{name}.se.conv2")
            y = y * sigmoid(gate)[:, :, None, None]
            return relu(layer(relu(layer(y, f"{name}.pw_conv_1")), f"{name}.pw_conv_2"))
        y = relu(layer(y, f"{name}.pw_conv"))
        return y + x if stage == 3 and stride == 1 else y

    x = relu(layer(x, "stem.0", 2))
    x = separable(x, "stem.1", 1, -1)
    for stage, depth in enumerate(depths):
        if stage == 2:
            if "backbone.global_attention.fc.weight" in p:
                gate = sigmoid(dense(x.mean((1, 2, 3)), "global_attention.fc"))
                x = x * gate[:, None, None, None]
            x = paddle_shift(x, ratio)
        for i in range(depth):
            x = separable(x, f"stages.{stage}.{i}", 2 if i == 0 else 1, stage)
    features = relu(x.mean((2, 3)) @ np.float64(p["backbone.last_conv.weight"])[:, :, 0, 0].T)
    return dense(0.8 * features.mean(0), "fc")
