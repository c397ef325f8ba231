"""As many BLAS threads as were asked for, while an engine runs and no longer."""

import importlib.util
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tsm_ref.engine import make_engine
from tsm_ref.engine.on_numpy import blas
from tsm_ref.engine.on_numpy.blas import BlasThreads
from tsm_ref.engine.stream.stream import Stream
from tsm_ref.models import build_mobilenet_v2, random_weights
from tsm_ref.profile import ShiftRule

WAYS = {
    "threadpoolctl": pytest.param(
        "threadpoolctl",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("threadpoolctl") is None, reason="threadpoolctl is missing"
        ),
    ),
    "without": pytest.param("without"),
}


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def library(request, monkeypatch):
    """A library whose number of threads is 3, found in either way."""
    if request.param == "without":
        monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    blas.libraries.cache_clear()
    known = blas.libraries()
    if not known:
        pytest.skip("this NumPy has no BLAS library that can be told")
    before = known[0].get()
    known[0].set(3)
    yield known[0]
    known[0].set(before)
    blas.libraries.cache_clear()


def test_a_block_holds_the_number_and_gives_it_back(library):
    with BlasThreads(1):
        assert library.get() == 1
        with BlasThreads(2):
            assert library.get() == 2
    assert library.get() == 3
    with pytest.raises(KeyboardInterrupt), BlasThreads(1):
        raise KeyboardInterrupt
    assert library.get() == 3


def test_blocks_of_several_threads_may_overlap(library):
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with BlasThreads(1):
            inside.set()
            leave.wait(60)

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(hold)
        assert inside.wait(60)
        with BlasThreads(2):
            leave.set()
            held.result()
            assert library.get() == 2
    assert library.get() == 3


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("way", ["a clip", "a stream"])
def test_an_engine_takes_the_threads_that_it_is_given(library, threads, way, monkeypatch):
    graph = build_mobilenet_v2(num_classes=3, width=0.35, shift=ShiftRule("online"))
    engine, seen = make_engine(graph, random_weights(graph), "numpy", threads), set()
    real = engine.table["Linear"]

    def watched(node, inputs, y):
        step = real(node, inputs, y)
        return lambda: (seen.add(library.get()), step())

    monkeypatch.setitem(engine.table, "Linear", watched)
    x = np.zeros((1, 3, 2, 32, 32), np.float32)
    if way == "a clip":
        engine.run({"x": x})
    else:
        Stream(engine).steps(x)
    assert seen == {threads}
    assert library.get() == 3


BUSY = """
import os, numpy as np, tsm_ref

def seconds():
    found = {}
    for task in os.listdir("/proc/self/task"):
        fields = open(f"/proc/self/task/{task}/stat").read().rpartition(")")[2].split()
        found[int(task)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found

model = tsm_ref.build("resnet18", num_classes=5, engine="numpy")
x = np.zeros((1, 3, 8, 112, 112), np.float32)
model(x)
before = seconds()
for _ in range(5):
    model(x)
spent = {task: s - before.get(task, 0) for task, s in seconds().items()}
mine = spent.pop(os.getpid())
print(mine > 0.1, sum(spent.values()) < 0.1 * mine)
"""
"""Whether one thread does all the work, by the seconds that each thread of the process took."""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_one_thread_means_one_thread():
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "4"}
    done = subprocess.run(
        [sys.executable, "-c", BUSY], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "True"]
