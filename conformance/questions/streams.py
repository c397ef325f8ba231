"""Scripts of streaming: which frames go to which stream, and what is reset, saved or restored.

An event is a list: ``["step", stream, clip, start, stop]`` feeds frames start..stop-1 of a clip to
a stream and puts out what comes; ``["reset", stream]``; ``["save", stream, slot]`` and
``["load", stream, slot]`` keep and restore its state. Streams are opened when first named; all
begin empty. The outputs of all steps, one behind the other in time, are the answer.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from conformance.questions.arrays import Array, as_numpy

Event = Sequence[Any]

SPOILT = -77
"""What the caller writes over a chunk that it uses again."""


def play(
    script: Sequence[Event],
    clips: Array,
    open_stream: Callable[[], Any],
    to_chunk: Callable[[Array], Array] = np.ascontiguousarray,
    from_step: Callable[[Array, int], Array] = lambda y, clips: y,
    *,
    reused: bool = False,
) -> Array:
    """Run a script on streams with ``step(chunk)``, ``reset()`` and ``state``.

    ``to_chunk`` and ``from_step`` bring chunks into a testee's layout and its answers back. With
    ``reused`` the caller writes over every chunk once its step is done, as a camera does.

    Shapes: clips (S, N, C, T, H, W), a chunk (N, C, t, H, W), what a step returns (N, K, t, ...)
    -> (N, K, all t, ...).
    """
    streams: dict[int, Any] = {}
    slots: dict[int, Any] = {}
    made = []
    for action, number, *rest in script:
        if number not in streams:
            streams[number] = open_stream()
        stream = streams[number]
        if action == "step":
            clip, start, stop = rest
            chunk = to_chunk(clips[clip][:, :, start:stop].copy())
            made.append(from_step(as_numpy(stream.step(chunk)).copy(), clips.shape[1]))
            if reused:
                chunk[...] = SPOILT
        elif action == "reset":
            stream.reset()
        elif action == "save":
            slots[rest[0]] = stream.state
        elif action == "load":
            stream.state = slots[rest[0]]
        else:
            raise ValueError(f"a script knows step, reset, save and load, not {action!r}")
    return np.concatenate(made, axis=2)


def steps(stream: int, clip: int, sizes: Sequence[int], start: int = 0) -> list[Event]:
    """A clip fed in chunks of these sizes.

    >>> steps(0, 1, (2, 1))
    [['step', 0, 1, 0, 2], ['step', 0, 1, 2, 3]]
    """
    ends = np.cumsum([start, *sizes]).tolist()
    return [["step", stream, clip, a, b] for a, b in pairwise(ends)]


def outcome(
    script: Sequence[Event], run_whole: Callable[[Array], Any], clips: Array, join: Any
) -> Any:
    """What a script must put out, from whole clips alone: the offline network on each history.

    A stream's history is the frames that it has been fed since it began, was reset or restored; the
    step puts out the last frames of the offline result for that history. ``run_whole`` may give
    arrays or bounded values; ``join`` joins them along time (axis 2).
    """
    history: dict[int, list[Array]] = {}
    slots: dict[int, list[Array]] = {}
    parts = []
    for action, number, *rest in script:
        past = history.setdefault(number, [])
        if action == "step":
            clip, start, stop = rest
            past.append(clips[clip][:, :, start:stop])
            parts.append((run_whole(np.concatenate(past, axis=2)), stop - start))
        elif action == "reset":
            history[number] = []
        elif action == "save":
            slots[rest[0]] = list(past)
        else:
            history[number] = list(slots[rest[0]])
    return join([(whole, count) for whole, count in parts])
