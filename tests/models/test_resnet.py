"""ResNets: published sizes and costs, and where the shifts stand."""

from dataclasses import replace

import numpy as np
import pytest

import tsm_ref
from tests.judging import U32, assert_within
from tsm_ref.engine import make_engine
from tsm_ref.engine.oracle import run_with_bound
from tsm_ref.errors import UsageError
from tsm_ref.models import RESNETS, ResNetSpec, build_resnet, random_weights
from tsm_ref.models.resnet import n_round
from tsm_ref.profile import ShiftRule
from tsm_ref.reference import cross_folds

CLIP = {"x": (1, 3, 8, 224, 224)}

DEEP_STEM = 27 * 32 + 288 * 32 + 288 * 64 + 4 * 32 - 9_408

# torchvision's parameter counts with 1000 classes, less what its classifier has, plus ours.
IMAGENET = {
    "resnet18": (11_689_512, 512),
    "resnet34": (21_797_672, 512),
    "resnet50": (25_557_032, 2048),
    "resnet101": (44_549_160, 2048),
    "resnet152": (60_192_808, 2048),
    "wide-resnet50": (68_883_240, 2048),
    "wide-resnet101": (126_886_696, 2048),
    "resnext50-32x4d": (25_028_904, 2048),
    "resnext101-32x4d": (44_177_704, 2048),  # of timm
    "resnext101-32x8d": (88_791_336, 2048),
    # Three small convolutions and norms for one large one; resnet50-vd is published as 25.58 M.
    "resnet18-vd": (11_689_512 + DEEP_STEM + 64 * 64 + 2 * 64, 512),
    "resnet34-vd": (21_797_672 + DEEP_STEM + 64 * 64 + 2 * 64, 512),
    "resnet50-vd": (25_557_032 + DEEP_STEM, 2048),
    "resnet101-vd": (44_549_160 + DEEP_STEM, 2048),
}


def build(name, classes=400, **options):
    return build_resnet(RESNETS[name], num_classes=classes, **options)


@pytest.mark.parametrize("name", RESNETS)
@pytest.mark.parametrize("placement", ["none", "blockres", "block"])
def test_parameters_are_those_of_the_published_networks(name, placement):
    total, features = IMAGENET[name]
    expected = total - (features + 1) * 1000 + (features + 1) * 27
    assert build(name, 27, placement=placement).parameter_count == expected


def test_the_parameters_of_the_paper():
    assert build("resnet50").parameter_count == 24_327_632


@pytest.mark.parametrize(
    ("name", "frames", "giga"), [("resnet50", 8, 33), ("resnet50", 16, 65), ("resnet101", 8, 62.7)]
)
def test_the_multiply_adds_of_the_paper(name, frames, giga):
    """33 G, 65 G and 62.7 G (the paper rounds, and does not count the last layer)."""
    macs = build(name).multiply_adds({"x": (1, 3, frames, 224, 224)})
    assert sum(macs.values()) / 1e9 == pytest.approx(giga, rel=0.015)


def test_multiply_adds_of_single_layers():
    macs = build("resnet50").multiply_adds(CLIP)
    frame = 8 * 112 * 112
    assert macs["conv1"] == frame * 64 * 3 * 49
    assert macs["layer1.0.conv1"] == frame // 4 * 64 * 64
    assert macs["layer1.0.conv2"] == frame // 4 * 64 * 64 * 9
    assert macs["layer1.0.downsample.0"] == frame // 4 * 64 * 256
    assert macs["layer2.0.conv1"] == frame // 4 * 256 * 128  # before the stride
    assert macs["layer2.0.conv2"] == frame // 16 * 128 * 128 * 9  # the stride is on the 3x3
    assert macs["fc"] == 8 * 2048 * 400
    costly = {node for node, count in macs.items() if count}
    assert all(not node.endswith(("shift", "relu", "add")) for node in costly)


def shifted(graph):
    return [node.name for node in graph.select("TemporalShift")]


@pytest.mark.parametrize(
    ("name", "blockres", "block"),
    [("resnet18", 8, 8), ("resnet34", 16, 16), ("resnet50", 16, 16), ("resnet101", 18, 33)],
)
def test_how_many_blocks_are_shifted(name, blockres, block):
    """conventions.md 3: every second block of a residual placement where layer3 has 23 or more."""
    assert len(shifted(build(name))) == blockres
    assert len(shifted(build(name, placement="block"))) == block
    assert shifted(build(name, placement="none")) == []


