"""The architectures by name."""

import pytest

from tsm_ref.errors import UsageError
from tsm_ref.models import (
    ARCHITECTURES,
    RESNETS,
    build_graph,
    build_mobilenet_v2,
    build_resnet,
    build_ts_can,
    check_options,
    options_of,
)
from tsm_ref.profile import ShiftRule

RULE = ShiftRule("mit")
OPTIONS = {"num_classes": 7, "placement": "blockres", "shift": RULE}


def test_the_names_that_people_use():
    networks = {*RESNETS, "mobilenetv2", "pp-lcnet"}
    plain = {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152"}
    assert plain | {"resnet50-vd", "resnext50-32x4d", "wide-resnet50"} <= set(RESNETS)
    assert networks | {"pp-lcnet", "ts-can", "mtts-can", "efficient-phys"} <= set(ARCHITECTURES)


@pytest.mark.parametrize("name", RESNETS)
def test_resnets(name):
    same = build_resnet(RESNETS[name], num_classes=7, shift=RULE, name=f"tsm-{name}")
    assert build_graph(name, **OPTIONS) == same


def test_other_families_and_their_options():
    wide = build_mobilenet_v2(num_classes=7, width=1.4, shift=RULE, name="tsm-mobilenetv2")
    assert build_graph("mobilenetv2", width=1.4, **OPTIONS) == wide
    small = build_ts_can(hidden=16, shift=RULE)
    unnumbered = {"placement": "blockres", "shift": RULE}
    assert build_graph("ts-can", hidden=16, **unnumbered) == small
    assert build_graph("mtts-can", **unnumbered).outputs == ("pulse", "respiration")
    still = build_graph("ts-can", placement="none", shift=RULE)
    assert not list(still.select("TemporalShift"))


def test_a_non_local_network_and_one_with_a_pool_over_time_have_names():
    """MIT: non-local blocks behind every second block of stages 2 and 3, five in a ResNet-50."""
    places = ("layer2.0", "layer2.2", "layer3.0", "layer3.2", "layer3.4")
    blocks = dict.fromkeys(places, "embedded_gaussian")
    made = build_resnet(RESNETS["resnet50"], num_classes=7, shift=RULE, non_local=blocks)
    assert build_graph("resnet50-nl", **OPTIONS).nodes == made.nodes
    other = build_graph("resnet50", non_local="dot_product", **OPTIONS)
    assert [node.attrs["mode"] for node in other.select("NonLocal")] == ["dot_product"] * 5
    pooled = build_resnet(RESNETS["resnet50"], num_classes=7, shift=RULE, temporal_pool=True)
    assert build_graph("resnet50-tpool", **OPTIONS).nodes == pooled.nodes


@pytest.mark.parametrize("name", ["resnet50", "mobilenetv2"])
def test_without_a_shift_it_is_a_tsn(name):
    g = build_graph(name, num_classes=7, placement="none", shift=RULE)
    assert g.name == f"tsn-{name}"
    assert not list(g.select("TemporalShift"))


def test_what_is_not_there_is_said():
    with pytest.raises(UsageError, match="no architecture 'vgg16'; known are resnet18, "):
        build_graph("vgg16", **OPTIONS)
    with pytest.raises(UsageError, match="mobilenetv2 has the placements blockres, none"):
        build_graph("mobilenetv2", num_classes=7, placement="block", shift=RULE)
    with pytest.raises(UsageError, match="ts-can has the placements blockres, none, not 'block'"):
        build_graph("ts-can", placement="block", shift=RULE)
    with pytest.raises(UsageError, match="ts-can has no classes"):
        build_graph("ts-can", num_classes=7, placement="none", shift=RULE)
    with pytest.raises(UsageError, match="resnet18 needs `num_classes`"):
        build_graph("resnet18", placement="none", shift=RULE)


@pytest.mark.parametrize(
    ("name", "near"),
    [("resnet51", "resnet50"), ("I3D", "i3d-resnet50"), ("P3D", "p3d-63"), ("tscan", "ts-can")],
)
def test_the_nearest_is_named_however_it_is_written(name, near):
    with pytest.raises(UsageError, match=f"no architecture '{name}'; the nearest is {near}; known"):
        build_graph(name, **OPTIONS)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("resnet18", {"clases": 3}, "no option 'clases'; beside those of all, it has non_local"),
        (
            "mobilenetv2",
            {"width": "a"},
            "`width` \\(='a'\\) must be a number from 0 \\(it is 1.0 unless",
        ),
        (
            "mobilenetv2",
            {"epsilon": -1.0},
            "`epsilon` \\(=-1.0\\) must be a number from 0 \\(it is 1e-05 unless",
        ),
        ("mobilenetv2", {"expand_first": 2}, "`expand_first` \\(=2\\) must be True or False"),
        ("resnet18", {"in_channels": 0}, "`in_channels` \\(=0\\) must be a whole number from 1 to"),
        ("ts-can", {"hidden": 2.5}, "`hidden` \\(=2.5\\) must be a whole number from 1 to"),
        ("resnet18", {"spatial_shift": -1}, "`spatial_shift` \\(=-1\\) must be a whole number"),
        (
            "ts-can",
            {"filters": 32},
            "`filters` \\(=32\\) must be a sequence of 2 whole numbers from 1",
        ),
        ("ts-can", {"filters": (32, 64, 64)}, "must be a sequence of 2 whole numbers from 1"),
        ("pp-lcnet", {"depths": (2, 2, 0, 2)}, "must be a sequence of 4 whole numbers from 1"),
        ("ts-can", {"heads": "pulse"}, "`heads` \\(='pulse'\\) must be a sequence of names"),
        ("ts-can", {"width": 1.0}, "no option 'width'; beside those of all, it has heads"),
    ],
)
def test_a_wrong_option_is_named_and_the_right_ones_too(name, options, said):
    with pytest.raises(UsageError, match=said):
        check_options(name, options)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_option_that_is_told_is_taken(name):
    check_options(name, options_of(name))
    family = ARCHITECTURES[name]
    classes = {"num_classes": 3} if family.classifies else {}
    shift = ShiftRule("none")
    assert build_graph(name, placement="none", shift=shift, **classes, **options_of(name)).nodes


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("big-small", {"heads": -1}, "`heads` \\(=-1\\) must be names, each with its numbers"),
        ("big-small", {"heads": {}}, "`heads` \\(={}\\) must be names"),
        ("big-small", {"heads": {"a": 0}}, "the head 'a' must have 1 or more numbers, not 0"),
        ("mobilenetv2", {"same": [224]}, "`same` \\(=\\[224\\]\\) must be a height and a width"),
        ("mobilenetv2", {"same": 224}, "`same` \\(=224\\) must be a height and a width"),
        ("ts-can", {"size": 8}, "`size` \\(=8\\) is too small"),
        ("efficient-phys", {"size": 3}, "`size` \\(=3\\) is too small"),
        ("resnet18", {"non_local": 3}, "`non_local` \\(=3\\) must be a mode, or modes by block"),
    ],
)
def test_an_option_that_makes_no_network_is_named(name, options, said):
    family = ARCHITECTURES[name]
    classes = {"num_classes": 3} if family.classifies else {}
    with pytest.raises(ValueError, match=said):
        build_graph(name, placement="none", shift=ShiftRule("none"), **classes, **options)


def test_a_shift_that_moves_no_channel_of_any_layer_is_refused():
    """The network would be called a TSM, and see no time."""
    how = {"num_classes": 3, "placement": "blockres"}
    with pytest.raises(
        UsageError, match="`fold_div` \\(=3000\\) is more than any layer has channels"
    ):
        build_graph("resnet18", shift=ShiftRule("mit", 3000), **how)
    with pytest.raises(UsageError, match="`spatial_shift` \\(=3000\\) is more than any layer has"):
        build_graph("resnet18", shift=ShiftRule("mit"), spatial_shift=3000, **how)
    assert build_graph("resnet18", shift=ShiftRule("mit", 512), **how).nodes
