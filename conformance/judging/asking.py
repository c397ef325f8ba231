"""Questions cut to what a testee says it is: of fixed sizes, or for one clip at a time."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from conformance.questions.case import Call, Problem
from conformance.testees.base import Declaration, Outputs, Reply, Testee
from conformance.testees.layouts import PIXELS, WEIGHTS

AXES = {"channels": 1, "frames": 2, "height": 3, "width": 4}
"""Where a clip (N, C, T, H, W) has the sizes that a testee may fix."""

SHIFTS = ("temporal_shift", "temporal_shift_adjoint", "shift_by", "quantised_shift")
"""The operations whose channels may be fixed; everywhere else a weight decides about them."""

PICTURES = (*PIXELS, "normalize", "preprocess")
"""The operations whose first input is no batch of clips."""


def askable(problem: Problem, declaration: Declaration) -> Problem:
    """The questions of a problem whose sizes are those that the testee is made for."""
    if not declaration.fixed:
        return problem
    kept = tuple(q for q in problem.questions if _fits(q.call, declaration))
    return replace(problem, questions=kept)


def ask(testee: Testee, call: Call, timeout: float) -> Reply:
    """The reply to a call; a testee for one clip is asked clip by clip."""
    clips = _clips(call) if testee.declaration.fixed.get("batch") == 1 else 1
    if clips <= 1:
        return testee.ask(call, timeout)
    parts = []
    for single in _singly(call, clips):
        reply = testee.ask(single, timeout)
        if not isinstance(reply, Outputs):
            return reply
        parts.append(reply.values)
    return Outputs({name: _joined([part.get(name) for part in parts]) for name in parts[0]})


def _joined(parts: list[object]) -> object:
    """The answers to single clips as that to the batch; what cannot be joined is the first."""
    arrays = [part for part in parts if isinstance(part, np.ndarray) and part.ndim]
    alike = len(arrays) == len(parts) and len({a.shape[1:] for a in arrays}) == 1
    return np.concatenate(arrays) if alike else parts[0]


def _fits(call: Call, declaration: Declaration) -> bool:
    x = next(iter(call.inputs.values()), None)
    if call.operation == "stream" and x is not None:
        x = x[0]
    if x is None or x.ndim != 5:
        return True
    batch = declaration.fixed.get("batch")
    if batch is not None and batch != 1 and len(x) != batch:
        return False
    axes = {k: axis for k, axis in AXES.items() if k != "channels" or call.operation in SHIFTS}
    if call.operation == "stream":
        axes.pop("frames")
    return all(declaration.fixed.get(k, x.shape[axis]) == x.shape[axis] for k, axis in axes.items())


def _clips(call: Call) -> int:
    """How many clips a call holds, by its first input."""
    x = next(iter(call.inputs.values()), None)
    if x is None or call.operation in PICTURES:
        return 1
    return x.shape[1] if call.operation == "stream" else x.shape[0] if x.ndim > 2 else 1


def _singly(call: Call, clips: int) -> Iterator[Call]:
    """The call once for each of its clips: inputs that have as many go along, weights stay."""
    first, *rest = call.inputs
    cut = [first, *(k for k in rest if k not in WEIGHTS and not k.startswith("weights/"))]
    axis = 1 if call.operation == "stream" else 0
    for n in range(clips):
        inputs = {
            name: np.ascontiguousarray(np.take(x, [n], axis)) if name in cut else x
            for name, x in call.inputs.items()
        }
        yield replace(call, inputs=inputs)
