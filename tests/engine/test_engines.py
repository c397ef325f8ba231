"""Engines by name, and what both of them must do with any network."""

import copy
import gc
import importlib.util
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given

from tests.judging import U32
from tests.strategies import graphs
from tsm_ref.engine import ENGINES, make_engine
from tsm_ref.engine.oracle import run_with_bound
from tsm_ref.errors import GraphError, MissingDependency, UsageError
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.models import build_ts_can, random_weights

BOTH = ("numba", "numpy")
EVERY = (*BOTH, "loops")


def clips(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def small() -> tuple[Graph, dict[str, np.ndarray]]:
    graph = build_ts_can(filters=(8, 12), hidden=16)
    return graph, random_weights(graph)


def test_engines_by_name(small):
    assert set(ENGINES) == {"auto", "loops", *BOTH}
    assert [make_engine(*small, name).name for name in ENGINES] == ["numba", *ENGINES[1:]]


def test_without_numba_auto_is_numpy(small, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "numba" else real(name)
    )
    assert make_engine(*small).name == "numpy"
    with pytest.raises(MissingDependency, match="the package 'numba' is needed"):
        make_engine(*small, "numba")


def test_without_the_compiler_auto_is_numpy(small, monkeypatch):
    monkeypatch.setattr("tsm_ref.kernels.cache.config.DISABLE_JIT", 1)
    assert make_engine(*small).name == "numpy"
    with pytest.raises(UsageError, match="NUMBA_DISABLE_JIT is set"):
        make_engine(*small, "numba")
    assert make_engine(*small, "loops").name == "loops", "loops are Python then"


@pytest.mark.parametrize(
    ("name", "threads", "message"),
    [("cuda", 1, "there is no engine 'cuda'; known are auto, numba"), ("numpy", 0, "`threads`")],
)
def test_what_is_no_engine(small, name, threads, message):
    with pytest.raises(UsageError, match=message):
        make_engine(*small, name, threads)


@given(graphs())
def test_any_network_is_within_the_bound_on_both(drawn):
    graph, shapes = drawn
    weights = random_weights(graph, 6)
    x = {"x": clips(*shapes["x"])}
    bounded = run_with_bound(graph, weights, x, U32)["consensus"]
    for name in BOTH:
        assert bounded.used(make_engine(graph, weights, name).run(x)["consensus"]) <= 1


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("op", ["Add", "Mul"])
def test_a_stored_operand(name, op):
    """A scale and an offset per channel, as exporters leave them."""
    nodes = (Node("c", "Conv", ("x", "w")), Node("y", op, ("c", "p")))
    inputs = (Input("x", ("N", 8, "T", "H", "W")),)
    graph = Graph("g", inputs, nodes, ("y",), {"w": (20, 8, 1, 1, 1), "p": (1, 20, 1, 1, 1)})
    weights = {name: clips(*shape) for name, shape in graph.parameters.items()}
    x = {"x": clips(2, 8, 3, 6, 5)}
    bounded = run_with_bound(graph, weights, x, U32)["y"]
    assert bounded.used(make_engine(graph, weights, name).run(x)["y"]) <= 1


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(("first", "last"), [(16, 32), (5, 3), (20, 16)])
def test_channels_of_two_values(name, first, last):
    """Whole blocks of channels, and odd numbers of them; behind, in front of, between others."""
    nodes = (
        Node("a", "Conv", ("x", "w")),
        Node("b", "Conv", ("x", "v")),
        Node("c", "Concat", ("a", "b")),
        Node("y", "Conv", ("c", "u")),
        Node("z", "Concat", ("y", "x")),
    )
    sizes = {"w": (first, 8), "v": (last, 8), "u": (7, first + last)}
    parameters = {key: (*size, 1, 1, 1) for key, size in sizes.items()}
    inputs = (Input("x", ("N", 8, "T", "H", "W")),)
    graph = Graph("g", inputs, nodes, ("c", "z"), parameters)
    weights = {key: clips(*shape) for key, shape in parameters.items()}
    x = {"x": clips(2, 8, 3, 6, 5)}
    bounds = run_with_bound(graph, weights, x, U32)
    found = make_engine(graph, weights, name).run(x)
    for key in graph.outputs:
        assert bounds[key].used(found[key]) <= 1


BAD = [
    ({}, "the inputs are"),
    ({"motion": clips(1, 3, 20, 36, 36)}, "the inputs are"),
    ({"motion": clips(1, 3, 20, 36, 36), "appearance": clips(1, 3, 36, 36)}, "'appearance' has"),
    ({"motion": clips(1, 3, 20, 36, 36), "appearance": clips(2, 3, 1, 36, 36)}, "equally many"),
    ({"motion": clips(2, 3, 20, 36, 36), "appearance": clips(1, 3, 1, 36, 36)}, "equally many"),
    ({"motion": clips(1, 3, 19, 36, 36), "appearance": clips(1, 3, 1, 36, 36)}, "19 frames are"),
    ({"motion": clips(1, 3, 20, 36, 36), "appearance": clips(1, 3, 7, 36, 36)}, "combined"),
    (
        {"motion": clips(1, 3, 20, 36, 36) * 1j, "appearance": clips(1, 3, 1, 36, 36)},
        "input 'motion' is complex64; real numbers are expected",
    ),
    (
        {"motion": np.full((1, 3, 20, 36, 36), "a"), "appearance": clips(1, 3, 1, 36, 36)},
        "input 'motion' is <U1; real numbers are expected",
    ),
    ({"motion": [[1, 2], [3]], "appearance": 1}, "input 'motion' has rows of unequal lengths"),
    ({"motion": np.float32(1), "appearance": np.float32(1)}, "input 'motion' has shape"),
    (
        {"motion": clips(0, 3, 20, 36, 36), "appearance": clips(0, 3, 1, 36, 36)},
        "input 'motion' has shape",
    ),
]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(("inputs", "message"), BAD)
def test_inputs_that_do_not_fit_are_named(small, name, inputs, message):
    with pytest.raises(GraphError, match=message):
        make_engine(*small, name).run(inputs)


@pytest.mark.parametrize("name", BOTH)
def test_inputs_of_other_layouts_and_types(small, name):
    engine = make_engine(*small, name)
    x = {"motion": clips(2, 3, 20, 36, 36), "appearance": clips(2, 3, 1, 36, 36)}
    expected = engine.run(x)["pulse"].tobytes()
    for change in (np.asfortranarray, np.float64, lambda v: v[:, ::-1][:, ::-1], np.ndarray.tolist):
        same = {key: change(value) for key, value in x.items()}
        assert engine.run(same)["pulse"].tobytes() == expected


@pytest.mark.parametrize("name", BOTH)
def test_threads_take_turns(small, name):
    engine = make_engine(*small, name)
    given = [{"motion": clips(1, 3, 20, 36, 36) * s, "appearance": clips(1, 3, 1, 36, 36) * s}
             for s in (1, 2, 3, 4)]  # fmt: skip
    expected = [make_engine(*small, name).run(x)["pulse"].tobytes() for x in given]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            found = pool.map(lambda x: engine.run(x)["pulse"].tobytes(), given)
            assert list(found) == expected


@pytest.mark.parametrize(("name", "threads"), [("numpy", 1), ("numba", 1), ("numba", 2)])
def test_a_deep_copy_outlives_its_original(small, name, threads):
    """Plans know arrays and threads of their engine by address: no copy may use them."""
    one, other = ({"motion": clips(1, 3, 20, 36, 36) * s, "appearance": clips(1, 3, 1, 36, 36)}
                  for s in (1, 2))  # fmt: skip
    engine = make_engine(*small, name, threads)
    engine.run(one)
    expected = engine.run(other)["pulse"].tobytes()
    engine.run(one)
    twin = copy.deepcopy(engine)
    assert twin.run(other)["pulse"].tobytes() == expected
    del engine
    gc.collect()
    scribble = [np.full(1 << 16, 255, np.uint8) for _ in range(200)]
    assert twin.run(other)["pulse"].tobytes() == expected
    assert scribble[0][0] == 255
