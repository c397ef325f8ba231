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
