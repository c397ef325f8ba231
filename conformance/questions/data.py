"""The data that cases are made of: coded clips, exact integers, impulses, and seeded weights.

Sizes are never equal by accident (N = T = C), kernels never symmetric, clips never constant in
time: all of these hide defects.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from conformance.questions.arrays import Array


def coded(shape: Sequence[int], dtype: str = "float32") -> Array:
    """A clip whose every value names its own place: 1, 2, 3, ... (0 stands for "filled in").

    >>> coded((1, 2, 1, 1, 1)).ravel()
    array([1., 2.], dtype=float32)
    """
    return np.arange(1, int(np.prod(shape)) + 1).reshape(shape).astype(dtype)


def small_integers(rng: np.random.Generator, shape: Sequence[int], limit: int = 8) -> Array:
    """Dense integers from -limit to limit, as float32."""
    return rng.integers(-limit, limit + 1, tuple(shape)).astype(np.float32)


def sparse_12_bit(rng: np.random.Generator, shape: Sequence[int], share: float = 0.06) -> Array:
    """Mostly zeros, and odd integers of 12 bits, which TF32 and bfloat16 cannot hold."""
    values = rng.integers(1024, 2048, tuple(shape)) * 2 + 1
    keep = rng.random(tuple(shape)) < share
    signed = values * rng.choice([-1, 1], tuple(shape)) * keep
    return np.asarray(signed, np.float32)


def normal(rng: np.random.Generator, shape: Sequence[int], scale: float = 1.0) -> Array:
    """Normal numbers as float32."""
    return (rng.standard_normal(tuple(shape)) * scale).astype(np.float32)


def one_hot_taps(kernel: Sequence[int]) -> Array:
    """One output channel per tap of a kernel, which reads that tap alone: (taps, 1, *kernel)."""
    taps = int(np.prod(kernel))
    return np.eye(taps, dtype=np.float32).reshape(taps, 1, *kernel)


def specials(rng: np.random.Generator, shape: Sequence[int]) -> Array:
    """float32 bit patterns that arithmetic would change: NaN payloads, -0, Inf, subnormals."""
    patterns = np.array(
        [0x7FC01234, 0xFFC00001, 0x7F812345, 0x80000000, 0x7F800000, 0xFF800000, 1, 0x807FFFFF],
        np.uint32,
    )
    return rng.choice(patterns, tuple(shape)).view(np.float32)


def draw_weights(rng: np.random.Generator, shapes: Mapping[str, Sequence[int]]) -> dict[str, Array]:
    """Seeded weights of these shapes, with batch-norm statistics that keep the signal near 1."""
    return {name: _draw(rng, name, tuple(shape)) for name, shape in shapes.items()}


def _draw(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> Array:
    if len(shape) > 1:
        # Of large scores a softmax takes one alone, and magnifies every rounding.
        gain = 0.05 if any(part in name for part in (".theta.", ".phi.")) else 2
        return normal(rng, shape, (gain / float(np.prod(shape[1:]))) ** 0.5)
    if name.endswith("running_var"):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    ends_branch = any(part in f".{name}" for part in (".bn3.", ".bn2.", "downsample.1."))
    if name.endswith("weight"):
        low, high = (0.4, 0.7) if ends_branch else (0.7, 1.3)
        return rng.uniform(low, high, shape).astype(np.float32)
    # The ReLU behind a branch would leave half of the outputs zero, and zeros prove little.
    return normal(rng, shape, 0.2) + np.float32(0.3 if ends_branch else 0)


def batch_norm_shapes(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    """The four vectors of one batch norm."""
    roles = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{role}": (channels,) for role in roles}


def block_shapes(
    kind: str, channels: int, planes: int, stride: int, prefix: str = ""
) -> dict[str, tuple[int, ...]]:
    """The weights of one residual block; `planes` is the width inside (outputs, if inverted)."""
    if kind == "inverted_residual":
        return inverted_shapes(prefix, channels, planes, expansion=3)
    if kind == "bottleneck":
        layers, outputs = [(planes, channels, 1), (planes, planes, 3)], 4 * planes
        layers.append((outputs, planes, 1))
    else:
        layers, outputs = [(planes, channels, 3), (planes, planes, 3)], planes
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (out, into, k) in enumerate(layers, start=1):
        shapes[f"{prefix}conv{i}.weight"] = (out, into, k, k)
        shapes |= batch_norm_shapes(f"{prefix}bn{i}", out)
    if stride != 1 or channels != outputs:
        shapes[f"{prefix}downsample.0.weight"] = (outputs, channels, 1, 1)
        shapes |= batch_norm_shapes(f"{prefix}downsample.1", outputs)
    return shapes


def inverted_shapes(
    prefix: str, channels: int, outputs: int, expansion: int
) -> dict[str, tuple[int, ...]]:
    """The weights of one inverted residual, numbered as the layers of one sequence."""
    hidden = channels * expansion
    layers = [(hidden, channels, 1)] if expansion > 1 else []
    layers += [(hidden, 1, 3), (outputs, hidden, 1)]
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (out, into, k) in enumerate(layers):
        shapes[f"{prefix}conv.{3 * i}.weight"] = (out, into, k, k)
        shapes |= batch_norm_shapes(f"{prefix}conv.{3 * i + 1}", out)
    return shapes


def resnet_shapes(
    block: str, blocks: Sequence[int], width: int, classes: int, stem_kernel: int
) -> dict[str, tuple[int, ...]]:
    """The weights of a residual network; stage i has ``width * 2**i`` planes."""
    shapes: dict[str, tuple[int, ...]] = {
        "conv1.weight": (width, 3, stem_kernel, stem_kernel),
        **batch_norm_shapes("bn1", width),
    }
    channels = width
    for stage, count in enumerate(blocks):
        planes = width * 2**stage
        for i in range(count):
            stride = 2 if i == 0 and stage else 1
            shapes |= block_shapes(block, channels, planes, stride, f"layer{stage + 1}.{i}.")
            channels = planes * (4 if block == "bottleneck" else 1)
    return shapes | {"fc.weight": (classes, channels), "fc.bias": (classes,)}


def mobilenet_shapes(
    first: int, blocks: Sequence[tuple[int, int, int]], last: int, classes: int
) -> dict[str, tuple[int, ...]]:
    """The weights of a MobileNetV2; a block is (expansion, output channels, stride)."""
    shapes: dict[str, tuple[int, ...]] = {
        "features.0.0.weight": (first, 3, 3, 3),
        **batch_norm_shapes("features.0.1", first),
    }
    channels = first
    for i, (expansion, outputs, _) in enumerate(blocks, start=1):
        shapes |= inverted_shapes(f"features.{i}.", channels, outputs, expansion)
        channels = outputs
    end = f"features.{len(blocks) + 1}"
    shapes[f"{end}.0.weight"] = (last, channels, 1, 1)
    shapes |= batch_norm_shapes(f"{end}.1", last)
    return shapes | {"classifier.weight": (classes, last), "classifier.bias": (classes,)}


def ts_can_shapes(filters: tuple[int, int], hidden: int) -> dict[str, tuple[int, ...]]:
    """The weights of a TS-CAN for pictures of 36x36."""
    shapes: dict[str, tuple[int, ...]] = {}
    for branch in ("motion", "appearance"):
        channels = 3
        for i, width in enumerate((filters[0], filters[0], filters[1], filters[1]), start=1):
            shapes[f"{branch}_conv{i}.weight"] = (width, channels, 3, 3)
            shapes[f"{branch}_conv{i}.bias"] = (width,)
            channels = width
    for stage, width in enumerate(filters, start=1):
        shapes[f"attention{stage}.weight"] = (1, width, 1, 1)
        shapes[f"attention{stage}.bias"] = (1,)
    flat = filters[1] * 7 * 7
    shapes |= {"dense1.weight": (hidden, flat), "dense1.bias": (hidden,)}
    return shapes | {"dense2.weight": (1, hidden), "dense2.bias": (1,)}
