import numpy as np
import pytest

from tsm_ref.kernels.blocked import Layout, aligned, from_blocked, to_blocked
from tsm_ref.kernels.conv import pack_bias
from tsm_ref.kernels.program import WINOGRAD_STEP, Assembler, run
from tsm_ref.kernels.winograd import (
    FILTER,
    plan_winograd,
    tiles,
    transform_weights,
)

NORMWISE = {2: 2e-6, 4: 2e-5}
"""Error over output norm that the docs state for F(2x2, 3x3) and F(4x4, 3x3) in float32."""


def winograd(x, w, b, m, residual=None, low=-np.inf, parts=1, tile_block=None):
    clips, _, frames, height, width = x.shape
    after = 1 + -height % m + -width % m
    source = to_blocked(x, 1, after)
    lx = Layout(clips * frames, x.shape[1], height, width, 1, after)
    ly = Layout(clips * frames, len(w), height, width, 1, 0)
    y = aligned(ly.size).view(np.float32)
    r = None if residual is None else to_blocked(residual)
    lr = None if residual is None else Layout(clips * frames, len(w), height, width)
    frame, block = np.indices((lx.frames, lx.blocks))
    planes = frame * lx.frame + block * lx.block
    plan, products = plan_winograd(
        lx, ly, m, transform_weights(w, m), pack_bias(b), planes, lr, x=source, y=y,
        residual=0 if r is None else r, low=low,
    )  # fmt: skip
    scratch = aligned(int(plan.record["scratch_size"]) * parts)
    plan.record["scratch"] = scratch.ctypes.data
    assembler = Assembler()
    assembler.part(WINOGRAD_STEP, assembler.keep_winograd(plan, products))
    program = assembler.program()
    counter = np.full(1, parts)  # nobody waits: the parts run one after the other
    for part in reversed(range(parts)):
        run(program, part, parts, counter.ctypes.data)
    return from_blocked(y.reshape(ly.shape), len(w), clips, 1, 0)


@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize("shape", [(2, 20, 3, 13, 10), (1, 64, 2, 8, 8), (1, 16, 1, 1, 2)])
@pytest.mark.parametrize("trimmed", [False, True])
def test_winograd_is_the_convolution(m, shape, trimmed, rng, conv_formula):
    x = rng.standard_normal(shape).astype(np.float32)
    w = (rng.standard_normal((40, shape[1], 1, 3, 3)) / 10).astype(np.float32)
    b = rng.standard_normal(40).astype(np.float32)
    expected = conv_formula(x, w, b, (1, 1, 1), (0, 1, 1, 0, 1, 1))
    residual = None
    if trimmed:
        residual = rng.standard_normal(expected.shape).astype(np.float32)
        expected = np.maximum(expected + residual, 0)
    y = winograd(x, w, b, m, residual, 0 if trimmed else -np.inf)
    assert np.linalg.norm(y - expected) <= NORMWISE[m] * np.linalg.norm(expected)
    assert np.abs(y - expected).max() <= 10 * NORMWISE[m] * np.abs(expected).max()


@pytest.mark.parametrize("m", [2, 4])
def test_bits_do_not_depend_on_frames_or_parts(m, rng):
    x = rng.standard_normal((1, 32, 5, 9, 9)).astype(np.float32)
    w, b = rng.standard_normal((32, 32, 1, 3, 3)).astype(np.float32), np.zeros(32, np.float32)
    clip = winograd(x, w, b, m)
    for parts in (2, 3):
        assert winograd(x, w, b, m, parts=parts).tobytes() == clip.tobytes()
    for t in range(5):
        assert winograd(x[:, :, t : t + 1], w, b, m).tobytes() == clip[:, :, t].tobytes()


@pytest.mark.parametrize("m", [2, 4])
def test_the_filter_transform_belongs_to_an_exact_algorithm(m):
    """A one-hot filter and an impulse must give back the impulse at the right place."""
    for tap in range(9):
        w = np.zeros((16, 16, 1, 3, 3), np.float32)
        w[0, 0].flat[tap] = 1
        x = np.zeros((1, 16, 1, 6, 6), np.float32)
        x[0, 0, 0, 3, 3] = 1
        y = winograd(x, w, np.zeros(16, np.float32), m)
        v, u = 3 - tap // 3 + 1, 3 - tap % 3 + 1
        assert y[0, 0, 0, v, u] == pytest.approx(1, abs=1e-5)
        y[0, 0, 0, v, u] = 0
        assert np.abs(y).max() < 1e-5


def test_tiles_cover_every_pixel_once():
    layout = Layout(3, 16, 11, 7)
    table = tiles(Layout(3, 16, 11, 7, 1, 4), layout, 4)
    assert (table[:, 4] * table[:, 5]).sum() == 3 * 11 * 7
    assert len(np.unique(table[:, 2])) == len(table)


def test_transformed_weights_have_the_stated_size():
    w = np.ones((32, 16, 1, 3, 3), np.float32)
    for m, g in FILTER.items():
        assert g.shape == (m + 2, 3)
        assert transform_weights(w, m).size == w.size // 9 * (m + 2) ** 2
