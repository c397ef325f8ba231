"""Kinds of memory: the same numbers in another order, with gaps, backwards, overlapping, or none.

A testee in Python is given each kind for every input of each operation, weights included; programs
get their inputs as files, which have one kind alone.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.catalogue import (
    l1_convolution,
    l1_layers,
    l1_pooling,
    l2_blocks,
    l3_networks,
    l5_frames,
    streaming,
)
from conformance.catalogue._questions import (
    composed,
    fold_channels,
    layer,
    shift_problem,
    usual_clip,
)
from conformance.questions.arrays import windows
from conformance.questions.case import Call, Problem, Question, Setting, case
from conformance.questions.data import coded
from conformance.questions.judges import Bits, Values, Within
from conformance.questions.streams import steps
from tsm_ref.reference import temporal_shift_adjoint
from tsm_ref.reference.bounded import Bounded

NETWORKS = ("network", "frame_logits")
KINDS = ("strided", "fortran", "big-endian", "read-only")
FORMULA = "the answer depends on the numbers, and not on how they lie in memory"


def shift(s: Setting) -> Problem:
    """A coded clip."""
    return shift_problem(s, usual_clip(s, 2, 4, 3, 2))


def small_network(s: Setting) -> Problem:
    """A small network of the architecture that is judged."""
    return l3_networks.any_network(s, (2, 3, 10, 12))


def small_stream(s: Setting) -> Problem:
    """A network frame by frame."""
    return streaming.network_script(s, steps(0, 0, [1] * 3), 3)


def block(s: Setting) -> Problem:
    """A block of the architecture that is judged."""
    if s.architecture == "mobilenet_v2":
        return l2_blocks.block(s, "inverted_residual", 17, 17, 1)
    return l2_blocks.block(s, "basic", 10, 14, 2)


def adjoint(s: Setting) -> Problem:
    """The transpose of the testee's own shift, of a coded clip."""
    y = coded((2, fold_channels(s), 4, 3, 2))
    div = {"fold_div": s.conventions.fold_div}
    fill: Any = s.conventions.fill
    right = temporal_shift_adjoint(y, s.conventions.d(y.shape[1]), fill)
    return Problem((Question(Call("temporal_shift_adjoint", {"y": y}, div, div), Bits(right)),))


def small_frame_logits(s: Setting) -> Problem:
    """The same network without its consensus."""
    return l3_networks.any_network(s, (2, 3, 10, 12), "frame_logits")


ASKED: dict[str, tuple[str, Callable[[Setting], Problem]]] = {
    "temporal_shift": ("L0", shift),
    "temporal_shift_adjoint": ("L0", adjoint),
    "conv": ("L1", l1_convolution.stride),
    "linear": ("L1", l1_convolution.linear_exact),
    "batch_norm": ("L1", l1_layers.batch_norm),
    "relu": ("L1", l1_layers.relu),
    "relu6": ("L1", l1_layers.relu6),
    "leaky_relu": ("L1", l1_layers.leaky_relu),
    "sigmoid": ("L1", l1_layers.sigmoid),
    "tanh": ("L1", l1_layers.tanh),
    "hard_sigmoid": ("L1", l1_layers.hard_sigmoid),
    "hard_swish": ("L1", l1_layers.hard_swish),
    "attention_mask": ("L1", l1_layers.attention_mask),
    "non_local": ("L1", l1_layers.non_local),
    "softmax": ("L1", l1_layers.softmax),
    "consensus": ("L1", l1_layers.consensus_exact),
    "max_pool": ("L1", l1_pooling.max_stride),
    "avg_pool": ("L1", l1_pooling.avg_windows),
    "global_avg_pool": ("L1", l1_pooling.global_avg),
    "residual_block": ("L2", block),
    "network": ("L3", small_network),
    "frame_logits": ("L3", small_frame_logits),
    "resize": ("L5", l5_frames.own_resize),
    "normalize": ("L5", l5_frames.own_normalize),
    "preprocess": ("L5", l5_frames.preprocess),
    "stream": ("S", small_stream),
}
"""The level of every operation that is asked, and the question that is asked in every kind."""


def in_each_kind(problem: Problem) -> Problem:
    """The first question of a problem, once for every kind of memory of all its inputs."""
    if not problem.questions:
        return problem
    question = problem.questions[0]
    axes = next(iter(question.call.inputs.values())).ndim
    kinds = (*KINDS, *(f"reversed-{axis}" for axis in range(axes)))
    return Problem(tuple(Question(_lying(question.call, kind), question.judge) for kind in kinds))


def _lying(call: Call, kind: str) -> Call:
    return replace(call, memory=dict.fromkeys(call.inputs, kind))


def _register(operation: str, level: str, build: Callable[[Setting], Problem]) -> None:
    def asked(s: Setting) -> Problem:
        return in_each_kind(build(s))

    asked.__doc__ = f"The same question to `{operation}` with its inputs in every kind of memory."
    case(
        f"{level}.memory.{operation}",
        "SHOULD",
        operation=operation,
        formula=FORMULA,
        defect="memory is read as if it were contiguous, writable and of the machine's own order",
        needs=("streaming",) if operation == "stream" else (),
        architecture="network" if operation in (*NETWORKS, "stream") else "",
    )(asked)


