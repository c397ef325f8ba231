import numpy as np
import pytest

from tsm_ref.kernels.blocked import Layout, aligned, from_blocked, to_blocked
from tsm_ref.kernels.conv import pack_bias
from tsm_ref.kernels.depthwise import pack_depthwise, plan_depthwise
from tsm_ref.kernels.program import DEPTHWISE_STEP, Assembler, run


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(2, 20, 2, 9, 17), (1, 16, 1, 14, 14), (1, 32, 3, 2, 3)])
def test_depthwise_is_within_the_bound(stride, shape, rng, conv_formula, within_bound):
    clips, c, frames, height, width = shape
    x = rng.standard_normal(shape).astype(np.float32)
    w = rng.standard_normal((c, 1, 1, 3, 3)).astype(np.float32)
    b = rng.standard_normal(c).astype(np.float32)
    geometry = ((1, stride, stride), (0, 1, 1, 0, 1, 1), (1, 1, 1), c)
    expected = np.clip(conv_formula(x, w, b, *geometry), 0, 6)
    magnitude = conv_formula(abs(x), abs(w), abs(b), *geometry)
    source = to_blocked(x, 1, 1)
    ly = Layout(clips * frames, c, *expected.shape[3:])
    results = []
    for parts in (1, 3):
        y = aligned(ly.size).view(np.float32)
        plan = plan_depthwise(
            Layout(clips * frames, c, height, width, 1, 1), ly, pack_depthwise(w), pack_bias(b), 3,
            stride, x=source, y=y, low=0, high=6,
        )  # fmt: skip
        assembler = Assembler()
        assembler.step(DEPTHWISE_STEP, plan)
        counter = np.full(1, parts)  # nobody waits: the parts run one after the other
        waiting = counter.ctypes.data
        for part in range(parts):
            run(assembler.program(), part, parts, waiting)
        results.append(from_blocked(y.reshape(ly.shape), c, clips))
    within_bound(results[0], expected, 9, magnitude)
    assert results[0].tobytes() == results[1].tobytes()


@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("pads", [(0, 0), (1, 2)])
def test_filters_of_every_size_behind_moved_planes(size, stride, pads, rng, conv_formula,
                                                   within_bound):  # fmt: skip
    shape = (1, 36, 3, 11, 9)
    x = rng.standard_normal(shape).astype(np.float32)
    w = rng.standard_normal((36, 1, 1, size, size)).astype(np.float32)
    b = rng.standard_normal(36).astype(np.float32)
    geometry = ((1, stride, stride), (0, *pads, 0, 3, 3), (1, 1, 1), 36)
    turned = x[:, :, ::-1]
    expected = conv_formula(turned, w, b, *geometry)
    magnitude = conv_formula(abs(turned), abs(w), abs(b), *geometry)
    lx, ly = Layout(3, 36, 11, 9, 2, 3), Layout(3, 36, *expected.shape[3:], 1, 0)
    planes = np.array([lx.start(2 - t) for t in range(3)])[:, None] + np.arange(3) * lx.block
    y = aligned(ly.size).view(np.float32)
    plan = plan_depthwise(
        lx, ly, pack_depthwise(w), pack_bias(b), size, stride, pads, planes,
        x=to_blocked(x, 2, 3), y=y,
    )  # fmt: skip
    results = []
    for parts in (1, 5):
        y[:] = 0
        assembler = Assembler()
        assembler.step(DEPTHWISE_STEP, plan)
        counter = np.full(1, parts)
        for part in range(parts):
            run(assembler.program(), part, parts, counter.ctypes.data)
        results.append(from_blocked(y.reshape(ly.shape), 36, 1, 1, 0))
    within_bound(results[0], expected, size**2, magnitude)
    assert results[0].tobytes() == results[1].tobytes()