def test_which_blocks_of_a_deep_network_are_shifted():
    stages = [[0, 2], [0, 2], range(0, 23, 2), [0, 2]]
    names = [f"layer{s + 1}.{i}.shift" for s, blocks in enumerate(stages) for i in blocks]
    assert shifted(build("resnet101")) == names


def test_every_block_is_shifted_under_paddles_rule():
    """conventions.md 3: PaddleVideo has no n_round, so that ResNet-101 has 33 shifts."""
    paddle = build_resnet(RESNETS["resnet101"], num_classes=2, shift=ShiftRule("paddle", 8))
    assert len(shifted(paddle)) == 33


@pytest.mark.parametrize(
    ("third", "every"), [(22, 1), (23, 2), (36, 2)], ids=["just below", "resnet101", "resnet152"]
)
def test_the_rule_of_every_second_block(third, every):
    assert n_round((3, 4, third, 3)) == every
    deep = build_resnet(ResNetSpec((1, 1, third, 1), width=8), num_classes=2)
    assert len(shifted(deep)) == 3 + -(-third // every)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_residual_shift_is_seen_by_the_branch_only(name):
    g = build(name)
    for block in ("layer1.0", "layer2.0", "layer2.1"):
        readers = [node.name for node in g.consumers[f"{block}.shift"]]
        assert readers == [f"{block}.conv1"]
        source = g.node[f"{block}.shift"].inputs[0]
        end = g.node[f"{block}.add"].inputs[1]
        skip = g.node[g.node[end].inputs[0]].inputs[0] if "downsample" in end else end
        assert skip == source


def test_an_in_place_shift_is_seen_by_the_skip_path_too():
    g = build("resnet50", placement="block")
    assert [n.name for n in g.consumers["layer2.1.shift"]] == ["layer2.1.conv1", "layer2.1.add"]
    readers = [node.name for node in g.consumers["layer2.0.shift"]]
    assert readers == ["layer2.0.conv1", "layer2.0.downsample.0"]


def test_folds_are_those_of_the_rule_and_of_the_input_of_the_branch():
    g = build("resnet50", shift=ShiftRule("mit", 8, "circular"))
    widths = {"layer1.0": 64, "layer1.1": 256, "layer2.0": 256, "layer4.2": 2048}
    for block, channels in widths.items():
        node = g.node[f"{block}.shift"]
        fold = channels // 8
        assert node.attrs["d"] == (-1,) * fold + (1,) * fold + (0,) * (channels - 2 * fold)
        assert node.attrs["fill"] == "circular"


def test_a_causal_network_looks_back_only():
    g = build("resnet50", shift=ShiftRule("online"))
    d = np.concatenate([node.attrs["d"] for node in g.select("TemporalShift")])
    assert {*d} == {0, 1}
    assert len(shifted(g)) == 16


def test_a_fold_of_no_channels_adds_no_shift():
    narrow = build_resnet(ResNetSpec((1, 1, 1), width=4), num_classes=2, shift=ShiftRule("mit", 8))
    assert shifted(narrow) == ["layer3.0.shift"]  # 4 and 4 channels, then 8


@pytest.mark.parametrize("name", RESNETS)
def test_shapes_of_the_stages(name):
    shapes = build(name).shapes({"x": (2, 3, 5, 224, 160)})
    wide = 4 if RESNETS[name].bottleneck else 1
    last = [f"layer{s}.{count - 1}.relu" for s, count in enumerate(RESNETS[name].blocks, start=1)]
    assert shapes["maxpool"] == (2, 64, 5, 56, 40)
    for stage, value in enumerate(last):
        assert shapes[value] == (2, 64 * wide * 2**stage, 5, 56 >> stage, 40 >> stage)
    assert shapes["fc"] == (2, 400, 5)
    assert shapes["consensus"] == (2, 400)


def test_a_stem_for_small_pictures():
    spec = ResNetSpec((1, 1), width=8, stem_kernel=3, stem_stride=1, stem_pool=False)
    g = build_resnet(spec, num_classes=3)
    assert g.shapes({"x": (1, 3, 2, 20, 20)})["layer1.0.relu"] == (1, 8, 2, 20, 20)


def test_an_unknown_placement_is_refused():
    with pytest.raises(ValueError, match=r"`placement` .* must be 'none', 'blockres' or 'block'"):
        build("resnet18", placement="everywhere")


NON_LOCAL = ("layer2.0", "layer2.2", "layer3.0", "layer3.2", "layer3.4")


def non_local(mode="embedded_gaussian"):
    return build("resnet50", non_local=dict.fromkeys(NON_LOCAL, mode))


def test_non_local_blocks_stand_behind_blocks_of_layer2_and_layer3():
    """conventions.md 3: ``z = BN(W y) + x`` with x the value of the block."""
    g = non_local()
    assert [node.name for node in g.select("NonLocal")] == [f"{b}.nl.attention" for b in NON_LOCAL]
    for block in NON_LOCAL:
        assert g.node[f"{block}.nl"].op == "Add"
        assert set(g.node[f"{block}.nl"].inputs) == {f"{block}.nl.bn", f"{block}.relu"}
    assert [n.name for n in g.consumers["layer2.0.nl"]] == ["layer2.1.shift", "layer2.1.add"]


def test_the_parameters_of_non_local_blocks():
    """Four 1x1x1 convolutions with biases between C and C / 2 channels, and one batch norm."""
    extra = non_local().parameter_count - build("resnet50").parameter_count
    blocks = [512] * 2 + [1024] * 3
    assert extra == sum(4 * c * c // 2 + 3 * c // 2 + c + 2 * c for c in blocks)
    simple = non_local("gaussian").parameter_count - build("resnet50").parameter_count
    assert extra - simple == sum(2 * (c * c // 2 + c // 2) for c in blocks)


def test_keys_and_values_are_pooled_and_queries_are_not():
    shapes = non_local().shapes({"x": (2, 3, 8, 224, 224)})
    theta, phi, g = (shapes[name] for name in non_local().node["layer3.2.nl.attention"].inputs)
    assert theta == (2, 512, 8, 14, 14)
    assert phi == g == (2, 512, 8, 7, 7)
    assert shapes["layer3.2.nl"] == (2, 1024, 8, 14, 14)
    macs = non_local().multiply_adds({"x": (1, 3, 8, 224, 224)})
    assert macs["layer3.2.nl.attention"] == (8 * 14 * 14) * (8 * 7 * 7) * 2 * 512


# The network of the paper, as Keras has it


def test_keras_counts_as_many_trainable_parameters():
    """What Keras prints for ResNet50 with its 1000 classes."""
    spec = replace(RESNETS["resnet50"], stride_first=True, conv_bias=True, epsilon=1.001e-5)
    assert build_resnet(spec, num_classes=1000).parameter_count == 25_583_592


def test_the_stride_may_be_on_the_first_convolution():
    graph = build_resnet(replace(RESNETS["resnet50"], stride_first=True), num_classes=5)
    strides = {node.name: node.attrs["strides"] for node in graph.select("Conv")}
    assert strides["layer2.0.conv1"] == strides["layer2.0.downsample.0"] == (1, 2, 2)
    assert strides["layer2.0.conv2"] == strides["layer2.1.conv1"] == (1, 1, 1)
    assert graph.shapes(CLIP)["layer4.2.relu"] == (1, 2048, 8, 7, 7)


# ResNet-vd (He et al. 2018, figure 2) as PaddleVideo's ppTSM has it


def test_the_published_size_of_resnet50_vd():
    assert build("resnet50-vd", 1000).parameter_count == 25_576_264


def test_a_deep_stem_is_three_small_convolutions():
    g = build("resnet50-vd")
    stem = [g.node[f"conv1.{i}"] for i in range(3)]
    assert [node.attrs["strides"][1:] for node in stem] == [(2, 2), (1, 1), (1, 1)]
    widths = [g.parameters[node.inputs[1]] for node in stem]
    assert widths == [(32, 3, 1, 3, 3), (32, 32, 1, 3, 3), (64, 32, 1, 3, 3)]
    assert g.shapes(CLIP)["relu1.2"] == (1, 64, 8, 112, 112)


def test_a_strided_shortcut_averages_and_then_convolves():
    g = build("resnet50-vd")
    pools = list(g.select("AveragePool"))
    assert [node.name for node in pools] == [f"layer{s}.0.downsample.pool" for s in (2, 3, 4)]
    for node in pools:
        (reader,) = g.consumers[node.name]
        assert reader.attrs["strides"] == (1, 1, 1)
    odd = g.shapes({"x": (1, 3, 2, 100, 68)})  # 25 rows reach layer2: the last window is cut off
    assert odd["layer2.0.downsample.pool"] == (1, 256, 2, 13, 9)


def test_every_activation_is_leaky():
    g = build("resnet50-vd")
    leaky = list(g.select("LeakyRelu"))
    assert len(leaky) == len(list(build("resnet50").select("Relu"))) + 2
    assert {node.attrs["alpha"] for node in leaky} == {0.01}
    assert not list(g.select("Relu"))


# A pool over time (MIT's option `temporal_pool`)


def test_a_pool_over_time_halves_the_frames_of_the_later_stages():
    """conventions.md 3: kernel 3, stride 2, padding 1, in front of layer2."""
    g = build("resnet50", temporal_pool=True)
    pool = g.node["temporal_pool"]
    assert pool.inputs == ("layer1.2.relu",)
    assert {node.name for node in g.consumers["temporal_pool"]} == {
        "layer2.0.shift",
        "layer2.0.downsample.0",
    }
    for frames, half in ((8, 4), (7, 4), (1, 1)):
        shapes = g.shapes({"x": (1, 3, frames, 64, 64)})
        assert shapes["layer1.2.relu"] == (1, 256, frames, 16, 16)
        assert shapes["temporal_pool"] == (1, 256, half, 16, 16)
        assert shapes["fc"] == (1, 400, half)
    assert build("resnet50").parameters == g.parameters


SPACED = ResNetSpec((1, 1), width=16, stem_kernel=3, stem_stride=1, stem_pool=False)


def test_a_cross_stands_behind_every_temporal_shift_and_costs_nothing():
    made, plain = build("resnet50", spatial_shift=8), build("resnet50")
    assert made.parameters == plain.parameters
    assert made.multiply_adds(CLIP)["layer1.0.conv1"] == plain.multiply_adds(CLIP)["layer1.0.conv1"]
    crosses = list(made.select("SpatialShift"))
    assert [node.inputs[0] for node in crosses] == shifted(made)
    dh, dw = cross_folds(256)
    assert crosses[1].attrs == {"dh": tuple(dh), "dw": tuple(dw), "fill": "zero"}
    inside = build("resnet50", spatial_shift=8, placement="block")
    skips = [node.inputs for node in inside.nodes if node.name == "layer1.1.add"]
    assert skips == [("layer1.1.bn3", "layer1.1.shift")]


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("engine", ["numba", "numpy", "loops"])
def test_a_network_with_crosses_is_within_the_bound(engine, bottleneck, rng):
    spec = replace(SPACED, bottleneck=bottleneck)
    for options in ({}, {"shift": ShiftRule("mit", 8, "circular")}, {"placement": "none"}):
        graph = build_resnet(spec, num_classes=3, spatial_shift=8, **options)
        weights = random_weights(graph)
        x = {"x": rng.standard_normal((1, 3, 4, 11, 13)).astype(np.float32)}
        (bound,) = run_with_bound(graph, weights, x, U32).values()
        assert_within(make_engine(graph, weights, engine).run(x)["consensus"], bound)


@pytest.mark.parametrize("causal", [False, True])
def test_a_stream_with_crosses_gives_the_bits_of_the_clip(causal, rng):
    model = tsm_ref.build("resnet18", num_classes=3, spatial_shift=8, causal=causal, engine="numba")
    clip = rng.standard_normal((1, 3, 10, 32, 32)).astype(np.float32)
    stream = model.stream()
    assert stream.delay == (0 if causal else 8)
    parts = [stream.steps(clip[:, :, :4]), stream.steps(clip[:, :, 4:]), stream.flush()]
    made = np.concatenate([part for part in parts if part is not None], 1)
    assert made.tobytes() == model.frame_logits(clip).tobytes()


@pytest.mark.parametrize(
    ("parts", "needed"),
    [
        (3, "the parts of the channels, 4 or more"),
        *((parts, "a whole number from 0") for parts in (-1, 8.0, True)),
    ],
)
def test_a_cross_of_fewer_than_four_parts_is_refused(parts, needed):
    with pytest.raises(UsageError, match=f"`spatial_shift` .* must be {needed}"):
        tsm_ref.build("resnet18", spatial_shift=parts)
