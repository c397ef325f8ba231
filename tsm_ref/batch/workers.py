"""Clips to outcomes: one after the other in this process, or side by side in several.

Every process loads the model once. One that dies (killed for its memory, or by a decoder) takes
only the clip with it that it was at: those that were under way are tried again, each alone.
"""

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from tsm_ref.batch.lists import Clip
from tsm_ref.batch.recipe import Outcome, Recipe, stamp_of
from tsm_ref.errors import UsageError, WriteError
from tsm_ref.model import Model
from tsm_ref.profile import Profile
from tsm_ref.system import patience

__all__ = ["outcomes"]

PATIENCE = 5.0
"""Seconds that a process has to end when its pool is broken."""
_loaded: tuple[Recipe, Model, Profile] | None = None
"""What this worker process runs; set once, when it starts."""


def outcomes(
    recipe: Recipe, model: Model, profile: Profile, clips: Sequence[Clip], workers: int = 1
) -> Iterator[Outcome]:
    """What comes of every clip, as soon as it is known; in order with one worker.

    ``model`` and ``profile`` are those of ``recipe.load()``, for the process that runs this.
    """
    if workers == 1 or len(clips) < 2:
        for clip in clips:
            yield recipe.outcome(model, profile, clip)
        return
    rest = list(clips)
    while rest:
        suspects = yield from _side_by_side(recipe, rest, min(workers, len(rest)))
        for clip in suspects:
            yield from _alone(recipe, clip)


def _side_by_side(
    recipe: Recipe, rest: list[Clip], workers: int
) -> Generator[Outcome, None, list[Clip]]:
    """Take clips off `rest` until it is empty or a worker dies; returns those under way then."""
    under_way: dict[Future[Outcome], Clip] = {}
    pool = _pool(recipe, workers)
    try:
        while rest or under_way:
            while rest and len(under_way) < 2 * workers:
                under_way[pool.submit(_one, rest[0])] = rest[0]
                rest.pop(0)
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                outcome = future.result()
                del under_way[future]
                yield outcome
    except BrokenProcessPool:
        finished = [future for future in under_way if future.done() and not future.exception()]
        for future in finished:
            del under_way[future]
            yield future.result()
        return list(under_way.values())
    finally:
        _stop(pool)
    return []


def _alone(recipe: Recipe, clip: Clip) -> Iterator[Outcome]:
    pool = _pool(recipe, 1)
    processes: list[Any] = []
    try:
        coming = pool.submit(_one, clip)
        processes = list(pool._processes.values())
        yield coming.result()
    except BrokenProcessPool:
        said = "the process that read it died: too little memory, or a fault in a decoder"
        for process in processes:
            process.join(PATIENCE)
            if process.exitcode == patience.STUCK:
                said = patience.sentence(patience.limit())
        yield Outcome(clip.path, stamp_of(clip.path), error=said, code=3)
    finally:
        _stop(pool)


def _pool(recipe: Recipe, workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(recipe.alone(), patience.limit()),
    )


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the workers without waiting for clips that nobody wants any more."""
    processes = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()


def _start(recipe: Recipe, seconds: float) -> None:
    """Load the model. Ctrl-C is for the process that started this one, whose end is this one's.

    A decoder that takes more `seconds` for one step ends this process, too.
    """
    global _loaded
    patience.let(seconds)
    patience.watch(lambda said: os._exit(patience.STUCK))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with warnings.catch_warnings(action="ignore"):  # the process that started this one says it
        _loaded = (recipe, *recipe.load())


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _one(clip: Clip) -> Outcome:
    if _loaded is None:  # pragma: no cover - the pool starts no worker without `_start`
        raise RuntimeError("this worker has no model")
    recipe, model, profile = _loaded
    try:
        return recipe.outcome(model, profile, clip)
    except WriteError as error:  # kinds with arguments of their own cannot be sent
        raise WriteError(str(error)) from None
    except UsageError as error:
        raise UsageError(str(error)) from None
