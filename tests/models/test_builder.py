"""The builder of graphs: names, channels and parameters of what it adds."""

import pytest

from tsm_ref.errors import GraphError
from tsm_ref.models.builder import Builder
from tsm_ref.profile import ShiftRule


@pytest.fixture
def b() -> Builder:
    builder = Builder("b")
    builder.input("x", ("N", 6, "T", "H", "W"))
    return builder


def test_a_convolution_names_its_parameters_as_pytorch_does(b):
    y = b.conv("x", "conv", 8, kernel=3, stride=2, padding=1, groups=2, bias=True)
    g = b.graph([y])
    assert g.parameters == {"conv.weight": (8, 3, 1, 3, 3), "conv.bias": (8,)}
    assert g.node["conv"].attrs == {
        "strides": (1, 2, 2),
        "pads": (0, 1, 1, 0, 1, 1),
        "group": 2,
    }
    assert b.channels(y) == 8


def test_a_batch_norm_has_four_parameters_of_which_two_are_measured(b):
    g = b.graph([b.batch_norm("x", "bn")])
    roles = ("weight", "bias", "running_mean", "running_var")
    assert list(g.parameters) == [f"bn.{role}" for role in roles]
    assert g.statistics == {"bn.running_mean", "bn.running_var"}
    assert g.node["bn"].inputs[1:] == tuple(g.parameters)


def test_a_shift_that_moves_nothing_is_not_there(b):
    assert b.shift("x", "shift", ShiftRule("none")) == "x"
    assert b.shift("x", "shift", ShiftRule("mit", 8)) == "x"
    assert b.shift("x", "shift", ShiftRule("mit", 3)) == "shift"
    assert b.graph(["shift"]).node["shift"].attrs["d"] == (-1, -1, 1, 1, 0, 0)


def test_a_head_averages_logits_of_frames(b):
    g = b.graph([b.head("x", "fc", 4)])
    assert [n.op for n in g.nodes] == ["GlobalAveragePool", "Flatten", "Linear", "Consensus"]
    assert g.parameters == {"fc.weight": (4, 6), "fc.bias": (4,)}
    assert g.frame_logits == "fc"


def test_a_name_is_given_once(b):
    b.relu("x", "relu")
    b.relu("x", "relu")
    with pytest.raises(GraphError, match="the name is taken"):
        b.graph(["relu"])


def test_relu6_is_a_clip(b):
    g = b.graph([b.relu6("x", "y")])
    assert (g.node["y"].op, g.node["y"].attrs) == ("Clip", {"min": 0.0, "max": 6.0})
