"""The passes together: what engines run computes what the graph says, in float32 too."""

import numpy as np
import pytest

from tests.judging import U32, assert_all_within, written_out
from tsm_ref.engine.oracle import run_oracle, run_with_bound
from tsm_ref.models import RESNETS, build_mobilenet_v2, build_resnet, random_weights
from tsm_ref.passes import fold_batch_norm, fuse, optimize

NETWORKS = {
    "resnet18": build_resnet(RESNETS["resnet18"], num_classes=5),
    "resnet50, in place": build_resnet(RESNETS["resnet50"], num_classes=5, placement="block"),
    "mobilenetv2": build_mobilenet_v2(num_classes=5, width=0.35),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_optimised_network_is_within_the_bound_of_the_network(name):
    graph = NETWORKS[name]
    weights = random_weights(graph, 1)
    x = {"x": np.random.default_rng(0).standard_normal((1, 3, 3, 40, 48)).astype(np.float32)}
    result, made = optimize(graph, weights)
    assert result.outputs == graph.outputs
    after = run_oracle(written_out(result), made, x)
    assert_all_within(after, run_with_bound(graph, weights, x, U32))


def test_batch_norms_are_folded_before_anything_is_fused():
    graph = NETWORKS["resnet18"]
    weights = random_weights(graph)
    assert optimize(graph, weights)[0] == fuse(*fold_batch_norm(graph, weights))[0]


def test_values_that_are_asked_for_keep_their_names():
    graph = NETWORKS["mobilenetv2"].with_outputs(
        ["features.3.shift", "features.3.add", "consensus"]
    )
    result, _ = optimize(graph, random_weights(graph))
    assert result.outputs == graph.outputs
    assert result.node["features.3.shift"].op == "TemporalShift"