for _operation, (_level, _build) in ASKED.items():
    _register(_operation, _level, _build)


OVERLAPPED = ("temporal_shift", "conv", "batch_norm", "max_pool", "avg_pool", "global_avg_pool",
              "residual_block", *NETWORKS)  # fmt: skip
"""The operations that are asked about windows of one buffer."""


def of_windows(s: Setting, problem: Problem) -> Problem:
    """The first question of a problem, about one clip whose frames are windows of one buffer.

    Every frame begins one row below the frame before, as under a camera that moves.
    """
    if not problem.questions:
        return problem
    call = problem.questions[0].call
    name, clip = next(iter(call.inputs.items()))
    x = np.ascontiguousarray(windows(clip[:1], 2, 3))
    rest = {key: value for key, value in call.inputs.items() if key != name}
    if call.operation == "temporal_shift":
        made = shift_problem(s, x)
    elif call.operation in ("residual_block", *NETWORKS):
        weights = {key.removeprefix("weights/"): value for key, value in rest.items()}
        made = Problem((composed(s, call.operation, x, weights, call.attributes),))
    else:
        made = layer(s, call.operation, {name: x, **rest}, call.attributes)
    asked = (Question(replace(q.call, defaults=call.defaults), q.judge) for q in made.questions)
    return replace(
        made,
        questions=tuple(
            Question(replace(q.call, memory={name: "overlapping"}), q.judge) for q in asked
        ),
    )


def _register_windows(operation: str) -> None:
    level, build = ASKED[operation]

    def asked(s: Setting) -> Problem:
        return of_windows(s, build(s))

    asked.__doc__ = f"`{operation}` of a clip whose frames overlap in memory."
    case(
        f"{level}.overlapping.{operation}",
        "SHOULD",
        operation=operation,
        formula=FORMULA,
        defect="as much memory is read as there are values, or what is written shows twice",
        architecture="network" if operation in NETWORKS else "",
    )(asked)


for _operation in OVERLAPPED:
    _register_windows(_operation)


WITHOUT_CLIPS = ("conv", "batch_norm", "relu", "relu6", "sigmoid", "linear", "softmax",
                 "consensus", "max_pool", "avg_pool", "global_avg_pool", "residual_block",
                 *NETWORKS)  # fmt: skip
"""The operations that are asked about no clips at all; the shift has cases of its own."""


def without_clips(problem: Problem) -> Problem:
    """The first question of a problem about none of its clips: nothing, or a refusal, is right."""
    if not problem.questions:
        return problem
    question = problem.questions[0]
    name, clips = next(iter(question.call.inputs.items()))
    call = replace(question.call, inputs={**question.call.inputs, name: clips[:0]})
    judge = question.judge
    assert isinstance(judge, (Values, Within))
    right = judge.expected
    if isinstance(right, Bounded):
        none = Within(Bounded(right.value[:0], right.variance[:0]), may_refuse=True)
        return Problem((Question(call, none),))
    return Problem((Question(call, Bits(right[:0], may_refuse=True)),))


def _register_empty(operation: str) -> None:
    level, build = ASKED[operation]

    def asked(s: Setting) -> Problem:
        return without_clips(build(s))

    asked.__doc__ = f"`{operation}` of no clips at all: nothing, or a refusal, is right."
    case(
        f"{level}.empty.{operation}",
        "MAY",
        operation=operation,
        formula="the answer has as many clips as the input",
        defect="an empty batch becomes one of some other shape",
        architecture="network" if operation in NETWORKS else "",
    )(asked)


for _operation in WITHOUT_CLIPS:
    _register_empty(_operation)


def reused(problem: Problem) -> Problem:
    """The same questions of a caller who writes over every chunk once its step is done."""
    return Problem(
        tuple(
            Question(replace(q.call, memory={"clips": "reused"}), q.judge)
            for q in problem.questions
        )
    )


@streaming.stream_case("shift.reused-frame", defect="the stream keeps a view of the caller's frame")
def reused_by_shift(s: Setting) -> Problem:
    """The caller writes over every frame once its step is done, as a camera does."""
    return reused(streaming.shift_script(s, steps(0, 0, [1] * 5), 5))


@streaming.stream_case(
    "network.reused-frame", defect="the network keeps a view of the caller's frame"
)
def reused_by_network(s: Setting) -> Problem:
    """The same in front of a whole network."""
    return reused(streaming.network_script(s, steps(0, 0, [1] * 4), 4))


@streaming.stream_case(
    "shift.overlapping", "SHOULD", defect="a chunk is read as if each frame had memory of its own"
)
def overlapping_chunks(s: Setting) -> Problem:
    """Chunks of 3 and 2 frames that are windows of one buffer."""
    x = np.ascontiguousarray(windows(coded((1, fold_channels(s), 5, 3, 2)), 2, 3))
    (question,) = streaming.shift_script(s, steps(0, 0, (3, 2)), 5, x=x[None]).questions
    call = replace(question.call, memory={"clips": "overlapping"})
    return Problem((Question(call, question.judge),))
