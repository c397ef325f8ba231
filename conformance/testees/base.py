"""What every testee has in common: a declaration of itself, and replies to calls."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from conformance.exchange.schemas import Invalid, check
from conformance.questions.case import Call
from conformance.questions.conventions import PRESETS, Conventions, conventions_of
from conformance.questions.families import ARCHITECTURES, FAMILIES
from tsm_ref.errors import UsageError

OPERATIONS: Mapping[str, str] = {
    "temporal_shift": "x, fold_div -> y: the profile's shift of a clip",
    "temporal_shift_adjoint": "y, fold_div -> y: its transpose, the gradient",
    "shift_by": "x, d, fill -> y: a shift by any integers",
    "conv": "x, weight, bias?, stride, padding, dilation, groups -> y",
    "batch_norm": "x, mean, variance, scale, shift, eps -> y",
    "relu": "x -> y",
    "relu6": "x -> y",
    "leaky_relu": "x, slope -> y",
    "hard_sigmoid": "x -> y",
    "hard_swish": "x -> y",
    "sigmoid": "x -> y",
    "tanh": "x -> y",
    "softmax": "x, axis -> y",
    "max_pool": "x, kernel, stride, padding, dilation, ceil_mode -> y",
    "avg_pool": "x, kernel, stride, padding, ceil_mode, count_include_pad -> y",
    "global_avg_pool": "x -> y: (N, C, T, H, W) to (N, C, T)",
    "linear": "x, weight, bias? -> y: (N, C, T) to (N, K, T)",
    "consensus": "logits -> y: (N, K, T) to (N, K)",
    "attention_mask": "m -> y",
    "non_local": "theta, phi, g, mode -> y",
    "residual_block": "x, weights, kind, stride, fold_div, placement -> y",
    "shifted_blocks": "blocks, placement -> y: one 0 or 1 per block",
    "network": "x, weights, architecture, ... -> y: logits (N, K)",
    "frame_logits": "x, weights, architecture, ... -> y: logits (N, K, T)",
    "decode_boxes": "boxes, offsets -> y: (R, 4), the boxes that offsets make of others",
    "nms": "boxes, scores, threshold, most -> y: which boxes are kept, the best first",
    "ps_roi_pool": "maps, boxes, bins, stride -> y: (R, C, bins, bins)",
    "quantize_linear": "x, scale, zero_point, dtype -> y: reals to quantised values",
    "dequantize_linear": "x, scale, zero_point -> y: quantised values to reals",
    "qlinear_conv": "x, weight, weight_scale, bias, x_scale, ..., y_scale, ... -> y",
    "qlinear_matmul": "x, weight, weight_scale, bias, x_scale, ..., y_scale, ... -> y",
    "qlinear_add": "x, other, x_scale, ..., other_scale, ..., y_scale, ... -> y",
    "qlinear_average_pool": "x, kernel, stride, padding, x_scale, ..., y_scale, ... -> y",
    "qlinear_global_average_pool": "x, x_scale, ..., y_scale, ... -> y: (N, C, T)",
    "litert_add": "x, other, x_scale, ..., other_scale, ..., y_scale, ... -> y",
    "litert_mean": "x, x_scale, ..., y_scale, ... -> y: (N, C, T)",
    "litert_average_pool": "x, kernel, stride, padding, x_scale, ..., y_scale, ... -> y",
    "litert_quantize": "x, x_scale, ..., y_scale, ... -> y: values in other steps",
    "litert_leaky_relu": "x, alpha, x_scale, ..., y_scale, ... -> y",
    "litert_hard_swish": "x, x_scale, ..., y_scale, ... -> y",
    "quantised_shift": "x, fold_div, zero_point -> y: the profile's shift of quantised values",
    "quantised_network": "x, weights, steps, fold_div -> y: quantised logits (N, K, T)",
    "stream": "frames, script, subject, weights?, ... -> y: an online shift or network",
    "sample_frames": "policy, num_frames, segments -> y: frames counted from 0 (clips, T)",
    "resize": "image, height, width, arithmetic -> y: uint8 (H, W, 3)",
    "crop": "height, width, crop, crops, offset -> y: (views, 3) of top, left, mirrored",
    "normalize": "frames, mean, std, scale, channel_order -> y: float32 (3, T, H, W)",
    "preprocess": "frames, short_side, crop, ... -> y: float32 (3, T, H, W)",
    "recognize": "film, weights, architecture, segments, ... -> result: JSON",
}
"""Every operation that a testee may offer, with what goes in and comes out.

