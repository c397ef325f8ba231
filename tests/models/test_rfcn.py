"""R-FCN: what is published of its maps, every engine against the oracle, and its streams."""

import numpy as np
import pytest

import tsm_ref
from tests.judging import U32, assert_all_within
from tsm_ref.engine import make_engine
from tsm_ref.engine.oracle import run_with_bound
from tsm_ref.errors import UsageError
from tsm_ref.graph import Graph
from tsm_ref.models import MAPS, RESNETS, build_resnet, build_rfcn, random_weights
from tsm_ref.profile import ShiftRule

SMALL = {"proposal": 16, "reduced": 24, "bins": 3}


def small(**changes: object) -> Graph:
    return build_rfcn(RESNETS["resnet18"], num_classes=2, **(SMALL | changes))  # type: ignore[arg-type]


def frames(count: int, height: int = 48, width: int = 64) -> np.ndarray:
    rng = np.random.default_rng(5)
    return rng.standard_normal((1, 3, count, height, width)).astype(np.float32)


def test_the_maps_are_the_published_ones() -> None:
    """Dai et al. 2016, section 2: k^2 (C + 1) and 4 k^2 maps at a stride of 16; 9 anchors."""
    graph = tsm_ref.build("rfcn_resnet101", num_classes=30, engine="numpy").graph
    assert graph.outputs == ("objectness", "offsets", "score_maps", "box_maps")
    shapes = graph.shapes({"x": (1, 3, 2, 600, 1000)})
    assert [shapes[name] for name in MAPS] == [
        (1, channels, 2, 38, 63) for channels in (18, 36, 49 * 31, 49 * 4)
    ]
    assert shapes["layer3.22.relu"] == (1, 1024, 2, 38, 63)
    assert shapes["layer4.2.relu"] == (1, 2048, 2, 38, 63)
    assert shapes["reduce.relu"][1] == 1024


def test_the_backbone_is_that_of_a_causal_tsm() -> None:
    """The same weights and shifts as ResNet-101's, but for its classifier."""
    graph = build_rfcn(RESNETS["resnet101"], num_classes=30)
    other = build_resnet(RESNETS["resnet101"], num_classes=400, shift=ShiftRule("online"))
    of_backbone = {name: shape for name, shape in other.parameters.items() if "fc." not in name}
    assert of_backbone.items() <= graph.parameters.items()
    found = [(node.name, node.attrs["d"]) for node in graph.select("TemporalShift")]
    assert [name for name, _ in found] == [node.name for node in other.select("TemporalShift")]
    assert {value for _, d in found for value in d} == {0, 1}


def test_the_last_stage_is_dilated_instead_of_strided() -> None:
    nodes = build_rfcn(RESNETS["resnet101"], num_classes=30).node
    for block in range(3):
        node = nodes[f"layer4.{block}.conv2"]
        assert node.attr("dilations") == (1, 2, 2)
        assert node.attr("strides") == (1, 1, 1)
        assert node.attr("pads") == (0, 2, 2, 0, 2, 2)
    assert nodes["layer3.0.conv2"].attr("dilations") == (1, 1, 1)
    assert nodes["layer4.0.downsample.0"].attr("strides") == (1, 1, 1)


@pytest.mark.parametrize("engine", ["numpy", "numba", "loops"])
def test_every_engine_is_within_the_bound_of_the_oracle(engine) -> None:
    graph = small()
    weights, clip = random_weights(graph, seed=1), {"x": frames(3)}
    wanted = run_with_bound(graph, weights, clip, U32)
    assert_all_within(make_engine(graph, weights, engine).run(clip), wanted)


def test_frame_by_frame_it_gives_the_bits_of_the_clip() -> None:
    model = tsm_ref.build("rfcn_resnet18", num_classes=2, engine="numba", **SMALL)
    clip = frames(5)
    whole, stream = model.run({"x": clip}), model.stream()
    assert stream.delay == 0
    for t in range(clip.shape[2]):
        found = stream.step(clip[:, :, t])
        assert isinstance(found, dict)
        for name in MAPS:
            np.testing.assert_array_equal(found[name], whole[name][:, :, t])


def test_the_frame_before_is_seen_and_the_one_behind_is_not() -> None:
    model = tsm_ref.build("rfcn_resnet18", num_classes=2, engine="numpy", **SMALL)
    clip = frames(3)
    changed = clip.copy()
    changed[:, :, 1] += 1
    a, b = (model.run({"x": x})["score_maps"] for x in (clip, changed))
    moved = [bool(np.abs(a[:, :, t] - b[:, :, t]).max() > 1e-3) for t in range(3)]
    assert moved == [False, True, True]


def test_it_is_saved_and_loaded(tmp_path) -> None:
    model = tsm_ref.build("rfcn_resnet18", num_classes=2, engine="numpy", **SMALL)
    tsm_ref.save(model, tmp_path / "d.h5")
    twin = tsm_ref.load(tmp_path / "d.h5", engine="numpy")
    assert twin.graph == model.graph
    assert twin.profile == model.profile
    x = {"x": frames(1)}
    for name, found in twin.run(x).items():
        np.testing.assert_array_equal(found, model.run(x)[name])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_classes": {"verb": 2, "noun": 3}}, "are made of different features"),
        ({"num_classes": 2, "head": "trn"}, "are made of different features"),
        ({"num_classes": 2, "bins": 0}, "`bins` \\(=0\\) must be a whole number from 1"),
        ({"num_classes": 0}, "`num_classes` \\(=0\\)"),
        ({"num_classes": 2, "depth": 3}, "no option 'depth'; beside those of all, it has proposal"),
    ],
)
def test_what_cannot_be_is_said(options, said) -> None:
    with pytest.raises(UsageError, match=said):
        tsm_ref.build("rfcn_resnet18", engine="numpy", **options)


def test_an_unknown_network_is_said_in_one_line() -> None:
    with pytest.raises(UsageError, match="'rfcn-resnet101'; the nearest is rfcn_resnet101; known"):
        tsm_ref.build("rfcn-resnet101")
