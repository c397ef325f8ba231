"""ECO-Lite: what is published of the whole ECO, and every engine against the oracle."""

from math import prod

import numpy as np

from tests.judging import U32, assert_within
from tsm_ref.engine import make_engine
from tsm_ref.engine.oracle import run_with_bound
from tsm_ref.models import build_bn_inception, build_eco_lite, random_weights
from tsm_ref.profile import ShiftRule


def test_with_the_rest_of_bninception_it_is_the_published_eco() -> None:
    """47.5 M parameters, 64 G multiply-adds of 16 frames (Lin, Gan, Han 2019, table 2).

    The whole ECO classifies the features of both: 1024 and 512.
    """
    lite = build_eco_lite(num_classes=400)
    other = build_bn_inception(num_classes=400, shift=ShiftRule("none"))
    own = {name for name in other.parameters if name not in lite.parameters}
    rest = sum(prod(other.parameters[name]) for name in own - other.statistics)
    assert round((lite.parameter_count + rest + 1024 * 400) / 1e6, 1) == 47.5
    clip = {"x": (1, 3, 16, 224, 224)}
    macs = lite.multiply_adds(clip)
    more = {k: v for k, v in other.multiply_adds(clip).items() if k not in macs}
    assert round((sum(macs.values()) + sum(more.values())) / 1e9) == 64


def test_frames_are_alone_until_the_residual_network_halves_them() -> None:
    graph = build_eco_lite(num_classes=4)
    shapes = graph.shapes({"x": (1, 3, 16, 224, 224)})
    assert shapes["inception_3c_double_3x3_1.relu"] == (1, 96, 16, 28, 28)
    assert [shapes[f"res{i}b"][1:] for i in (3, 4, 5)] == [
        (128, 16, 28, 28), (256, 8, 14, 14), (512, 4, 7, 7)
    ]  # fmt: skip
    kernels = {shape[2] for name, shape in graph.parameters.items() if name.startswith("res")
               and len(shape) == 5}  # fmt: skip
    assert kernels == {3}


def test_both_engines_are_within_the_bound_of_the_oracle(rng: np.random.Generator) -> None:
    graph = build_eco_lite(num_classes=3, width=4)
    weights = random_weights(graph, seed=2)
    clip = {"x": rng.normal(size=(1, 3, 4, 32, 32)).astype(np.float32)}
    wanted = run_with_bound(graph, weights, clip, U32)
    for engine in ("numpy", "numba"):
        found = make_engine(graph, weights, engine).run(clip)
        assert_within(found[graph.outputs[0]], wanted[graph.outputs[0]])
