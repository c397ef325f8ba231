"""When the frames of a value are made, and which frames a node reads of it.

Time is counted in the ticks of a stream; see `tsm_ref.passes.streaming`.
"""

from dataclasses import dataclass, replace

from tsm_ref.errors import NotStreamable
from tsm_ref.graph import Node

FAR = 1 << 30
"""A shift by this many frames reads the fill at any time."""

NEVER = -1
"""In ``d`` of a ``History``: a channel that reads the fill at any time."""


@dataclass(frozen=True)
class Clock:
    """When the frames of a value are made, and which input frames they depend on.

    Frame `j` is made at tick ``delay + period * j`` and depends on the input frames
    ``period * j + first`` to ``period * j + last``.
    """

    period: int = 1
    delay: int = 0
    first: int = 0
    last: int = 0


@dataclass(frozen=True)
class Window:
    """What a node reads of one input in time, and ``past`` where there is no such frame.

    Tap `k` of frame `o` is frame ``o * stride + k * dilation - pad - d[c]``; a `d` of one entry is
    that of every channel. ``after`` frames of padding behind the end let it fire when nothing comes
    any more.
    """

    taps: int = 1
    dilation: int = 1
    stride: int = 1
    pad: int = 0
    after: int = 0
    d: tuple[int, ...] = (0,)
    past: str = ""

    @property
    def span(self) -> int:
        """Frames from the first tap to the last."""
        return (self.taps - 1) * self.dilation

    @property
    def direct(self) -> bool:
        """True where frame `o` of the input is all that is ever read for frame `o`."""
        return not (self.span or self.ahead or self.after)

    @property
    def near(self) -> list[int]:
        """The shifts of the channels that ever read a frame."""
        return [d for d in self.d if d < FAR] or [0]

    @property
    def ahead(self) -> int:
        """Frames that are read beyond frame ``o * stride``."""
        return max(0, self.span - self.pad - min(self.near))

    def clock(self, x: Clock) -> Clock:
        """The clock of a node that reads a value through this window."""
        return Clock(
            x.period * self.stride,
            x.delay + x.period * self.ahead,
            x.first - x.period * (self.pad + max(self.near)),
            x.last + x.period * (self.span - self.pad - min(self.near)),
        )

    def lags(self, wait: int) -> tuple[int, ...]:
        """How many frames late the last tap reads each channel, in a node that waits so long."""
        base = self.ahead - self.span + self.pad + wait
        return tuple(NEVER if d >= FAR else base + d for d in self.d)


HERE = Window()


def shifted(node: Node, window: Window) -> Window:
    """The window of a node, behind the shift that it carries."""
    fill, segment = (node.attr(name) for name in ("fill", "segment"))
    if fill == "circular":
        raise refusal(node, "a circular shift reads the end of the clip at its beginning")
    if segment:
        raise refusal(node, f"it shifts inside segments of {segment} frames, not along the stream")
    return replace(window, d=node.attrs["d"], past=fill)


def pooled(node: Node) -> Window:
    """The window of a pool; refuses a mean that is over fewer frames at the ends of the clip."""
    kernel, strides, pads = (node.attr(n) for n in ("kernel_shape", "strides", "pads"))
    mean = node.op != "MaxPool"
    window = Window(
        taps=kernel[0],
        dilation=1 if mean else node.attr("dilations")[0],
        stride=strides[0],
        pad=pads[0],
        after=pads[3],
        past="zero" if mean else "lowest",
    )
    counted = mean and node.attr("count_include_pad")
    padded = (pads[0] or pads[3]) and not counted
    if mean and kernel[0] > 1 and (padded or node.attr("ceil_mode")):
        raise refusal(node, "its mean is over fewer frames at the ends of the clip")
    return window


def refusal(node: Node, reason: str) -> NotStreamable:
    """The error that names a node and why it cannot stream."""
    return NotStreamable(f"node {node.name!r} ({node.op}) cannot run frame by frame: {reason}")
