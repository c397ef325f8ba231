"""Seeded weights: the same everywhere, of every shape, and of a size that keeps a signal alive."""

import numpy as np
import pytest

from tsm_ref.engine.oracle import run_oracle
from tsm_ref.models import RESNETS, build_mobilenet_v2, build_resnet, build_ts_can, random_weights


def test_every_parameter_is_drawn_in_order_in_float32():
    g = build_mobilenet_v2(num_classes=5, width=0.35)
    weights = random_weights(g)
    assert {name: value.shape for name, value in weights.items()} == g.parameters
    assert list(weights) == list(g.parameters)
    assert {value.dtype for value in weights.values()} == {np.dtype(np.float32)}


def test_a_seed_is_a_network():
    g = build_ts_can()
    one, again, other = (random_weights(g, seed) for seed in (1, 1, 2))
    assert all(one[name].tobytes() == again[name].tobytes() for name in one)
    assert all((one[name] != other[name]).any() for name in one)
    # A seed in a bug report must mean the same network elsewhere: the first draw, written down.
    assert one["motion_conv1.weight"][0, 0, 0, 0, 0] == np.float32(0.09405611)


def test_statistics_are_sane():
    g = build_resnet(RESNETS["resnet50"], num_classes=5)
    weights = random_weights(g)
    for name in g.statistics:
        if name.endswith("running_var"):
            assert weights[name].min() > 0.5


@pytest.mark.parametrize("name", ["resnet18", "resnet101"])
def test_a_signal_neither_dies_nor_explodes(name):
    g = build_resnet(RESNETS[name], num_classes=10)
    g = g.with_outputs([f"layer{s}.0.relu" for s in (1, 2, 3, 4)] + ["consensus"])
    x = np.random.default_rng(0).standard_normal((1, 3, 2, 64, 64))
    sizes = [v.std() for v in run_oracle(g, random_weights(g), {"x": x}, np.float32).values()]
    assert all(0.1 < size < 10 for size in sizes)
