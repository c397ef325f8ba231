"""Lifetimes and places in the arena: nothing alive is written over, and what is dead is reused."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import graphs
from tsm_ref.engine.arena import ALIGNMENT, lifetimes, memory_of, place
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.models import RESNETS, build_mobilenet_v2, build_resnet, build_ts_can, random_weights
from tsm_ref.passes import optimize


def relus(*links: tuple[str, str], outputs: tuple[str, ...]) -> Graph:
    nodes = tuple(Node(name, "Relu", (x,)) for name, x in links)
    return Graph("g", (Input("x", ("N", 1)),), nodes, outputs, {})


def test_a_value_lives_from_its_maker_to_its_last_reader():
    nodes = (
        Node("a", "Relu", ("x",)),
        Node("b", "Relu", ("a",)),
        Node("c", "Add", ("a", "b")),
        Node("unread", "Relu", ("x",)),
        Node("d", "Relu", ("c",)),
    )
    graph = Graph("g", (Input("x", ("N", 1)),), nodes, ("d", "b"), {})
    assert lifetimes(graph) == {
        "x": (-1, 3),
        "a": (0, 2),
        "b": (1, 5),
        "c": (2, 4),
        "unread": (3, 3),
        "d": (4, 5),
    }


def overlapping(sizes, alive, arena) -> list[tuple[str, str]]:
    """The pairs that are needed at one moment and share a byte."""
    return [
        (a, b)
        for a, b in combinations(sizes, 2)
        if not (alive[a][1] < alive[b][0] or alive[b][1] < alive[a][0])
        and arena.offsets[a] < arena.offsets[b] + sizes[b]
        and arena.offsets[b] < arena.offsets[a] + sizes[a]
    ]


@st.composite
def blocks(draw):
    count = draw(st.integers(1, 25))
    starts = [draw(st.integers(0, 20)) for _ in range(count)]
    alive = {f"v{i}": (s, s + draw(st.integers(0, 8))) for i, s in enumerate(starts)}
    return {name: draw(st.integers(1, 2000)) for name in alive}, alive


@given(blocks())
def test_no_two_blocks_that_live_together_overlap(drawn):
    sizes, alive = drawn
    arena = place(sizes, alive)
    assert overlapping(sizes, alive, arena) == []
    assert all(offset % ALIGNMENT == 0 for offset in arena.offsets.values())
    assert all(arena.offsets[n] + sizes[n] <= arena.size for n in sizes)
    together = max(
        sum(size for n, size in sizes.items() if alive[n][0] <= step <= alive[n][1])
        for step in range(30)
    )
    assert arena.size >= together


@given(graphs())
def test_no_two_live_values_of_a_network_overlap(drawn):
    graph, shapes = drawn
    fused, _ = optimize(graph, random_weights(graph))
    found = fused.shapes(shapes)
    names = [*(entry.name for entry in fused.inputs), *(node.name for node in fused.nodes)]
    sizes = {name: 4 * _count(found[name][1:]) for name in names}
    assert overlapping(sizes, lifetimes(fused), place(sizes, lifetimes(fused))) == []


def test_overlaps_would_be_seen():
    sizes, alive = {"a": 100, "b": 100}, {"a": (0, 1), "b": (1, 2)}
    arena = place(sizes, {"a": (0, 0), "b": (1, 2)})
    assert overlapping(sizes, alive, arena) == [("a", "b")]


def test_a_chain_needs_two_places_however_long_it_is():
    names = [f"v{i}" for i in range(50)]
    links = zip(names, ["x", *names], strict=False)
    graph = relus(*links, outputs=(names[-1],))
    arena = place(dict.fromkeys(["x", *names], 640), lifetimes(graph))
    assert arena.size == 2 * 640


def test_an_output_is_never_written_over():
    graph = relus(("a", "x"), ("b", "a"), ("c", "b"), ("d", "c"), outputs=("a", "d"))
    sizes = dict.fromkeys("xabcd", 64)
    arena = place(sizes, lifetimes(graph))
    assert all(arena.offsets[name] != arena.offsets["a"] for name in "bcd")


@pytest.mark.parametrize(
    ("graph", "shapes", "share"),
    [
        (build_resnet(RESNETS["resnet50"], num_classes=400), {"x": (1, 3, 8, 224, 224)}, 0.25),
        (build_resnet(RESNETS["resnet101"], num_classes=400), {"x": (1, 3, 8, 224, 224)}, 0.16),
        (build_mobilenet_v2(num_classes=27), {"x": (1, 3, 8, 224, 224)}, 0.35),
        (
            build_ts_can(),
            {"motion": (1, 3, 40, 36, 36), "appearance": (1, 3, 1, 36, 36)},
            0.6,
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_an_arena_is_much_smaller_than_its_values_together(graph, shapes, share):
    weights = random_weights(graph)
    fused, _ = optimize(graph, weights)
    found = fused.shapes(shapes)
    names = [*(entry.name for entry in fused.inputs), *(node.name for node in fused.nodes)]
    sizes = {name: 4 * _count(found[name][1:]) for name in names}
    arena = place(sizes, lifetimes(fused))
    assert overlapping(sizes, lifetimes(fused), arena) == []
    assert arena.size < share * sum(sizes.values())


def _count(shape) -> int:
    result = 1
    for size in shape:
        result *= size
    return result


def test_what_a_step_needs_besides_overlaps_nothing_that_lives_then():
    graph = relus(("a", "x"), ("b", "a"), ("c", "b"), ("d", "c"), outputs=("d",))
    shapes, steps = dict.fromkeys("xabcd", (1, 16)), [(node,) for node in graph.nodes]
    memory = memory_of(graph, shapes, steps, np.dtype("float32"), {"b": 64, "d": 64})
    for name, room in memory.rooms.items():
        room[:] = 1
        alive = [name, *graph.node[name].inputs]
        assert not any(memory.values[other].any() for other in alive)
        room[:] = 0
    assert len(memory.rooms) == 2
    assert memory.size == 3 * 64  # the rooms lie where values are dead


@pytest.mark.parametrize(("reader", "lies_there"), [("", "a"), ("a", "b"), ("ab", None)])
def test_a_sum_lies_where_an_operand_does_that_nobody_reads_afterwards(reader, lies_there):
    x, y, other = ({f"{role}_scale": 1.0} for role in ("x", "y", "other"))
    whole = {"dtype": "uint8", **y}
    nodes = [Node(name, "QuantizeLinear", ("x",), whole) for name in "ab"]
    nodes += [Node("sum", "QLinearAdd", ("a", "b"), {**x, **other, **whole})]
    nodes += [Node(f"later {name}", "DequantizeLinear", (name,), x) for name in reader]
    nodes += [Node("y", "DequantizeLinear", ("sum",), x)]
    outputs = ("y", *(f"later {name}" for name in reader))
    graph = Graph("g", (Input("x", ("N", 16)),), tuple(nodes), outputs, {})
    shapes = dict.fromkeys(["x", *(node.name for node in nodes)], (1, 16))
    values = memory_of(graph, shapes, [(n,) for n in nodes], np.dtype("float32")).values
    values["sum"][...] = 1
    beside = {name for name in "ab" if values[name].any()}
    assert beside == ({lies_there} if lies_there else set())
