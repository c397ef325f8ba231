"""MobileNetV3: its published sizes and costs, its shifts, and what makes Paddle's another one."""

import numpy as np
import pytest

from tsm_ref.engine.oracle import run_oracle
from tsm_ref.models import build_mobilenet_v3, random_weights
from tsm_ref.models.mobilenet_v3 import FORMS, ROWS

PICTURE = {"x": (1, 3, 1, 224, 224)}


@pytest.mark.parametrize(
    ("size", "parameters", "mega"), [("large", 5_483_032, 217), ("small", 2_542_856, 57)]
)
@pytest.mark.parametrize("form", ["torchvision", "timm"])
def test_the_published_size_and_cost(size, parameters, mega, form):
    """torchvision: 5,483,032 and 2,542,856 parameters, 0.22 and 0.06 G multiply-adds."""
    g = build_mobilenet_v3(size, num_classes=1000, form=form)
    assert g.parameter_count == parameters
    assert sum(g.multiply_adds(PICTURE).values()) / 1e6 == pytest.approx(mega, rel=0.01)


@pytest.mark.parametrize(("size", "parameters"), [("large", 4_711_606), ("small", 2_171_358)])
def test_the_size_of_pptsm(size, parameters):
    """With 400 classes, as PaddleVideo's own code counts them; three numbers here are fixed."""
    g = build_mobilenet_v3(size, num_classes=400, form="paddle")
    assert g.parameter_count - 3 == parameters
    assert g.parameters["hidden.weight"][0] == 1280


@pytest.mark.parametrize(
    ("size", "form", "blocks"),
    [
        ("large", "torchvision", (2, 4, 5, 7, 8, 9, 11, 13, 14)),
        ("large", "paddle", (0, 2, 4, 5, 7, 8, 9, 11, 13, 14)),
        ("small", "paddle", (2, 4, 5, 7, 9, 10)),
    ],
)
def test_a_shift_stands_in_front_of_every_expansion_with_a_skip(size, form, blocks):
    """Paddle's first block has an expansion too, and so a shift."""
    g = build_mobilenet_v3(size, num_classes=7, form=form)
    shifts = list(g.select("TemporalShift"))
    assert [node.name for node in shifts] == [f"blocks.{i}.shift" for i in blocks]
    for node in shifts:
        block = node.name.removesuffix("shift")
        assert [reader.name for reader in g.consumers[node.name]] == [f"{block}expand.conv"]
        assert node.inputs[0] in g.node[f"{block}add"].inputs


@pytest.mark.parametrize(
    ("form", "slope"), [("paddle", float(np.float32(0.2))), ("torchvision", 1 / 6)]
)
def test_the_gate_of_a_block(form, slope, rng):
    """Its channels times a hard sigmoid of two layers over their means."""
    g = build_mobilenet_v3("large", num_classes=3, form=form)
    w = {k: v.astype(np.float64) for k, v in random_weights(g, seed=1).items()}
    within = ["blocks.3.depthwise.act", "blocks.3.gate"]
    x = {"x": 3 * rng.normal(size=(1, 3, 2, 64, 48))}
    before, after = (
        run_oracle(g.with_outputs([name]), w, x)[name].astype(np.float64) for name in within
    )
    means = before.mean((3, 4))[0]
    first, last = (w[f"blocks.3.gate.conv{i}.weight"][:, :, 0, 0, 0] for i in (1, 2))
    inner = np.maximum(first @ means + w["blocks.3.gate.conv1.bias"][:, None], 0)
    inner = last @ inner + w["blocks.3.gate.conv2.bias"][:, None]
    gates = np.clip(slope * inner + 0.5, 0, 1)
    np.testing.assert_allclose(after, before * gates[None, :, :, None, None], rtol=1e-9, atol=1e-9)
    assert gates.std() > 0.05


def test_what_is_no_size_or_form():
    with pytest.raises(ValueError, match="must be one of large, small"):
        build_mobilenet_v3("tiny", num_classes=3)
    with pytest.raises(ValueError, match="must be one of torchvision, timm"):
        build_mobilenet_v3(num_classes=3, form="keras")
    assert set(FORMS) == {"torchvision", "timm", "paddle"}
    assert set(ROWS) == {"large", "small"}
