"""Scripts of streaming: which frames go to which stream, and what is reset, saved or restored.

An event is a list: ``["step", stream, clip, start, stop]`` feeds frames start..stop-1 of a clip to
a stream and puts out what comes; with ``height, width`` behind it, the upper left corner of them.
``["reset", stream]`` makes it forget; ``["save", stream, slot]`` and ``["load", stream, slot]``
keep and restore its state. Streams are opened when first named; all begin empty. The outputs of all
steps, one behind the other in time, are the answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
            chunk = to_chunk(fed(clips, rest))
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


def fed(clips: Array, where: Sequence[int]) -> Array:
    """The frames that a step event feeds: (N, C, t, H, W)."""
    clip, start, stop, *size = where
    frames = clips[clip][:, :, start:stop]
    corner: Array = frames[..., : size[0], : size[1]] if size else frames
    return corner.copy()


@dataclass
class _Life:
    """What a stream has been fed since it began, was reset or restored."""

    frames: list[Array] = field(default_factory=list)
    count: int = 0


def outcome(
    script: Sequence[Event], run_whole: Callable[[Array], Any], clips: Array, join: Any
) -> Any:
    """What a script must put out, from whole clips alone: the offline network on each history.

    A stream's history is the frames that it has been fed since it began, was reset or restored. The
    offline network is causal, so its result for the whole history has that of every step in it.
    ``run_whole`` may give arrays or bounded values; ``join`` joins pieces (result, start, stop) of
    them along time (axis 2).
    """
    lives: dict[int, _Life] = {}
    slots: dict[int, _Life] = {}
    pieces: list[tuple[_Life, int, int]] = []
    for action, number, *rest in script:
        life = lives.setdefault(number, _Life())
        if action == "step":
            frames = fed(clips, rest)
            life.frames.append(frames)
            pieces.append((life, life.count, life.count + frames.shape[2]))
            life.count += frames.shape[2]
        elif action == "reset":
            lives[number] = _Life()
        elif action == "save":
            slots[rest[0]] = _Life(list(life.frames), life.count)
        else:
            saved = slots[rest[0]]
            lives[number] = _Life(list(saved.frames), saved.count)
    wholes = {id(life): life for life, *_ in pieces}
    results = {key: run_whole(np.concatenate(life.frames, axis=2)) for key, life in wholes.items()}
    return join([(results[id(life)], start, stop) for life, start, stop in pieces])
