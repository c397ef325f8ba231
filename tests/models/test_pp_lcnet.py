"""PP-LCNetV2: its published size and cost, its blocks, its shift and its attention over time."""

import numpy as np
import pytest

from tsm_ref.engine.oracle import run_oracle
from tsm_ref.errors import NotStreamable
from tsm_ref.models import build_pp_lcnet, random_weights
from tsm_ref.models.pp_lcnet import FIXED
from tsm_ref.passes import streaming
from tsm_ref.profile import ShiftRule

SMALL = {"num_classes": 3, "width": 0.25, "depths": (1, 1, 2, 2), "hidden": 16}


def merged(graph, counts):
    """The sum over all nodes, with each sum of windows taken for the one that it can be made."""
    return sum(n for name, n in counts.items() if "_list." not in name or "_list.0" in name)


def test_the_published_size_and_cost():
    """PaddleClas says 6.6 M parameters and 604 M multiply-adds, of which some are not of layers."""
    g = build_pp_lcnet(num_classes=1000)
    sizes = {n: int(np.prod(s)) for n, s in g.parameters.items() if n not in g.statistics}
    assert merged(g, sizes) == pytest.approx(6.6e6, rel=0.01)
    macs = g.multiply_adds({"x": (1, 3, 1, 224, 224)})
    assert merged(g, macs) == pytest.approx(604e6, rel=0.02)


def test_the_stages():
    shapes = build_pp_lcnet(num_classes=400).shapes({"x": (1, 3, 8, 224, 192)})
    last = ["stem.1.pw_conv", "stages.0.1.pw_conv", "stages.1.1.pw_conv", "stages.2.5.pw_conv_2"]
    for i, name in enumerate(last):
        assert shapes[f"{name}.relu"] == (1, 64 << i, 8, 112 >> i, 96 >> i)
    assert shapes["stages.3.1.add"] == (1, 1024, 8, 7, 6)
    assert shapes["fc"] == (1, 400, 8)


def test_windows_are_sums_of_smaller_ones():
    g = build_pp_lcnet(num_classes=400)
    kernels = {
        block: [
            g.parameters[node.inputs[1]][-1]
            for node in g.select("Conv")
            if node.name.startswith(f"{block}.dw_conv")
        ]
        for block in ("stages.1.0", "stages.2.0", "stages.2.1", "stages.3.0", "stages.3.1")
    }
    assert list(kernels.values()) == [[3], [5, 3], [5, 3, 1], [5, 3], [5, 3, 1]]
    reads = {
        name: [node.name for node in g.consumers[name]] for name in ("stages.3.0.pw_conv.relu",)
    }
    assert "stages.3.1.add" in reads["stages.3.0.pw_conv.relu"]


def test_one_shift_stands_in_front_of_the_third_stage():
    g = build_pp_lcnet(num_classes=400)
    (shift,) = g.select("TemporalShift")
    assert shift.attrs["d"] == (1,) * 32 + (-1,) * 32 + (0,) * 192
    assert shift.inputs == ("stages.1.1.pw_conv.relu",)
    readers = [node.name for node in g.consumers[shift.name]]
    assert readers == [f"stages.2.0.dw_conv_list.{i}.conv" for i in range(2)]
    assert streaming(g).delay == 1
    assert not list(build_pp_lcnet(num_classes=4, shift=ShiftRule("none")).select("TemporalShift"))


def test_the_attention_is_a_gate_of_each_frame():
    """Against the formula, from the value in front of it."""
    g = build_pp_lcnet(attention=5, **SMALL)
    before = g.node["attention"].inputs[0]
    w = {n: v.astype(np.float64) for n, v in random_weights(g, seed=2).items()}
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 40, 40))
    found = run_oracle(g.with_outputs([before, "attention"]), w, {"x": x})
    value = found[before]
    logits = value.mean((1, 3, 4)) @ w["attention.fc.weight"][:, 0, :, 0, 0].T
    logits += w["attention.fc.bias"][0, 0, :, 0, 0]
    expected = value / (1 + np.exp(-logits))[:, None, :, None, None]
    np.testing.assert_allclose(found["attention"], expected, rtol=1e-12)
    assert g.inputs[0].shape == ("N", 3, 5, "H", "W")


def test_an_attention_does_not_stream():
    with pytest.raises(NotStreamable, match=r"'attention\.add'"):
        streaming(build_pp_lcnet(attention=8, **SMALL))


def test_what_is_not_learned_is_not_drawn():
    g = build_pp_lcnet(attention=4, **SMALL)
    one, other = (random_weights(g, seed) for seed in (1, 2))
    fixed = {name for name in one if (one[name] == other[name]).all()}
    assert fixed == set(FIXED)
    assert (one["dropout.scale"] == np.float32(0.8)).all()
    assert one["attention.mean.weight"].sum() == 1


def test_depths_are_those_of_four_stages():
    with pytest.raises(
        ValueError, match=r"`depths` \(=\(1, 2\)\) must be one number for each of 4"
    ):
        build_pp_lcnet(num_classes=2, depths=(1, 2))
