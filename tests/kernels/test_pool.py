import numpy as np
import pytest

from tsm_ref.kernels import loops
from tsm_ref.kernels.blocked import Layout, aligned, from_blocked, to_blocked
from tsm_ref.kernels.pool import MAXIMUM, MEAN, MEAN_WITH_PADDING, plan_pool
from tsm_ref.kernels.program import POOL_STEP, Assembler, run


def pool(x, kind, kernel, strides, pads, size, parts=1):
    source = to_blocked(x, 1, 2)
    frames = x.shape[0] * x.shape[2]
    lx = Layout(frames, x.shape[1], *x.shape[3:], 1, 2)
    ly = Layout(frames, x.shape[1], *size, 2, 1)
    y = aligned(ly.size).view(np.float32)
    assembler = Assembler()
    assembler.step(POOL_STEP, plan_pool(lx, ly, kind, kernel, strides, pads, x=source, y=y))
    counter = np.full(1, parts)  # nobody waits: the parts run one after the other
    for part in range(parts):
        run(assembler.program(), part, parts, counter.ctypes.data)
    return from_blocked(y.reshape(ly.shape), x.shape[1], x.shape[0], 2, 1)


@pytest.mark.parametrize("kind", [MAXIMUM, MEAN, MEAN_WITH_PADDING])
@pytest.mark.parametrize(
    ("kernel", "strides", "pads", "size"),
    [
        ((3, 3), (2, 2), (1, 1, 1, 1), (5, 4)),
        ((2, 3), (2, 1), (0, 1, 0, 0), (4, 6)),
        ((2, 2), (2, 2), (0, 0, 0, 0), (5, 4)),  # ceil mode: the last window is cut
        ((9, 7), (1, 1), (0, 0, 0, 0), (1, 1)),
    ],
)
def test_pool_is_the_loop(kind, kernel, strides, pads, size, rng):
    x = rng.standard_normal((2, 20, 2, 9, 7)).astype(np.float32)
    pads3 = (0, *pads[:2], 0, *pads[2:])
    geometry = ((1, *kernel), (1, *strides), pads3)
    if kind == MAXIMUM:
        expected = loops.max_pool(x, *geometry, (1, 1, 1), (2, *size))
        assert pool(x, kind, kernel, strides, pads, size, 3).tobytes() == expected.tobytes()
    else:
        counting = kind == MEAN_WITH_PADDING
        expected = loops.average_pool(x.astype(float), *geometry, counting, (2, *size))
        y = pool(x, kind, kernel, strides, pads, size)
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)


def test_nan_wins_wherever_it_stands():
    for place in range(4):
        x = np.zeros((1, 1, 1, 2, 2), np.float32)
        x.flat[place] = np.nan
        assert np.isnan(pool(x, MAXIMUM, (2, 2), (1, 1), (0, 0, 0, 0), (1, 1))).all()
