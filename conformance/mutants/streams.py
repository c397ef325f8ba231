"""Mistakes of streams: what is cached, which part, when it is reset, who shares it."""

from typing import Any, ClassVar

import numpy as np

from conformance.mutants.base import Catalogue
from conformance.questions.arrays import Array
from conformance.testees.reference_stream import ReferenceStream

CATALOGUE = Catalogue()
stream = CATALOGUE.stream


@stream("cache-shifted", "cache content", "the cache holds the frame behind the shift")
class _Shifted(ReferenceStream):
    def kept(self, window: Array, out: Array, depth: int) -> Array:
        return out[:, :, -depth:].copy()


@stream("cache-other-channels", "cache slice", "the cache holds the last channels, not the first")
class _OtherChannels(ReferenceStream):
    def kept(self, window: Array, out: Array, depth: int) -> Array:
        return window[:, ::-1, -depth:].copy()


@stream("cache-oldest", "cache content", "of a chunk the first frame is kept, not the last")
class _Oldest(ReferenceStream):
    def kept(self, window: Array, out: Array, depth: int) -> Array:
        return window[:, :, depth : 2 * depth].copy()


@stream("cache-never-written", "cache content", "the cache is never written")
class _NeverWritten(ReferenceStream):
    def kept(self, window: Array, out: Array, depth: int) -> Array:
        return window[:, :, :depth].copy()


@stream("start-from-first-frame", "reset", "a stream begins with a copy of its first frame")
class _FromFirst(ReferenceStream):
    def empty(self, x: Array, depth: int) -> Array:
        return np.repeat(x[:, :, :1], depth, axis=2)


@stream("start-from-garbage", "reset", "a stream begins with memory that was never written")
class _FromGarbage(ReferenceStream):
    def empty(self, x: Array, depth: int) -> Array:
        return np.full((*x.shape[:2], depth, *x.shape[3:]), 1, x.dtype)


@stream("reset-forgotten", "reset", "a reset does nothing")
class _NoReset(ReferenceStream):
    def reset(self) -> None:
        return


@stream("reset-first-only", "reset", "a reset clears the first cache of a network only")
class _FirstReset(ReferenceStream):
    def reset(self) -> None:
        self.caches = {site: cache for site, cache in self.caches.items() if site}


@stream("state-is-a-view", "aliasing", "a saved state changes with the stream")
class _View(ReferenceStream):
    @property
    def state(self) -> Any:
        return self.caches

    @state.setter
    def state(self, saved: Any) -> None:
        self.caches = saved


@stream("state-not-restored", "aliasing", "restoring a state does nothing")
class _NotRestored(ReferenceStream):
    @property
    def state(self) -> Any:
        return None

    @state.setter
    def state(self, saved: Any) -> None:
        return


@stream("state-first-cache", "aliasing", "a state holds the first cache of a network only")
class _FirstCache(ReferenceStream):
    @property
    def state(self) -> Any:
        return {site: cache.copy() for site, cache in self.caches.items() if site == 0}

    @state.setter
    def state(self, saved: Any) -> None:
        self.caches = {**self.caches, **saved}


@stream("streams-share-cache", "stream mix-up", "all streams of a network share one cache")
class _Shared(ReferenceStream):
    latest: ClassVar[dict[Any, dict[int, Array]]] = {}

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        if self.latest.get("owner") is arguments[0]:
            self.caches = self.latest["caches"]
        else:
            self.latest.update(owner=arguments[0], caches=self.caches)

    def reset(self) -> None:
        self.caches.clear()


@stream("chunk-is-a-clip", "chunking", "a chunk of several frames is shifted as a clip of its own")
class _ChunkIsClip(ReferenceStream):
    def cached_shift(self, x: Array, d: Array, fill: str) -> Array:
        if x.shape[2] > 1:
            self.caches.pop(self.site, None)
        return super().cached_shift(x, d, fill)


@stream("stream-late", "causality", "every output comes one frame late")
class _Late(ReferenceStream):
    before: Any = None

    def step(self, chunk: Array) -> Array:
        now = super().step(chunk)
        first = np.zeros_like(now[:, :, :1]) if self.before is None else self.before
        self.before = now[:, :, -1:]
        return np.concatenate([first, now[:, :, :-1]], axis=2)


@stream("stream-bidirectional", "causality", "inside a chunk the offline shift is used")
class _Bidirectional(ReferenceStream):
    def cached_shift(self, x: Array, d: Array, fill: str) -> Array:
        y = super().cached_shift(x, d, fill)
        fold = np.flatnonzero(d)
        y[:, fold, :-1] = x[:, fold, 1:]
        return y


@stream("stream-batch-mixed", "stream mix-up", "clips of a batch read each other's caches")
class _BatchMixed(ReferenceStream):
    def kept(self, window: Array, out: Array, depth: int) -> Array:
        return window[::-1, :, -depth:].copy()


def ring(every: int, name: str) -> None:
    """A ring buffer that loses its content at every so many steps."""

    class Ring(ReferenceStream):
        steps = 0

        def step(self, chunk: Array) -> Array:
            self.steps += chunk.shape[2]
            if self.steps % every == 0:
                self.caches = {}
            return super().step(chunk)

    stream(name, "cache content", f"a ring buffer is empty at every {every}th frame")(Ring)


