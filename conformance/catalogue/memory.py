"""Kinds of memory: the same numbers in another order, with gaps, backwards, read-only, big-endian.

A testee in Python is given each kind for every input of each operation, weights included; programs
get their inputs as files, which have one kind alone.
"""

from collections.abc import Callable
from dataclasses import replace

from conformance.catalogue import (
    l1_convolution,
    l1_layers,
    l1_pooling,
    l2_blocks,
    l3_networks,
    streaming,
)
from conformance.catalogue._questions import shift_problem, usual_clip
from conformance.questions.case import Call, Problem, Question, Setting, case
from conformance.questions.streams import steps

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


ASKED: dict[str, tuple[str, Callable[[Setting], Problem]]] = {
    "temporal_shift": ("L0", shift),
    "conv": ("L1", l1_convolution.stride),
    "linear": ("L1", l1_convolution.linear_exact),
    "batch_norm": ("L1", l1_layers.batch_norm),
    "relu": ("L1", l1_layers.relu),
    "softmax": ("L1", l1_layers.softmax),
    "consensus": ("L1", l1_layers.consensus_exact),
    "max_pool": ("L1", l1_pooling.max_stride),
    "avg_pool": ("L1", l1_pooling.avg_windows),
    "global_avg_pool": ("L1", l1_pooling.global_avg),
    "residual_block": ("L2", block),
    "network": ("L3", small_network),
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
        architecture="network" if operation in ("network", "stream") else "",
    )(asked)


for _operation, (_level, _build) in ASKED.items():
    _register(_operation, _level, _build)


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
