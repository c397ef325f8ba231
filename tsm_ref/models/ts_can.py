"""TS-CAN, MTTS-CAN (Liu et al. 2020, section 3), EfficientPhys: pulse from a face video.

Two branches of four 3x3 convolutions each. The motion branch reads normalised frame differences and
is shifted in time before every convolution; the appearance branch reads normalised frames and gates
the motion branch twice through an attention mask.
"""

from collections.abc import Sequence

from tsm_ref.graph import Graph
from tsm_ref.models.builder import Builder
from tsm_ref.profile import ShiftRule

FRAME_SIZE = 36


def build_ts_can(
    *,
    heads: Sequence[str] = ("pulse",),
    shift: ShiftRule | None = None,
    filters: tuple[int, int] = (32, 64),
    hidden: int = 128,
    size: int = FRAME_SIZE,
    order: str = "HWC",
    name: str = "ts-can",
) -> Graph:
    """TS-CAN; with two heads it is MTTS-CAN.

    Inputs: ``motion`` (N, 3, T, 36, 36) and ``appearance`` (N, 3, 1 or T, 36, 36), or of another
    ``size``. One output (N, T) per head, named after the head. ``order`` is that of the axes in the
    features of the dense layers: Keras has the channels last, PyTorch first ("CHW").

    >>> build_ts_can().parameter_count
    532899
    """
    rule = shift or ShiftRule("mtts_can", 3, "zero", segment=20)
    b = Builder(name)
    motion = b.input("motion", ("N", 3, "T", size, size))
    appearance = b.input("appearance", ("N", 3, "A", size, size))
    for stage, channels in enumerate(filters):
        first = 2 * stage + 1
        for i, padding in ((first, 1), (first + 1, 0)):
            motion = b.shift(motion, f"motion_shift{i}", rule)
            motion = _conv_tanh(b, motion, f"motion_conv{i}", channels, padding)
            appearance = _conv_tanh(b, appearance, f"appearance_conv{i}", channels, padding)
        motion = _gated(b, motion, appearance, stage + 1)
        motion = _halve(b, motion, f"motion_pool{stage + 1}")
        if stage + 1 < len(filters):
            appearance = _halve(b, appearance, f"appearance_pool{stage + 1}")
    features = filters[-1] * dense_side(size, len(filters)) ** 2
    x = b.node("Flatten", "flatten", [motion], features, order=order)
    return b.graph(
        [b.frame_head(x, head, hidden=hidden, plain=not i) for i, head in enumerate(heads)]
    )


def build_efficient_phys(
    *,
    shift: ShiftRule | None = None,
    filters: tuple[int, int] = (32, 64),
    hidden: int = 128,
    size: int = FRAME_SIZE,
    name: str = "efficient-phys",
) -> Graph:
    """EfficientPhys, the convolutional one (Liu et al. 2023, section 3.1): one branch, own masks.

    Input: ``motion`` (N, 3, T, size, size), the differences of T + 1 frames, each of which minus
    the one before; the published code takes them itself. Output: ``pulse`` (N, T).

    >>> build_efficient_phys(size=72).inputs[0].shape
    ('N', 3, 'T', 72, 72)
    """
    rule = shift or ShiftRule("mtts_can", 3, "zero", segment=20)
    b = Builder(name)
    x = b.batch_norm(b.input("motion", ("N", 3, "T", size, size)), "batch_norm")
    for stage, channels in enumerate(filters):
        first = 2 * stage + 1
        for i, padding in ((first, 1), (first + 1, 0)):
            x = b.shift(x, f"motion_shift{i}", rule)
            x = _conv_tanh(b, x, f"motion_conv{i}", channels, padding)
        x = _halve(b, _gated(b, x, x, stage + 1), f"motion_pool{stage + 1}")
    features = filters[-1] * dense_side(size, len(filters)) ** 2
    x = b.node("Flatten", "flatten", [x], features)
    return b.graph([b.frame_head(x, "pulse", hidden=hidden)])


def dense_side(size: int, stages: int = 2) -> int:
    """Rows of what the dense layers see of frames of a size: one convolution of two is unpadded.

    >>> dense_side(36), dense_side(72)
    (7, 16)
    """
    side = size
    for _ in range(stages):
        side = (side - 2) // 2
    if side < 1:
        raise ValueError(f"`size` (={size}) is too small: nothing is left behind {stages} pools")
    return side


def _gated(b: Builder, x: str, seen: str, number: int) -> str:
    """``x`` times a mask over its pixels, of what is seen there."""
    mask = b.conv(seen, f"attention{number}", 1, kernel=1, bias=True)
    mask = b.node("Sigmoid", f"attention{number}.sigmoid", [mask], 1)
    mask = b.node("AttentionMask", f"attention{number}.mask", [mask], 1)
    return b.node("Mul", f"gate{number}", [x, mask], b.channels(x))


def _conv_tanh(b: Builder, x: str, name: str, channels: int, padding: int) -> str:
    x = b.conv(x, name, channels, kernel=3, padding=padding, bias=True)
    return b.node("Tanh", f"{name}.tanh", [x], channels)


def _halve(b: Builder, x: str, name: str) -> str:
    return b.node(
        "AveragePool", name, [x], b.channels(x), kernel_shape=(1, 2, 2), strides=(1, 2, 2)
    )