for _every in (8, 16, 100):
    ring(_every, f"ring-buffer-{_every}")


@stream("buffer-swapped", "cache content", "two buffers that take turns are exchanged at the end")
class _Swapped(ReferenceStream):
    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.other: dict[int, Array] = {}

    def step(self, chunk: Array) -> Array:
        y = super().step(chunk)
        if self.other:
            self.caches, self.other = self.other, self.caches
        else:
            self.other = {site: cache * 0 for site, cache in self.caches.items()}
        return y


@stream("frames-skipped", "chunking", "every second frame is taken, and answered twice")
class _Skipping(ReferenceStream):
    last: Any = None
    steps = 0

    def step(self, chunk: Array) -> Array:
        self.steps += 1
        if self.steps % 2 == 0 and self.last is not None and chunk.shape[2] == 1:
            return np.asarray(self.last)
        y = super().step(chunk)
        self.last = y[:, :, -1:]
        return y


@stream("cache-of-output", "cache content", "a block's cache holds its output of the frame before")
class _CacheOfOutput(ReferenceStream):
    def kept(self, window: Array, out: Array, depth: int) -> Array:
        return (out + window[:, :, depth:])[:, :, -depth:].copy()


@stream("chunk-of-eight", "chunking", "of a chunk only eight frames are shifted")
class _ChunkOfEight(ReferenceStream):
    def cached_shift(self, x: Array, d: Array, fill: str) -> Array:
        y = super().cached_shift(x, d, fill)
        y[:, :, 8:] = x[:, :, 8:]
        return y


@stream("frame-is-a-view", "aliasing", "the cache is a view of the caller's frame")
class _FrameView(ReferenceStream):
    def kept(self, window: Array, out: Array, depth: int) -> Array:
        return self.whole[:, :, -depth:] if self.site == 0 else window[:, :, -depth:].copy()

    def cached_shift(self, x: Array, d: Array, fill: str) -> Array:
        self.whole = x if x.shape[2] >= int(d.max(initial=0)) else x.copy()
        return super().cached_shift(x, d, fill)


@stream("empty-state-forgotten", "aliasing", "restoring the state of an empty stream does nothing")
class _EmptyForgotten(ReferenceStream):
    @property
    def state(self) -> Any:
        return ReferenceStream.state.fget(self)  # type: ignore[attr-defined]

    @state.setter
    def state(self, saved: Any) -> None:
        if saved:
            self.caches = {site: cache.copy() for site, cache in saved.items()}


@stream("buffer-not-zeroed", "reset", "a reset keeps the buffer, which is not zeroed again")
class _NotZeroed(ReferenceStream):
    def reset(self) -> None:
        self.left = self.caches
        self.caches = {}

    def empty(self, x: Array, depth: int) -> Array:
        zeros = super().empty(x, depth)
        old: Array = getattr(self, "left", {}).get(self.site, zeros)
        return old.copy() if old.shape == zeros.shape else zeros


@stream("resized-by-cutting", "reset", "after a reset frames of another size are cut to the first")
class _Cutting(ReferenceStream):
    first: Any = None

    def step(self, chunk: Array) -> Array:
        self.first = self.first or chunk.shape[3:]
        h, w = (min(a, b) for a, b in zip(self.first, chunk.shape[3:], strict=True))
        same = chunk.shape[3:] == self.first
        return super().step(chunk if same else chunk[..., : h - 1, :w].copy())


@stream("fourth-stream", "stream mix-up", "the fourth stream begins with what the first has kept")
class _Fourth(ReferenceStream):
    made: ClassVar[list[Any]] = []

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        if self.made and self.made[0].owner is not arguments[0]:
            self.made.clear()
        self.owner = arguments[0]
        self.made.append(self)
        if len(self.made) % 4 == 0:
            self.caches = {k: v.copy() for k, v in self.made[-4].caches.items()}


@stream("third-stream", "stream mix-up", "a network's third stream goes on where its first is")
class _Third(ReferenceStream):
    made: ClassVar[list[Any]] = []

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        if self.made and self.made[0].weights is not self.weights:
            self.made.clear()  # another question
        self.made.append(self)
        if self.subject != "temporal_shift" and len(self.made) == 3:
            self.caches = {k: v.copy() for k, v in self.made[0].caches.items()}


@stream("network-wraps-at-64", "cache content", "buffers of a network wrap after 64 frames")
class _Wraps(ReferenceStream):
    seen = 0

    def step(self, chunk: Array) -> Array:
        self.seen += chunk.shape[2]
        if self.subject != "temporal_shift" and self.seen > 64:
            self.caches, self.seen = {}, 0
        return super().step(chunk)


@stream("stream-of-another-training", "cache slice", "the stream shifts the second fold", "online")
class _AnotherTraining(ReferenceStream):
    def cached_shift(self, x: Array, d: Array, fill: str) -> Array:
        return super().cached_shift(x, np.roll(d, int(np.sum(d))), fill)
