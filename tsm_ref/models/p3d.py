"""P3D (Qiu, Yao, Mei 2017): bottlenecks whose 3x3x3 are a 1x3x3 and a 3x1x1, in three orders."""

from collections.abc import Sequence

from tsm_ref.graph import Graph
from tsm_ref.models.builder import Builder

P3DS = {
    "p3d-63": (3, 4, 6, 3),
    "p3d-131": (3, 4, 23, 3),
    "p3d-199": (3, 8, 36, 3),
}
"""Blocks per stage of ResNet-50, -101 and -152, by the layers that there are with those in time."""

ORDERS = "ABC"
"""How the blocks combine S (1x3x3) and T (3x1x1), in turn: T(S(x)), S(x) + T(x), S(x) + T(S(x))."""


def build_p3d(
    blocks: Sequence[int] = P3DS["p3d-63"],
    *,
    num_classes: int,
    width: int = 64,
    orders: str = ORDERS,
    name: str = "p3d-63",
) -> Graph:
    """P3D ResNet over ``x`` (N, 3, T, H, W) with logits (N, num_classes); T of 16 or more.

    The pool behind the stem and one in front of every later stage halve the frames; the last stage
    is two-dimensional, and where more than 16 frames leave it several, their logits are averaged.
    ``orders`` are those of the blocks, "A" for the network of that one alone.

    Sources: the paper's section 3 and figure 3. Strides, pools and ReLUs are those of its authors'
    network definition, in which T has a ReLU of its own in order A alone; that definition of 199
    layers has the 66,492,240 parameters that there are here.

    >>> build_p3d(num_classes=400).parameter_count
    25745232
    """
    if not orders or set(orders) - set(ORDERS):
        raise ValueError(f"`orders` (={orders!r}) must be made of {', '.join(ORDERS)}")
    b = Builder(name)
    x = b.input("x", ("N", 3, "T", "H", "W"))
    x = _norm_relu(b, b.conv(x, "conv1", width, kernel=7, stride=2, padding=3), "bn1", "relu1")
    stem = {"kernel_shape": (2, 3, 3), "strides": (2, 2, 2), "ceil_mode": True}
    x = b.node("MaxPool", "pool1", [x], width, **stem)
    turn = 0
    for stage, count in enumerate(blocks):
        if stage:
            halves = {"kernel_shape": (2, 1, 1), "strides": (2, 1, 1), "ceil_mode": True}
            x = b.node("MaxPool", f"pool{stage + 1}", [x], b.channels(x), **halves)
        for i in range(count):
            order = orders[turn % len(orders)] if stage < 3 else ""
            stride = 2 if stage and i == 0 else 1
            x = _bottleneck(b, x, f"layer{stage + 1}.{i}", width * 2**stage, stride, order)
            turn += 1
    return b.graph([b.head(x, "fc", num_classes)])


def _norm_relu(b: Builder, x: str, norm: str, relu: str) -> str:
    return b.relu(b.batch_norm(x, norm), relu)


def _bottleneck(b: Builder, x: str, name: str, planes: int, stride: int, order: str) -> str:
    """1x1 with the stride, S and T in their order (S alone without one), 1x1, and the skip path."""
    y = b.conv(x, f"{name}.conv1", planes, kernel=1, stride=stride)
    y = _norm_relu(b, y, f"{name}.bn1", f"{name}.relu1")
    y = _pseudo_3d(b, y, name, order)
    y = b.batch_norm(b.conv(y, f"{name}.conv4", 4 * planes, kernel=1), f"{name}.bn4")
    if stride != 1 or b.channels(x) != 4 * planes:
        x = b.conv(x, f"{name}.downsample.0", 4 * planes, kernel=1, stride=stride)
        x = b.batch_norm(x, f"{name}.downsample.1")
    return b.relu(b.add(y, x, f"{name}.add"), f"{name}.relu")


def _pseudo_3d(b: Builder, x: str, name: str, order: str) -> str:
    planes = b.channels(x)
    s = b.conv(x, f"{name}.conv2", planes, kernel=3, padding=1)
    s = _norm_relu(b, s, f"{name}.bn2", f"{name}.relu2")
    if not order:
        return s
    t = b.conv(x if order == "B" else s, f"{name}.conv3", planes, kernel=1, frames=3)
    t = b.batch_norm(t, f"{name}.bn3")
    y = t if order == "A" else b.add(s, t, f"{name}.add3")
    return b.relu(y, f"{name}.relu3")
