"""Equalisation leaves what is computed as it was, and brings channels to like ranges."""

import numpy as np
import pytest

from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.models import build_mobilenet_v2, build_resnet, random_weights
from tsm_ref.models.resnet import ResNetSpec
from tsm_ref.passes.fold_batch_norm import fold_batch_norm
from tsm_ref.quantization.equalise import equalised, pairs
from tsm_ref.quantization.place import layers_of
from tsm_ref.quantization.ranges import observed


@pytest.fixture(params=["mobile", "residual"])
def network(request, rng):
    if request.param == "mobile":
        graph = build_mobilenet_v2(num_classes=3, width=0.35)
    else:
        graph = build_resnet(ResNetSpec((1, 1), width=16), num_classes=3)
    weights = random_weights(graph)
    for name, value in weights.items():  # channels of very different reach
        if name.endswith("bn1.weight") or ".1.weight" in name:
            weights[name] = value * np.float32(10) ** rng.uniform(-1, 1, value.shape).astype("f4")
    graph, weights = fold_batch_norm(graph, weights)
    clips = [{"x": rng.standard_normal((1, 3, 4, 32, 32)).astype(np.float32)} for _ in range(2)]
    reads = sorted({node.inputs[0] for node in layers_of(graph)} - {"x"})
    engine = NumpyEngine(graph.with_outputs([*graph.outputs, *reads]), weights)
    return graph, weights, clips, observed(engine.run, reads, clips)


def test_the_logits_are_the_same(network):
    graph, weights, clips, seen = network
    made, changed = equalised(graph, weights, seen)
    for clip in clips:
        before = NumpyEngine(graph, weights).run(clip)["consensus"]
        after = NumpyEngine(made, changed).run(clip)["consensus"]
        np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-4 * np.abs(before).max())


def test_the_channels_of_a_depthwise_layer_reach_equally_far(network):
    graph, weights, clips, seen = network
    made, changed = equalised(graph, weights, seen)
    reads = [second.inputs[0] for _, second, _ in pairs(graph) if second.attr("group") > 1]
    engine = NumpyEngine(made.with_outputs(reads or made.outputs), changed)
    after = observed(engine.run, reads, clips)
    for name in reads:
        spoke = seen[name].largest > seen[name].largest.max() / 64
        assert np.ptp(after[name].largest[spoke]) <= 1e-3 * after[name].largest.max()


def test_a_value_that_others_read_is_left_alone():
    graph = build_resnet(ResNetSpec((1, 1), width=16), num_classes=3)
    graph, _ = fold_batch_norm(graph, random_weights(graph))
    firsts = {first.name for first, _, _ in pairs(graph)}
    assert "layer1.0.bn1" in firsts
    assert "bn1" not in firsts  # the shortcut reads it too
