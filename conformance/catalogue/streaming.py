"""S: streaming. Frame by frame, in any chunks, the result is that of the whole causal clip."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.catalogue._questions import fold_channels
from conformance.catalogue.l0_identities import is_causal
from conformance.catalogue.l3_networks import MOBILE
from conformance.questions.arrays import Array
from conformance.questions.case import (
    Call,
    Problem,
    Question,
    Register,
    Setting,
    case,
    identity,
)
from conformance.questions.data import coded, draw_weights, mobilenet_shapes, normal, resnet_shapes
from conformance.questions.dialogue import Dialogue
from conformance.questions.judges import Bits, Judge, Within
from conformance.questions.oracle import Oracle
from conformance.questions.streams import Event, outcome, steps
from tsm_ref.reference import temporal_shift
from tsm_ref.reference.bounded import Bounded

ONLINE = "out[t] = x[t - 1] in the first C // fold_div channels, from zeros; the rest is x[t]"
EQUAL = "stream(x)[t] = frame_logits(x)[t] of the causal network on the whole clip"


def stream_case(id: str, requirement: str = "MUST", *, defect: str, **options: Any) -> Register:
    """A case about the operation `stream`."""
    subject = {"architecture": "shift" if id.startswith("shift") else "network"}
    options = {"operation": "stream", "needs": ("streaming",), **subject} | options
    formula = ONLINE if id.startswith("shift") else EQUAL
    return case(f"S.{id}", requirement, formula=formula, defect=defect, **options)


def shift_script(
    s: Setting, script: list[Event], T: int, clips: int = 1, x: Array | None = None
) -> Problem:
    """A script for the shift alone, to the bit; of coded clips, or of those that are given."""
    x = coded((clips, 2, fold_channels(s), T, 3, 2)) if x is None else x
    d = s.conventions.streaming.d(x.shape[2])

    def join(parts: Sequence[tuple[Array, int, int]]) -> Array:
        return np.concatenate([whole[:, :, a:b] for whole, a, b in parts], axis=2)

    expected = outcome(script, lambda v: temporal_shift(v, d), x, join)
    attributes = {"subject": "temporal_shift", "fold_div": s.conventions.fold_div}
    return Problem((_question(x, script, attributes, {}, Bits(expected)),))


def network_script(
    s: Setting,
    script: list[Event],
    T: int,
    clips: int = 1,
    architecture: str = "",
    *,
    batch: int = 2,
    size: tuple[int, int] = (10, 12),
) -> Problem:
    """A script for a whole network, within the propagated bound."""
    shapes, attributes = small_net(s, architecture)
    weights = draw_weights(s.rng, shapes)
    size = s.size("height", size[0]), s.size("width", size[1])
    x = normal(s.rng, (clips, batch, 3, T, *size))
    oracle = Oracle(s.conventions.streaming, s.u)

    def whole(clip: Array) -> Bounded:
        found: Bounded = oracle.frame_logits(Bounded.exact(clip), weights, **attributes)
        return found

    judge = Within(outcome(script, whole, x, _join_bounded))
    judge.guard(s.u)
    return Problem((_question(x, script, {"subject": "network", **attributes}, weights, judge),))


def small_net(s: Setting, architecture: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """Shapes of weights, and attributes, of a network of the architecture that is judged."""
    mobile = (architecture or s.architecture) == "mobilenet_v2"
    return mobile_net(s) if mobile else residual_net(s)


def residual_net(s: Setting) -> tuple[dict[str, Any], dict[str, Any]]:
    """A ResNet of three shifted blocks."""
    attributes = {
        "architecture": "resnet",
        "block": "basic",
        "blocks": [2, 1],
        "width": 9,
        "stem_kernel": 3,
        "stem_pool": False,
        "classes": 5,
        "shifted": True,
        "fold_div": s.conventions.fold_div,
        "placement": s.conventions.placement,
    }
    return resnet_shapes("basic", (2, 1), 9, 5, 3), attributes


def mobile_net(s: Setting) -> tuple[dict[str, Any], dict[str, Any]]:
    """A MobileNetV2 of three shifted blocks."""
    attributes = {
        "architecture": "mobilenet_v2",
        "expansions": [b[0] for b in MOBILE],
        "channels": [8, *(b[1] for b in MOBILE), 24],
        "strides": [b[2] for b in MOBILE],
        "classes": 5,
        "fold_div": s.conventions.fold_div,
    }
    return mobilenet_shapes(8, MOBILE, 24, 5), attributes


@stream_case("shift.frames", defect="the cache holds the shifted frame, or the wrong channels")
def shift_frames(s: Setting) -> Problem:
    """The shift alone, one frame at a time, two clips side by side as a batch."""
    return shift_script(s, steps(0, 0, [1] * 6), 6)


@stream_case("shift.chunks", "SHOULD", defect="a chunk is shifted as if it were a whole clip")
def shift_chunks(s: Setting) -> Problem:
    """The shift alone, in chunks of 3, 1, 4 and 2 frames."""
    return shift_script(s, steps(0, 0, (3, 1, 4, 2)), 10)


@stream_case("shift.first-frame", defect="the stream starts from the first frame, or from garbage")
def shift_first(s: Setting) -> Problem:
    """One frame only: shifted channels are zero."""
    return shift_script(s, steps(0, 0, (1,)), 1)


@stream_case("shift.reset", defect="a reset leaves frames of the clip before in the cache")
def shift_reset(s: Setting) -> Problem:
    """Three frames, a reset, and another clip; then a reset of an empty stream."""
    script = [*steps(0, 0, (1, 1, 1)), ["reset", 0], *steps(0, 1, (1, 1)), ["reset", 0],
              ["reset", 0], *steps(0, 0, (1, 1), 2)]  # fmt: skip
    return shift_script(s, script, 5, clips=2)


@stream_case("shift.interleaved", defect="two streams share one cache")
def shift_interleaved(s: Setting) -> Problem:
    """Two streams that take turns."""
    script: list[Event] = []
    for t in range(4):
        script += [["step", 0, 0, t, t + 1], ["step", 1, 1, t, t + 1]]
    return shift_script(s, script, 4, clips=2)


@stream_case("shift.state", "SHOULD", defect="a saved state is a view that later frames overwrite")
def shift_state(s: Setting) -> Problem:
    """Save, go on, restore, and go on with other frames; restore once more."""
    script = [*steps(0, 0, (1, 1)), ["save", 0, 0], *steps(0, 0, (1, 1), 2), ["load", 0, 0],
              *steps(0, 1, (1, 1)), ["load", 0, 0], *steps(0, 0, (1, 1), 2)]  # fmt: skip
    return shift_script(s, script, 4, clips=2)


@stream_case("shift.long", defect="a ring buffer is wrong each 8th, 16th or 100th frame")
def shift_long(s: Setting) -> Problem:
    """300 frames, one at a time, of a clip in which no two are alike."""
    return shift_script(s, steps(0, 0, [1] * 300), 300)


@stream_case("shift.chunk-sizes", "SHOULD", defect="a chunk that is longer than a buffer is cut")
def shift_chunk_sizes(s: Setting) -> Problem:
    """Chunks of 1 to 9 frames, twice, up and down."""
    sizes = [*range(1, 10), *range(9, 0, -1)]
    return shift_script(s, steps(0, 0, sizes), sum(sizes))


@stream_case("shift.four", defect="three streams share what two do not")
def shift_four(s: Setting) -> Problem:
    """Four streams that begin one after another and take turns; one of them is reset."""
    script: list[Event] = []
    for t in range(7):
        script += [["step", n, n, t - n, t - n + 1] for n in range(4) if 0 <= t - n < 5]
        script += [["reset", 2]] if t == 4 else []
    return shift_script(s, script, 5, clips=4)


@stream_case("shift.empty-state", "SHOULD", defect="the state of a stream without frames is none")
def shift_empty_state(s: Setting) -> Problem:
    """Save before the first frame, go on, and restore that: it is a reset."""
    script = [["save", 0, 0], *steps(0, 0, (1, 2)), ["load", 0, 0], *steps(0, 1, (1, 1))]
    return shift_script(s, script, 3, clips=2)


@stream_case("network.frames", defect="a cache in the middle of a network holds the wrong value")
def network_frames(s: Setting) -> Problem:
    """A ResNet with three shifts, one frame at a time: the logits of every frame."""
    return network_script(s, steps(0, 0, [1] * 6), 6)


@stream_case("network.chunks", "SHOULD", defect="results depend on how frames are chunked")
def network_chunks(s: Setting) -> Problem:
    """A ResNet in chunks of 2, 1 and 3 frames."""
    return network_script(s, steps(0, 0, (2, 1, 3)), 6)


@stream_case("network.prefix", defect="an output depends on frames that come later")
def network_prefix(s: Setting) -> Problem:
    """Two streams with equal beginnings and other ends."""
    script = [*steps(0, 0, (1, 1, 1)), *steps(1, 0, (1, 1)), *steps(1, 1, (1, 1), 2)]
    return network_script(s, script, 4, clips=2)


@stream_case("network.reset", defect="some caches are not reset")
def network_reset(s: Setting) -> Problem:
    """Three frames, a reset, and three frames of another clip."""
    script = [*steps(0, 0, (1, 1, 1)), ["reset", 0], *steps(0, 1, (1, 1, 1))]
    return network_script(s, script, 3, clips=2)


@stream_case("network.interleaved", defect="streams of one network share a cache")
def network_interleaved(s: Setting) -> Problem:
    """Two streams of one network that take turns."""
    script: list[Event] = []
    for t in range(3):
        script += [["step", 0, 0, t, t + 1], ["step", 1, 1, t, t + 1]]
    return network_script(s, script, 3, clips=2)


@stream_case("network.three", defect="a third stream of a network shares what two do not")
def network_three(s: Setting) -> Problem:
    """Three streams of one network that begin one after another and take turns."""
    script: list[Event] = []
    for t in range(6):
        script += [["step", n, n, t - n, t - n + 1] for n in range(3) if 0 <= t - n < 4]
    return network_script(s, script, 4, clips=3, batch=1)


@stream_case("network.state", "SHOULD", defect="a state is not complete, or not a copy")
def network_state(s: Setting) -> Problem:
    """Save after two frames, go on, restore into another stream, and go on there."""
    script = [*steps(0, 0, (1, 1)), ["save", 0, 0], *steps(0, 1, (1, 1), 2),
              *steps(1, 1, (1,)), ["load", 1, 0], *steps(1, 0, (1, 1), 2)]  # fmt: skip
    return network_script(s, script, 4, clips=2)


@stream_case("network.long", defect="a buffer in the middle of a network wraps after some frames")
def network_long(s: Setting) -> Problem:
    """119 frames in chunks of 1 to 7, over and over."""
    sizes = [1 + k % 7 for k in range(29)]
    return network_script(s, steps(0, 0, [*sizes, 119 - sum(sizes)]), 119, batch=1, size=(8, 7))


@stream_case("network.resized", "SHOULD", defect="after a reset the buffers keep their old size")
def network_resized(s: Setting) -> Problem:
    """A reset, then frames of another size, and the first size again; a refusal is right too."""
    smaller = [["step", 0, 1, t, t + 1, 8, 9] for t in range(2)]
    script = [*steps(0, 0, (1, 1)), ["reset", 0], *smaller, ["reset", 0], *steps(0, 0, (1, 1))]
    (question,) = network_script(s, script, 2, clips=2).questions
    judge = question.judge
    assert isinstance(judge, Within)
    return Problem((replace(question, judge=replace(judge, may_refuse=True)),))


@stream_case(
    "network.mobilenet",
    "SHOULD",
    architecture="mobilenet_v2",
    defect="shifts of inverted residuals cannot be streamed",
)
def network_mobilenet(s: Setting) -> Problem:
    """A MobileNetV2 with three shifts, one frame at a time."""
    return network_script(s, steps(0, 0, [1] * 4), 4, architecture="mobilenet_v2")


@stream_case(
    "network.bits", "SHOULD", defect="sums depend on the chunking", needs=("bitwise_streaming",)
)
def network_bits(s: Setting) -> Problem:
    """Where it is declared: frames, chunks and the whole clip at once give the same bits."""
    first = network_script(s, steps(0, 0, [1] * 6), 6).questions[0]
    others = [
        Question(_with_script(first.call, script), first.judge)
        for script in (steps(0, 0, (2, 1, 3)), steps(0, 0, (6,)))
    ]
    return Problem((first, *others), same_bits=True)


@identity(
    "S.identity.own-network",
    operation="stream",
    formula="stream(x)[t] = the testee's own frame_logits(x)[t], where that is causal",
    defect="a stream is not the network that the weights were trained in",
    needs=("streaming",),
    architecture="network",
    applies=is_causal,
)
def own_network(a: Dialogue) -> None:
    """A network that is causal offline streams what it computes offline itself.

    Each side may be wrong by what rounding explains, so they may differ by twice that.
    """
    shapes, attributes = small_net(a.setting)
    rng = np.random.default_rng(a.integer(0, 2**16))
    weights = draw_weights(rng, shapes)
    T = a.setting.size("frames", a.integer(2, 6))
    size = a.setting.size("height", a.integer(6, 9)), a.setting.size("width", a.integer(6, 9))
    x = normal(rng, (a.integer(1, 2), 3, T, *size))
    oracle = Oracle(a.conventions.streaming, a.setting.u)
    right: Bounded = oracle.frame_logits(Bounded.exact(x), weights, **attributes)
    given = {f"weights/{name}": value for name, value in weights.items()}
    offline = a.ask("frame_logits", {"x": x, **given}, **attributes)
    script = steps(0, 0, [1] * T)
    y = a.ask("stream", {"clips": x[None], **given}, script=script, subject="network", **attributes)
    sentence = "the stream is not the testee's own offline network"
    a.near(y, offline, 2 * right.tolerance(), sentence)


def _question(
    x: Array, script: list[Event], attributes: dict[str, Any], weights: Any, judge: Judge
) -> Question:
    inputs = {"clips": x, **{f"weights/{name}": value for name, value in weights.items()}}
    div = {"fold_div": attributes["fold_div"]}
    return Question(Call("stream", inputs, {"script": script, **attributes}, div), judge)


def _with_script(call: Call, script: list[Event]) -> Call:
    return Call(call.operation, call.inputs, {**call.attributes, "script": script}, call.defaults)


def _join_bounded(parts: Sequence[tuple[Bounded, int, int]]) -> Bounded:
    value = np.concatenate([w.value[:, :, a:b] for w, a, b in parts], axis=2)
    return Bounded(value, np.concatenate([w.variance[:, :, a:b] for w, a, b in parts], axis=2))
