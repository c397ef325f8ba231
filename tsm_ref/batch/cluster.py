"""The clips of a batch as tasks of Dask distributed: the same outcomes on other machines.

Every worker loads the model once. The scheduler gives the clips of a worker that is lost to the
others; a clip that has taken several workers with it is reported instead of tried again. Paths must
mean the same files on every machine.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

from tsm_ref.batch.lists import Clip
from tsm_ref.batch.recipe import Outcome, Recipe, stamp_of
from tsm_ref.errors import MissingDependency, UsageError, WriteError
from tsm_ref.model import Model
from tsm_ref.profile import Profile

__all__ = ["outcomes_on"]

WAIT = "10s"
"""How long a scheduler may take to answer."""
ATTEMPTS = 3
"""How often a client is started that does not start in its time."""
AHEAD = 4
"""Clips that are under way for each thread of a worker: the next is there when one is done."""

_lock = threading.Lock()
_loaded: dict[str, tuple[Model, Profile]] = {}
"""What this worker has loaded, by recipe."""


def outcomes_on(
    scheduler: str, recipe: Recipe, model: Model, clips: Sequence[Clip], workers: int = 1
) -> Iterator[Outcome]:
    """What comes of every clip, as soon as it is known.

    ``scheduler`` is an address such as ``tcp://host:8786``, or "local" for a cluster of `workers`
    processes on this machine. ``model`` is that of ``recipe.load()`` here.

    Raises `UsageError` where there is no scheduler, or where a worker has another model under the
    same name; `MissingDependency` without the package distributed.
    """
    sent = replace(recipe, engine=model.engine.name)
    with _client(scheduler, workers) as client:
        from distributed import as_completed

        rest = iter(clips)
        places = max(1, sum(client.nthreads().values())) * AHEAD
        under_way: dict[Any, Clip] = {}

        def submit(count: int) -> list[Any]:
            made = []
            for clip in islice(rest, count):
                future = client.submit(_one, sent, model.sha256, clip, pure=False)
                under_way[future] = clip
                made.append(future)
            return made

        coming = as_completed(submit(places))
        for future in coming:
            yield _outcome(future, under_way.pop(future))
            for more in submit(1):
                coming.add(more)


def _outcome(future: Any, clip: Clip) -> Outcome:
    from distributed import KilledWorker

    try:
        found: Outcome = future.result()
    except KilledWorker:
        said = "the workers that read it died: too little memory, or a fault in a decoder"
        return Outcome(clip.path, stamp_of(clip.path), error=said, code=3)
    return found


@contextmanager
def _client(scheduler: str, workers: int) -> Iterator[Any]:
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise MissingDependency("distributed", "run on several machines") from None
    if scheduler == "local":
        with (
            LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=50
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    with _connected(Client, scheduler) as client:
        yield client


def _connected(connect: Callable[..., Any], scheduler: str) -> Any:
    """A client of a scheduler.

    Before it connects it starts a thread of its own, waits ten seconds for that and then asserts
    that it runs: a busy machine may need longer, so this is tried again.
    """
    for _ in range(ATTEMPTS):
        try:
            return connect(scheduler, timeout=WAIT)
        except AssertionError:
            continue
        except (OSError, ValueError) as error:
            said = " ".join(str(error).split())[:200]
            raise UsageError(f"there is no scheduler at {scheduler!r}: {said}") from None
    raise UsageError("this machine is too busy to start a client of Dask")


def _one(recipe: Recipe, sha256: str, clip: Clip) -> Outcome:
    """One clip in a worker, which loads the model when it sees the first."""
    key = repr(recipe)
    with _lock:
        if key not in _loaded:
            _loaded[key] = recipe.load()
        model, profile = _loaded[key]
    if model.sha256 != sha256:
        raise UsageError(f"a worker has another file under the name {recipe.model!r}")
    try:
        return recipe.outcome(model, profile, clip)
    except WriteError as error:  # kinds with arguments of their own cannot be sent
        raise WriteError(str(error)) from None
    except UsageError as error:
        raise UsageError(str(error)) from None
