"""TS-CAN and MTTS-CAN: published size, shapes, and where the shifts stand."""

import pytest

from tsm_ref.errors import GraphError
from tsm_ref.models import build_ts_can
from tsm_ref.profile import ShiftRule

CLIPS = {"motion": (2, 3, 40, 36, 36), "appearance": (2, 3, 1, 36, 36)}


def test_the_parameters_of_the_published_checkpoint():
    """532,899 is what the file of open-rppg holds; a second head repeats the dense layers."""
    one, two = build_ts_can(), build_ts_can(heads=("pulse", "respiration"))
    assert one.parameter_count == 532_899
    head = 64 * 7 * 7 * 128 + 128 + 128 + 1
    assert two.parameter_count == 532_899 + head
    assert two.outputs == ("pulse", "respiration")


def test_the_shapes_of_both_branches():
    """SAME, VALID, pool, twice: 36, 34, 17, 17, 15, 7."""
    shapes = build_ts_can().shapes(CLIPS)
    sides = {
        "motion_conv1": 36, "motion_conv2": 34, "motion_pool1": 17,
        "motion_conv3": 17, "motion_conv4": 15, "motion_pool2": 7,
    }  # fmt: skip
    for name, side in sides.items():
        channels = 32 if name[-1] in "12" and "pool2" not in name else 64
        assert shapes[name] == (2, channels, 40, side, side)
    assert shapes["appearance_conv4"] == (2, 64, 1, 15, 15)
    assert shapes["attention1.mask"] == (2, 1, 1, 34, 34)
    assert shapes["attention2.mask"] == (2, 1, 1, 15, 15)
    assert shapes["flatten"] == (2, 7 * 7 * 64, 40)
    assert shapes["pulse"] == (2, 40)


def test_every_frame_may_have_its_own_appearance():
    each = CLIPS | {"appearance": (2, 3, 40, 36, 36)}
    assert build_ts_can().shapes(each)["attention1.mask"] == (2, 1, 40, 34, 34)


def test_multiply_adds_of_single_layers():
    macs = build_ts_can().multiply_adds(CLIPS)
    assert macs["motion_conv2"] == 2 * 40 * 34 * 34 * 32 * 32 * 9
    assert macs["appearance_conv2"] == 2 * 34 * 34 * 32 * 32 * 9
    assert macs["dense1"] == 2 * 40 * 7 * 7 * 64 * 128


def test_a_shift_stands_before_each_motion_convolution():
    g = build_ts_can(shift=ShiftRule("mtts_can", 3, "replicate", segment=20))
    expected = [("motion_shift1", 3), ("motion_shift2", 32), ("motion_shift3", 32)]
    found = list(g.select("TemporalShift"))
    assert [(n.name, len(n.attrs["d"])) for n in found] == [*expected, ("motion_shift4", 64)]
    for node in found:
        channels = len(node.attrs["d"])
        fold = channels // 3
        assert node.attrs["d"] == (-1,) * fold + (1,) * fold + (0,) * (channels - 2 * fold)
        assert (node.attrs["fill"], node.attrs["segment"]) == ("replicate", 20)
        readers = [reader.name for reader in g.consumers[node.name]]
        assert readers == [node.name.replace("shift", "conv")]


def test_the_motion_branch_is_gated_twice():
    g = build_ts_can()
    assert g.node["gate1"].inputs == ("motion_conv2.tanh", "attention1.mask")
    assert g.node["gate2"].inputs == ("motion_conv4.tanh", "attention2.mask")
    assert g.node["flatten"].attrs["order"] == "HWC"


@pytest.mark.parametrize("frames", [19, 30])
def test_frames_that_are_no_whole_segments_are_refused(frames):
    shapes = CLIPS | {"motion": (2, 3, frames, 36, 36)}
    with pytest.raises(GraphError, match=f"{frames} frames are not a multiple of the segment"):
        build_ts_can().shapes(shapes)
