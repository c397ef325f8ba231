"""TS-CAN and MTTS-CAN: pulse and respiration from a face video (Liu et al. 2020, section 3).

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
    name: str = "ts-can",
) -> Graph:
    """TS-CAN; with two heads it is MTTS-CAN.

    Inputs: ``motion`` (N, 3, T, 36, 36) and ``appearance`` (N, 3, 1 or T, 36, 36). One output
    (N, T) per head, named after the head.

    >>> build_ts_can().parameter_count
    532899
    """
    rule = shift or ShiftRule("mtts_can", 3, "zero", segment=20)
    b = Builder(name)
    motion = b.input("motion", ("N", 3, "T", FRAME_SIZE, FRAME_SIZE))
    appearance = b.input("appearance", ("N", 3, "A", FRAME_SIZE, FRAME_SIZE))
    side = FRAME_SIZE
    for stage, channels in enumerate(filters):
        first = 2 * stage + 1
        for i, padding in ((first, 1), (first + 1, 0)):
            motion = b.shift(motion, f"motion_shift{i}", rule)
            motion = _conv_tanh(b, motion, f"motion_conv{i}", channels, padding)
            appearance = _conv_tanh(b, appearance, f"appearance_conv{i}", channels, padding)
        mask = b.conv(appearance, f"attention{stage + 1}", 1, kernel=1, bias=True)
        mask = b.node("Sigmoid", f"attention{stage + 1}.sigmoid", [mask], 1)
        mask = b.node("AttentionMask", f"attention{stage + 1}.mask", [mask], 1)
        motion = b.node("Mul", f"gate{stage + 1}", [motion, mask], channels)
        motion = _halve(b, motion, f"motion_pool{stage + 1}")
        if stage + 1 < len(filters):
            appearance = _halve(b, appearance, f"appearance_pool{stage + 1}")
        side = (side - 2) // 2  # one convolution of the two is not padded
    x = b.node("Flatten", "flatten", [motion], filters[-1] * side * side, order="HWC")
    return b.graph([_head(b, x, head, i, hidden) for i, head in enumerate(heads)])


def _conv_tanh(b: Builder, x: str, name: str, channels: int, padding: int) -> str:
    x = b.conv(x, name, channels, kernel=3, padding=padding, bias=True)
    return b.node("Tanh", f"{name}.tanh", [x], channels)


def _halve(b: Builder, x: str, name: str) -> str:
    return b.node(
        "AveragePool", name, [x], b.channels(x), kernel_shape=(1, 2, 2), strides=(1, 2, 2)
    )


def _head(b: Builder, x: str, head: str, index: int, hidden: int) -> str:
    """Dense, tanh, dense to one number per frame; the first head keeps the plain names."""
    suffix = "" if index == 0 else f"_{head}"
    x = b.linear(x, f"dense1{suffix}", hidden)
    x = b.node("Tanh", f"dense1{suffix}.tanh", [x], hidden)
    x = b.linear(x, f"dense2{suffix}", 1)
    return b.node("Squeeze", head, [x], 1, axes=(1,))
