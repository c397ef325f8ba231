"""Clips as tasks of a real scheduler, with workers that are lost."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.batch.test_run import LABELS, RECIPE, clips, labels, loaded, untimed
from tsm_ref.batch import Clip, Recipe, run_batch
from tsm_ref.errors import UsageError

__all__ = ["clips", "loaded"]
pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("default")  # those of the package are not ours
DASK = [sys.executable, "-m", "dask"]


def _quiet(stack: ExitStack, *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*DASK, *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    stack.enter_context(process)
    stack.callback(process.kill)
    return process


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    """A scheduler and two workers, each a process of its own."""
    with ExitStack() as stack:
        scheduler = _quiet(stack, "scheduler", "--port", "0", "--no-dashboard")
        assert scheduler.stderr
        address = ""
        for line in scheduler.stderr:
            if found := re.search(r"(tcp://[\d.]+:\d+)", line):
                address = found[1]
                break
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard")
        folder = ("--local-directory", str(tmp_path / "dask"))
        workers = [_quiet(stack, "worker", address, *options, *folder) for _ in range(2)]
        from distributed import Client

        with Client(address, timeout="30s") as client:
            client.wait_for_workers(2, timeout=60)
        yield address, workers


def test_a_worker_that_is_lost_costs_nothing(
    cluster: Any, clips: list[Clip], loaded: Any, tmp_path: Path
) -> None:
    address, workers = cluster
    many = [Clip(str(tmp_path / f"{k}-{Path(c.path).name}")) for k in range(4) for c in clips]
    for k, clip in enumerate(many):
        os.link(clips[k % len(clips)].path, clip.path)
    killed: list[float] = []

    def kill(*_: Any) -> None:
        if not killed:
            killed.append(time.time())
            workers[0].send_signal(signal.SIGKILL)

    found = run_batch(RECIPE, many, loaded=loaded, scheduler=address, tell=kill)
    assert killed
    assert workers[0].wait(10) == -signal.SIGKILL
    alone = run_batch(RECIPE, many, loaded=loaded)
    assert untimed(found) == untimed(alone)
    assert labels(found) == LABELS * 4


def test_there_is_no_scheduler(clips: list[Clip], loaded: Any, monkeypatch) -> None:
    monkeypatch.setattr("tsm_ref.batch.cluster.WAIT", "1s")
    for address in ("tcp://127.0.0.1:9", "nonsense"):
        with pytest.raises(UsageError, match="there is no scheduler at"):
            run_batch(RECIPE, clips, loaded=loaded, scheduler=address)


def test_what_is_wrong_with_all_clips_is_raised(cluster: Any, clips: list[Clip], loaded) -> None:
    odd = Recipe("camera-motion", engine="numpy", sampling={"policy": "nonsense"})
    with pytest.raises(UsageError, match="nonsense"):
        run_batch(odd, clips, loaded=loaded, scheduler=cluster[0])


def test_a_client_that_starts_too_slowly_is_started_again(
    cluster: Any, clips: list[Clip], loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask waits ten seconds for a thread of its own, and asserts that it is there."""
    import distributed

    real, starts = distributed.Client, []

    def slow(*args: Any, **kwargs: Any) -> Any:
        starts.append(args)
        if len(starts) < failing:
            raise AssertionError
        return real(*args, **kwargs)

    monkeypatch.setattr(distributed, "Client", slow)
    failing = 3
    assert labels(run_batch(RECIPE, clips, loaded=loaded, scheduler=cluster[0])) == LABELS
    failing = 99
    with pytest.raises(UsageError, match="too busy to start a client"):
        run_batch(RECIPE, clips, loaded=loaded, scheduler=cluster[0])
