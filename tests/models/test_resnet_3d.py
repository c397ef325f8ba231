"""Networks that convolve in time: published sizes, and every engine against the oracle."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tsm_ref
from tests.judging import U32, assert_within
from tsm_ref.engine import make_engine
from tsm_ref.engine.oracle import run_oracle, run_with_bound
from tsm_ref.errors import UsageError
from tsm_ref.graph import Graph
from tsm_ref.models import (
    CLIP_RESNETS,
    build_c3d,
    build_clip_resnet,
    build_graph,
    build_i3d,
    random_weights,
)
from tsm_ref.models.resnet_3d import ClipResNetSpec
from tsm_ref.profile import ShiftRule


@pytest.mark.parametrize(
    ("name", "classes", "parameters", "giga", "clip"),
    [
        ("c3d", 101, 78_409_573, "38.5", (16, 112)),
        ("r3d-18", 400, 33_371_472, "40.70", (16, 112)),
        ("mc3-18", 400, 11_695_440, "43.3", (16, 112)),
        ("r2plus1d-18", 400, 31_505_325, "40.52", (16, 112)),
        ("r2plus1d-34", 400, 63_697_175, "152", (32, 112)),
        ("i3d-resnet50", 400, 28_043_472, "152", (32, 224)),
    ],
)
def test_what_is_published(
    name: str, classes: int, parameters: int, giga: str, clip: tuple[int, int]
) -> None:
    """Parameters and billions of multiply-adds of one clip.

    C3D: MMAction2 (78.4 M, 38.5 G). 18 layers: torchvision. R(2+1)D-34: Tran et al. 2018, table 4
    (152 G), and the 63.7 M of its authors' models. I3D: Lin, Gan, Han 2019, table 2 (28.0 M;
    153 G, where 152.5 are counted here).
    """
    g = build_graph(name, num_classes=classes, placement="none", shift=ShiftRule("none"))
    assert g.name == name
    assert g.parameter_count == parameters
    frames, side = clip
    counted = sum(g.multiply_adds({"x": (1, 3, frames, side, side)}).values()) / 1e9
    assert f"{counted:.{len(giga.partition('.')[2])}f}" == giga


def test_time_is_halved_where_it_is_published() -> None:
    shapes = build_clip_resnet(CLIP_RESNETS["r2plus1d-18"], num_classes=4).shapes(
        {"x": (1, 3, 16, 112, 112)}
    )
    assert [shapes[f"layer{i}.1.relu"][2:] for i in (1, 2, 3, 4)] == [
        (16, 56, 56), (8, 28, 28), (4, 14, 14), (2, 7, 7)
    ]  # fmt: skip
    mixed = build_clip_resnet(CLIP_RESNETS["mc3-18"], num_classes=4)
    assert mixed.shapes({"x": (1, 3, 16, 112, 112)})["layer4.1.relu"][2:] == (16, 7, 7)
    inflated = build_i3d(num_classes=4).shapes({"x": (1, 3, 32, 224, 224)})
    assert inflated["layer1.2.relu"][2:] == (32, 56, 56)
    assert inflated["layer4.2.relu"][2:] == (16, 14, 14)
    assert build_c3d(num_classes=4).shapes({"x": (1, 3, 16, 112, 112)})["flatten"] == (1, 8192, 1)


SMALL = {
    "C3D": (build_c3d(num_classes=3, width=2, hidden=5, size=32), 16, 32),
    "I3D": (build_i3d(num_classes=3, blocks=(1, 1, 1, 2), width=4), 8, 32),
    **{
        f"{kinds[0]}, {kinds[1]}": (
            build_clip_resnet(ClipResNetSpec((1, 1, 1, 1), kinds, own), num_classes=3),
            4,
            24,
        )
        for kinds, own in (
            (("3d",) * 4, False),
            (("3d", "2d", "2d", "2d"), False),
            (("2+1d",) * 4, True),
        )
    },
}


@pytest.mark.parametrize("name", SMALL)
def test_both_engines_are_within_the_bound_of_the_oracle(
    name: str, rng: np.random.Generator
) -> None:
    graph, frames, side = SMALL[name]
    weights = random_weights(graph, seed=2)
    clip = {"x": rng.normal(size=(1, 3, frames, side, side)).astype(np.float32)}
    wanted = run_with_bound(graph, weights, clip, U32)
    for engine in ("numpy", "numba"):
        found = make_engine(graph, weights, engine).run(clip)
        for output in graph.outputs:
            assert_within(found[output], wanted[output])


def theirs(graph: Graph) -> Callable[[str], str]:
    """What torchvision calls a parameter of ours: convolution, norm and ReLU are a list there."""

    def rename(name: str) -> str:
        if name in graph.parameters and ".bn" in name:
            return re.sub(r"\.bn(\d)\.", r".conv\1.1.", name)
        return re.sub(r"\.conv(\d)\.", r".conv\1.0.", name)

    return rename


@pytest.mark.parametrize("name", ["r3d-18", "mc3-18", "r2plus1d-18"])
def test_they_compute_what_torchvision_computes(name: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    video = pytest.importorskip("torchvision").models.video
    module = getattr(video, name.replace("-", "_"))(num_classes=5).double().eval()
    graph = build_clip_resnet(CLIP_RESNETS[name], num_classes=5)
    weights = {k: v.astype(np.float64) for k, v in random_weights(graph, seed=3).items()}
    rename = theirs(graph)
    state: dict[str, Any] = {rename(k): torch.tensor(v) for k, v in weights.items()}
    told = module.load_state_dict(state, strict=False)
    assert told.unexpected_keys == []
    assert all(key.endswith("num_batches_tracked") for key in told.missing_keys)
    x = rng.normal(size=(1, 3, 8, 32, 32))
    wanted = module(torch.tensor(x)).detach().numpy()
    found = run_oracle(graph, weights, {"x": x})[graph.outputs[0]]
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-11)


def test_they_are_built_by_name_with_clips_of_their_own() -> None:
    model = tsm_ref.build("r2plus1d-18", num_classes=3, engine="numpy")
    assert model.input_shapes() == {"x": (1, 3, 16, 112, 112)}
    assert model.shifts == []
    assert model.profile.placement == "none"
    with pytest.raises(UsageError, match="convolves in time: there is no shift to be set"):
        tsm_ref.build("c3d", causal=True)
    with pytest.raises(UsageError, match="c3d has the placements none, not 'blockres'"):
        tsm_ref.build("c3d", placement="blockres")