``conformance/OPERATIONS.md`` has every attribute.
"""

NETWORKS = ("resnet", "mobilenet_v2")
"""The architectures that questions about any network may be about."""

EXACT_TYPES = ("float32", "float64")
"""The accumulation types that hold every partial sum of the exact tier, which are below 2^24."""


@dataclass(frozen=True)
class Outputs:
    """The named outputs of a call: arrays, or a JSON value."""

    values: Mapping[str, Any]


@dataclass(frozen=True)
class Refused:
    """The testee says that the input is invalid, or that it cannot do it: its kind of error."""

    kind: str
    message: str


@dataclass(frozen=True)
class Skipped:
    """The testee says that it skips this call."""

    message: str


@dataclass(frozen=True)
class Unsupported:
    """The testee does not offer the operation, or not with this attribute."""

    message: str


@dataclass(frozen=True)
class NoReply:
    """No usable reply: a crash, a timeout, garbage, an array that cannot be; in one sentence."""

    message: str


Reply = Outputs | Refused | Skipped | Unsupported | NoReply


@dataclass(frozen=True)
class Declaration:
    """What a testee says of itself; it is judged against this and nothing else.

    ``accumulation`` is the type its sums are made in; ``exact`` is False for algorithms that
    transform their data (Winograd, FFT); ``dtypes`` are the float types it takes; ``layout`` the
    order of axes in which it wants clips; ``streaming`` whether it can run frame by frame, and
    ``bitwise_streaming`` whether that gives the same bits as a whole clip; ``quantised`` whether it
    has layers of 8-bit numbers, about which nothing is asked otherwise. ``layouts`` names the
    operations that want another order of axes than ``layout``.

    Three words say what it is, and nothing else is asked of it; the verdict repeats them.
    ``operations``: what it offers. ``architectures``: which networks it can be (``resnet``,
    ``mobilenet_v2``, ``ts_can``; ``shift`` streams the shift alone; the others of `ARCHITECTURES`
    are asked only of those that name them). ``fixed``: the sizes that it is made for, as
    ``{"batch": 1, "frames": 8, "height": 64, "width": 64, "channels": 64}`` or some of them.
    """

    name: str
    version: str = ""
    language: str = ""
    conventions: Conventions = PRESETS["mit"]
    accumulation: str = "float32"
    exact: bool = True
    dtypes: tuple[str, ...] = ("float32",)
    layout: str = "NCTHW"
    streaming: bool = True
    bitwise_streaming: bool = False
    quantised: bool = False
    layouts: Mapping[str, str] = field(default_factory=dict)
    operations: tuple[str, ...] | None = None
    architectures: tuple[str, ...] | None = None
    fixed: Mapping[str, int] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def inexact(self) -> str:
        """Which declaration excuses sums of small integers from being exact, if one does."""
        if not self.exact:
            return "exact: false"
        return "" if self.accumulation in EXACT_TYPES else f"accumulation: {self.accumulation}"

    @property
    def scope(self) -> str:
        """What it declares to be, in words; nothing if it claims to be everything."""
        sizes = ", ".join(f"{name} {size}" for name, size in self.fixed.items())
        parts = [
            f"only {', '.join(self.operations)}" if self.operations is not None else "",
            f"as {', '.join(self._named)}" if self._named else "",
            f"of {sizes}" if sizes else "",
        ]
        return " ".join(filter(None, parts))

    @property
    def _named(self) -> tuple[str, ...]:
        """The architectures, if they are not all that there are."""
        named = self.architectures or ()
        return () if set(ARCHITECTURES) <= set(named) else named

    def layout_of(self, operation: str) -> str:
        """The order of axes in which an operation wants clips."""
        return self.layouts.get(operation, self.layout)

    def not_about(self, operation: str, architecture: str) -> str:
        """Why a case says nothing about what it declares to be, or nothing."""
        if self.operations is not None and operation not in self.operations:
            return f"the testee is {self.scope}, without `{operation}`"
        if architecture in FAMILIES and architecture not in (self.architectures or ()):
            return f"it is asked of those who say that they are {architecture}"
        if self.architectures and architecture:
            kinds = NETWORKS if architecture == "network" else (architecture,)
            if not set(kinds) & set(self.architectures):
                return f"the testee is {self.scope}, and no {architecture}"
        return ""

    def lacks(self, need: str) -> str:
        """Why a case that needs a capability cannot be asked, or nothing."""
        if need == "exact":
            return f"the testee declares {self.inexact}" if self.inexact else ""
        if need in ("streaming", "bitwise_streaming", "quantised"):
            return "" if getattr(self, need) else f"the testee declares {need}: false"
        if need in self.dtypes:
            return ""
        return f"the testee declares the dtypes {', '.join(self.dtypes)}, without {need}"


class Testee(Protocol):
    """Something that is asked questions."""

    declaration: Declaration

    def ask(self, call: Call, timeout: float) -> Reply:
        """The reply to a call; never raises for what the testee does wrong."""
        ...

    def close(self) -> None:
        """End what was started for it."""
        ...


LONGEST = 1000
"""How many characters of what a testee says are kept."""


def printable(text: str) -> str:
    r"""A testee's words as one line that any terminal, UTF-8 and XML can hold.

    >>> printable("out of\n\x1b[31mcheese \ud800")
    'out of ?[31mcheese ?'
    """
    line = " ".join(text[:LONGEST].split())
    return "".join(c if c.isprintable() else "?" for c in line)


def declared(message: Mapping[str, Any], profile: str | None = None) -> Declaration:
    """A declaration from a ``start`` reply; `profile` overrides the one that it names.

    Raises `UsageError` for what the schema does not allow.

    >>> declared({"name": "mine", "capabilities": {"dtypes": ["float32", "float64"]}}).dtypes
    ('float32', 'float64')
    """
    try:
        check("start_reply", message)
    except Invalid as error:
        raise UsageError(f"the testee's declaration is not as it should be: {error}") from None
    capabilities = dict(message.get("capabilities", {}))
    for name in ("dtypes", "operations", "architectures"):
        if name in capabilities:
            capabilities[name] = tuple(capabilities[name])
    return Declaration(
        printable(message["name"]),
        printable(message.get("version", "")),
        printable(message.get("language", "")),
        conventions_of(profile or message.get("profile", "mit")),
        **capabilities,
    )
