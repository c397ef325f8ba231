"""Layers without weights, and convolutions of single channels and groups, in kernels."""

import numpy as np
import pytest

from tests.judging import U32, assert_within, written_out
from tsm_ref.engine.on_numba.engine import NumbaEngine
from tsm_ref.engine.oracle import run_with_bound
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.models import random_weights

FRAMES, HEIGHT, WIDTH = 6, 9, 12
D = tuple([-1] * 5 + [2] * 20 + [0] * 11)


def node(op, *inputs, **attrs):
    return Node(op.lower(), op, inputs or ("x",), attrs)


NODES = {
    "a sum": node("Add", "x", "z"),
    "a product with a gate, which comes first": node("Mul", "gate", "x"),
    "a product with a mask": node("Mul", "x", "mask"),
    "relu": node("Relu"),
    "clip": node("Clip", min=-0.5, max=0.75),
    "leaky relu": node("LeakyRelu", alpha=0.3),
    "hard swish": node("HardSwish"),
    "hard sigmoid": node("HardSigmoid"),
    "tanh": node("Tanh"),
    "sigmoid": node("Sigmoid"),
    "batch normalisation": node("BatchNormalization", "x", "g", "b", "m", "v"),
    "attention mask": node("AttentionMask", "positive"),
    "concat": node("Concat", "wide", "x"),
    "flatten, channels fastest": node("Flatten", "wide", order="HWC"),
    **{
        f"shift, {fill}": node("TemporalShift", d=D, fill=fill)
        for fill in ("zero", "replicate", "circular")
    },
    "shift in segments": node("TemporalShift", d=D, segment=2),
    **{
        f"depthwise {size}, {fill}, stride {stride}": node(
            "FusedConv", "x", f"w{size}", "b", *residual,
            group=36, d=D, fill=fill, strides=(1, stride, stride), activation=activation,
            pads=(0, size // 2, size // 2) * 2,
        )
        for size, stride, fill, activation, residual in [
            (1, 1, "zero", "", ()), (3, 1, "zero", "Relu", ("z",)), (3, 2, "circular", "", ()),
            (5, 1, "replicate", "HardSwish", ("z",)), (5, 2, "zero", "Tanh", ()),
            (7, 1, "zero", "Relu", ()),
        ]
    },
    **{
        f"{group} groups": node(
            "FusedConv", "wide", f"g{group}", "c", *residual,
            group=group, pads=(0, 1, 1) * 2, activation="Relu", strides=(1, stride, stride),
            d=(1,) * 9 + (0,) * 23,
        )
        for group, stride, residual in [(2, 1, ("wide",)), (8, 2, ()), (4, 1, ())]
    },
}  # fmt: skip
PARAMETERS = {
    **dict.fromkeys(("g", "b", "m", "v"), (36,)),
    "c": (32,),
    **{f"w{size}": (36, 1, 1, size, size) for size in (1, 3, 5, 7)},
    **{f"g{group}": (32, 32 // group, 1, 3, 3) for group in (2, 4, 8)},
}
VALUES = {
    "x": (36, "T", HEIGHT, WIDTH),
    "z": (36, "T", HEIGHT, WIDTH),
    "gate": (36, "T", 1, 1),
    "mask": (1, 1, HEIGHT, WIDTH),
    "positive": (1, "T", HEIGHT, WIDTH),
    "wide": (32, "T", HEIGHT, WIDTH),
}


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("frames", [FRAMES, 2])
def test_a_layer_in_kernels_is_within_the_bound_of_the_oracle(name, frames, rng):
    made = NODES[name]
    used = [value for value in VALUES if value in made.inputs]
    graph = Graph(
        "one",
        tuple(Input(value, ("N", *VALUES[value])) for value in used),
        (made,),
        (made.name,),
        {p: shape for p, shape in PARAMETERS.items() if p in made.inputs},
    )
    weights = random_weights(graph)
    values = {
        value: rng.uniform(0.1, 1, (2, *(frames if s == "T" else s for s in VALUES[value])))
        for value in used
    }
    values = {key: value.astype(np.float32) for key, value in values.items()}
    if "positive" not in used:
        values = {key: value * 4 - 2 for key, value in values.items()}
    expected = run_with_bound(written_out(graph), weights, values, u=U32)[made.name]
    results = []
    for threads in (1, 2):
        engine = NumbaEngine(graph, weights, threads)
        results.append(engine.run(values)[made.name])
        assert engine.fallbacks() == []
    assert_within(results[0], expected)
    assert results[0].tobytes() == results[1].tobytes()


@pytest.mark.parametrize("size", [9, 14, 20, 28])
def test_what_has_no_kernel_is_the_same_on_two_threads(size, rng):
    """Groups that fill no blocks: sums of a BLAS depend on how many threads it may use."""
    made = node("FusedConv", "x", "w", "b", group=2, pads=(1, 1, 1) * 2)
    graph = Graph(
        "grouped", (Input("x", ("N", 66, "T", "H", "W")),), (made,), (made.name,),
        {"w": (66, 33, 3, 3, 3), "b": (66,)},
    )  # fmt: skip
    weights = random_weights(graph)
    x = rng.standard_normal((1, 66, 4, size, size)).astype(np.float32)
    results = []
    for threads in (1, 2):
        engine = NumbaEngine(graph, weights, threads)
        results.append(engine.run({"x": x})[made.name].tobytes())
        assert engine.fallbacks() == [made.name]
    assert results[0] == results[1]
