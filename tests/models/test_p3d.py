"""P3D: the sizes of its authors' definition, its orders, and every engine against the oracle."""

import numpy as np
import pytest

import tsm_ref
from tests.judging import U32, assert_within
from tsm_ref.engine import make_engine
from tsm_ref.engine.oracle import run_with_bound
from tsm_ref.models import P3DS, build_graph, build_p3d, random_weights
from tsm_ref.profile import ShiftRule

RESNETS = {"p3d-63": 25_557_032, "p3d-131": 44_549_160, "p3d-199": 60_192_808}
"""Parameters of torchvision's ResNet-50, -101 and -152 of 1000 classes."""


@pytest.mark.parametrize("name", P3DS)
def test_it_is_a_resnet_with_convolutions_in_time(name: str) -> None:
    g = build_graph(name, num_classes=400, placement="none", shift=ShiftRule("none"))
    planes = zip((64, 128, 256), P3DS[name], strict=False)
    in_time = sum(count * (3 * width**2 + 2 * width) for width, count in planes)
    assert g.parameter_count == RESNETS[name] - 600 * 2049 + in_time
    layers = sum(node.op in ("Conv", "Linear") for node in g.nodes)
    assert layers - 4 == int(name.removeprefix("p3d-"))  # but those of the skip paths


def test_the_deepest_is_that_of_its_authors() -> None:
    """The sum over the layers of their definition for Kinetics."""
    assert build_p3d(P3DS["p3d-199"], num_classes=400).parameter_count == 66_492_240


def test_the_clip_becomes_one_frame_before_the_last_stage() -> None:
    shapes = build_p3d(num_classes=4).shapes({"x": (1, 3, 16, 160, 160)})
    ends = ("layer1.2.relu", "layer2.3.relu", "layer3.5.relu", "layer4.2.relu")
    assert shapes["relu1"][2:] == (16, 80, 80)
    assert [shapes[end][2:] for end in ends] == [
        (8, 40, 40), (4, 20, 20), (2, 10, 10), (1, 5, 5)
    ]  # fmt: skip


def test_blocks_combine_space_and_time_in_turn() -> None:
    """A: T behind S. B: both of the same. C: T behind S, and S besides. Stages do not restart."""
    graph = build_p3d(num_classes=4)
    nodes = {node.name: node for node in graph.nodes}

    def order(place: str) -> str:
        end = nodes[nodes[f"{place}.relu3"].inputs[0]]
        behind = nodes[f"{place}.conv3"].inputs[0] == f"{place}.relu2"
        if end.op == "BatchNormalization":
            return "A" if behind else "?"
        assert set(end.inputs) == {f"{place}.relu2", f"{place}.bn3"}
        return "C" if behind else "B"

    places = [f"layer{i}.{j}" for i, n in ((1, 3), (2, 4), (3, 6)) for j in range(n)]
    assert "".join(map(order, places)) == "ABCABCABCABCA"
    assert not any(name.startswith("layer4") and name.endswith("conv3") for name in nodes)


@pytest.mark.parametrize("orders", ["A", "B", "C", "ABC"])
@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_every_engine_is_within_the_bound_of_the_oracle(
    engine: str, orders: str, rng: np.random.Generator
) -> None:
    graph = build_p3d((2, 1, 1, 1), num_classes=3, width=4, orders=orders)
    weights = random_weights(graph, seed=2)
    clip = {"x": rng.normal(size=(1, 3, 16, 34, 34)).astype(np.float32)}
    (wanted,) = run_with_bound(graph, weights, clip, U32).values()
    (found,) = make_engine(graph, weights, engine).run(clip).values()
    assert_within(found, wanted)


def test_it_is_built_by_name() -> None:
    model = tsm_ref.build("p3d-63", num_classes=3, engine="numpy")
    assert model.input_shapes() == {"x": (1, 3, 16, 160, 160)}


def test_other_orders_are_refused() -> None:
    with pytest.raises(ValueError, match="`orders` \\(='AD'\\) must be made of A, B, C"):
        build_p3d(num_classes=3, orders="AD")
