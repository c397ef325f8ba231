"""A model goes where work goes: into threads, processes, copies and event loops."""

import asyncio
import copy
import multiprocessing
import os
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

import tsm_ref
from tsm_ref.checkpoint import FileView
from tsm_ref.model.file_form import FileForm

X = np.random.default_rng(3).standard_normal((1, 3, 8, 64, 64)).astype(np.float32)

KINDS = [("numpy", 1), ("numba", 2)]
FORK = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks safely")


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: f"{kind[0]} {kind[1]}")
def model(request):
    engine, threads = request.param
    return tsm_ref.load("camera-motion", engine=engine, threads=threads)


def logits(model):
    return model(X).tobytes()


@pytest.mark.parametrize("method", ["spawn", pytest.param("fork", marks=FORK)])
def test_processes(model, method):
    expected = logits(model)
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        assert list(pool.map(logits, [model] * 2, timeout=300)) == [expected] * 2


def test_a_pickled_model_is_the_same_model(model):
    twin = pickle.loads(pickle.dumps(model))
    assert (twin.name, twin.sha256, twin.profile) == (model.name, model.sha256, model.profile)
    assert twin.graph == model.graph
    assert twin.digest() == model.digest()
    assert twin.engine.name == model.engine.name
    assert logits(twin) == logits(model)


def test_a_pickled_model_needs_no_file(tmp_path):
    path = tmp_path / "m.h5"
    tsm_ref.save(tsm_ref.load("camera-motion"), path)
    held = pickle.dumps(tsm_ref.load(path, engine="numpy"))
    path.unlink()
    assert np.isfinite(pickle.loads(held)(X)).all()


def test_a_foreign_file_keeps_its_form():
    source = tsm_ref.build("mobilenetv2", num_classes=3, width=0.35, engine="numpy")
    frames = (("N", "T"), ("C",), ("H",), ("W",))
    inputs = [FileView("input", "x", (8, 3, 64, 64), frames, "NCTHW", {"T": 8})]
    outputs = [FileView("logits", "consensus", (1, 3), (("N",), ("K",)), "NK", {})]
    form = partial(FileForm.on, source.graph, inputs, outputs, [])
    model = tsm_ref.Model(source.graph, lambda: source.weights, source.profile, form=form)
    given = {"input": np.ascontiguousarray(X[0].swapaxes(0, 1))}
    expected = model.run(given)["logits"]
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert twin.form.engine is twin.engine is not model.engine
        np.testing.assert_array_equal(twin.run(given)["logits"], expected)


def test_threads_and_event_loops(model):
    expected = logits(model)

    async def several():
        return await asyncio.gather(*(asyncio.to_thread(logits, model) for _ in range(4)))

    assert asyncio.run(several()) == [expected] * 4
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(logits, [model] * 8)) == [expected] * 8


def test_a_deep_copy_runs_beside_its_model(model):
    twin = copy.deepcopy(model)
    assert twin.engine is not model.engine
    assert twin.engine.plans.turn is not model.engine.plans.turn
    with model.engine.plans.turn, ThreadPoolExecutor(1) as pool:
        assert pool.submit(logits, twin).result(300) == logits(model)


def in_child(work, seconds=120):
    """The exit status of a forked child that does some work, killed if it takes too long."""
    context = multiprocessing.get_context("fork")
    child = context.Process(target=work)
    child.start()
    child.join(seconds)
    alive = child.is_alive()
    if alive:
        child.kill()
        child.join()
    return "hangs" if alive else child.exitcode


@FORK
def test_a_forked_child_can_use_a_model_that_was_used(model):
    expected = logits(model)

    def work():
        os._exit(0 if logits(model) == expected else 1)

    assert in_child(work) == 0
    assert logits(model) == expected


@FORK
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_child_forked_while_another_thread_runs(model):
    expected, stop = logits(model), []

    def work():
        os._exit(0 if logits(model) == expected else 1)

    def run():
        while not stop:
            logits(model)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        try:
            assert [in_child(work) for _ in range(6)] == [0] * 6
        finally:
            stop.append(True)
        running.result(120)
