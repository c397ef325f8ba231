"""MobileNetV2: published sizes and costs, widths, and where the shifts stand."""

import pytest

from tsm_ref.errors import GraphError
from tsm_ref.models import build_mobilenet_v2
from tsm_ref.models.mobilenet_v2 import scaled_channels
from tsm_ref.profile import ShiftRule


def test_parameters():
    assert build_mobilenet_v2(num_classes=400).parameter_count == 2_736_272
    assert build_mobilenet_v2(num_classes=27).parameter_count == 2_258_459
    assert build_mobilenet_v2(num_classes=1000).parameter_count == 3_504_872  # torchvision


@pytest.mark.parametrize(
    ("width", "mega_parameters", "mega_macs"),
    [(0.35, 1.68, 59), (0.5, 1.97, 97), (0.75, 2.64, 209), (1.0, 3.50, 300), (1.4, 6.11, 582)],
)
def test_the_table_of_published_widths(width, mega_parameters, mega_macs):
    """Multiply-adds as TensorFlow's table of checkpoints has them, parameters as timm has them."""
    g = build_mobilenet_v2(num_classes=1000, width=width)
    assert g.parameter_count / 1e6 == pytest.approx(mega_parameters, abs=0.006)
    macs = g.multiply_adds({"x": (1, 3, 1, 224, 224)})
    assert sum(macs.values()) / 1e6 == pytest.approx(mega_macs, abs=0.9)


def test_multiply_adds():
    macs = build_mobilenet_v2(num_classes=400).multiply_adds({"x": (1, 3, 8, 224, 224)})
    assert sum(macs.values()) / 1e9 == pytest.approx(2.4, rel=0.03)  # 300 M a frame, table 4
    assert macs["features.0.0"] == 8 * 112 * 112 * 32 * 27
    assert macs["features.1.conv.0"] == 8 * 112 * 112 * 32 * 9
    assert macs["features.2.conv.0"] == 8 * 112 * 112 * 16 * 96
    assert macs["classifier"] == 8 * 1280 * 400


@pytest.mark.parametrize("width", [0.35, 0.5, 1.0, 1.4])
def test_shifts_stand_in_the_ten_blocks_that_expand_and_skip(width):
    g = build_mobilenet_v2(num_classes=5, width=width)
    places = [int(node.name.split(".")[1]) for node in g.select("TemporalShift")]
    assert places == [3, 5, 6, 8, 9, 10, 12, 13, 15, 16]
    for node in g.select("TemporalShift"):
        block = node.name.removesuffix(".shift")
        assert [reader.name for reader in g.consumers[node.name]] == [f"{block}.conv.0"]
        assert node.inputs[0] in g.node[f"{block}.add"].inputs


def test_the_buffers_of_the_online_network():
    """conventions.md 6: what the online demo keeps at 224x224, a frame of C // 8 channels each."""
    g = build_mobilenet_v2(num_classes=27, shift=ShiftRule("online"))
    shapes = g.shapes({"x": (1, 3, 1, 224, 224)})
    kept = [(sum(node.attrs["d"]), *shapes[node.name][3:]) for node in g.select("TemporalShift")]
    expected = [(3, 56, 56)] + [(4, 28, 28)] * 2 + [(8, 14, 14)] * 3 + [(12, 14, 14)] * 2
    assert kept == [*expected, *[(20, 7, 7)] * 2]


def test_shapes():
    shapes = build_mobilenet_v2(num_classes=5).shapes({"x": (2, 3, 4, 224, 160)})
    assert shapes["features.17.conv.7"] == (2, 320, 4, 7, 5)
    assert shapes["features.18.2"] == (2, 1280, 4, 7, 5)
    assert shapes["consensus"] == (2, 5)


@pytest.mark.parametrize(
    ("channels", "width", "expected"),
    [(32, 1.0, 32), (16, 0.35, 8), (24, 0.75, 24), (320, 0.75, 240), (24, 0.5, 16), (24, 1.4, 32)],
)
def test_channels_are_multiples_of_eight_that_lose_at_most_a_tenth(channels, width, expected):
    """24 * 0.75 = 18 is rounded to 24: 16 would lose more than a tenth."""
    assert scaled_channels(channels, width) == expected
    assert expected % 8 == 0
    assert expected >= 0.9 * channels * width


def test_keras_counts_as_many_trainable_parameters():
    """What Keras prints for MobileNetV2 with its 1000 classes."""
    graph = build_mobilenet_v2(num_classes=1000, same=(224, 224), epsilon=1e-3)
    assert graph.parameter_count == 3_504_872


@pytest.mark.parametrize("sides", [(224, 224), (97, 64), (33, 150)])
def test_same_padding_is_that_of_tensorflow(sides):
    """TensorFlow defines it by what comes out and what is missing, half of it in front."""
    graph = build_mobilenet_v2(num_classes=3, width=0.35, same=sides)
    shapes = graph.shapes({"x": (1, 3, 2, *sides)})
    for node in graph.select("Conv"):
        kernel = shapes[node.inputs[1]][3:]
        for axis in (0, 1):
            side, stride = shapes[node.inputs[0]][3 + axis], node.attrs["strides"][1 + axis]
            count = -(-side // stride)
            missing = max((count - 1) * stride + kernel[axis] - side, 0)
            before, after = (node.attrs["pads"][i + axis] for i in (1, 4))
            assert (before, after) == (missing // 2, missing - missing // 2), node.name
            assert shapes[node.name][3 + axis] == count


def test_same_padding_is_right_for_one_size_only():
    graph = build_mobilenet_v2(num_classes=3, width=0.35, same=(64, 64))
    with pytest.raises(GraphError, match="65"):
        graph.shapes({"x": (1, 3, 2, 65, 64)})
