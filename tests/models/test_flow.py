"""The first filters of a network of flow."""

import numpy as np
import pytest

from tsm_ref.models import RESNETS, build_resnet, flow_filters


def test_filters_of_pictures_become_filters_of_flow(rng):
    """The mean over the colours, ten times: flow of one value gives what a grey picture does."""
    weight = rng.normal(size=(64, 3, 1, 7, 7)).astype(np.float32)
    flow = flow_filters(weight)
    graph = build_resnet(RESNETS["resnet50"], num_classes=400, in_channels=10)
    assert flow.shape == graph.parameters["conv1.weight"]
    assert graph.parameter_count == 24_327_632 + 7 * 64 * 49
    np.testing.assert_allclose(flow.sum(1) * 3 / 10, weight.sum(1), rtol=1e-5, atol=1e-6)
    assert (flow == flow[:, :1]).all()


def test_what_makes_no_filters():
    with pytest.raises(ValueError, match="makes no filters of 0 channels"):
        flow_filters(np.zeros((1, 3), np.float32), 0)
