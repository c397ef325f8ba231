import numpy as np
import pytest

from tsm_ref.kernels.blocked import Layout, aligned, from_blocked, to_blocked
from tsm_ref.kernels.elementwise import IDENTITY, MASKED, PRODUCT, SCALED, SUM, plan_elementwise
from tsm_ref.kernels.program import ELEMENTWISE_STEP, Assembler, run

SHAPE = (1, 36, 3, 5, 7)
OPERANDS = [
    SHAPE,
    (1, 36, 3, 1, 1),  # a gate for each channel
    (1, 36, 1, 1, 1),
    (1, 1, 3, 5, 7),  # a mask of each frame
    (1, 1, 1, 5, 7),
    (1, 36, 3, 1, 7),
    (1, 1, 1, 1, 1),
]


def computed(kind, x, z=None, planes=None, parts=1, tables=None, **fields):
    """Run an operation between layouts whose borders differ."""
    n, c, t, h, w = x.shape
    lx, ly = Layout(t, c, h, w, 1, 2), Layout(t, c, h, w, 2, 0)
    sources = {"x": to_blocked(x, 1, 2)}
    lz = None
    if z is not None:
        lz = Layout(z.shape[2], z.shape[1], *z.shape[3:], 0, 1)
        sources["z"] = to_blocked(z, 0, 1)
    if tables is not None:
        sources["z"] = tables
    y = aligned(ly.size).view(np.float32)
    plan = plan_elementwise(kind, lx, ly, lz, planes, y=y, **sources, **fields)
    assembler = Assembler()
    assembler.step(ELEMENTWISE_STEP, plan)
    counter = np.full(1, parts)  # nobody waits: the parts run one after the other
    for part in range(parts):
        run(assembler.program(), part, parts, counter.ctypes.data)
    return from_blocked(y.reshape(ly.shape), c, n, 2, 0)


@pytest.mark.parametrize("shape", OPERANDS)
@pytest.mark.parametrize(("kind", "formula"), [(SUM, np.add), (PRODUCT, np.multiply)])
@pytest.mark.parametrize("parts", [1, 4])
def test_two_operands_are_what_numpy_computes(shape, kind, formula, parts, rng):
    x = rng.standard_normal(SHAPE).astype(np.float32)
    z = rng.standard_normal(shape).astype(np.float32)
    y = computed(kind, x, z, parts=parts, low=-1.5, high=2)
    assert y.tobytes() == np.clip(formula(x, z), -1.5, 2).astype(np.float32).tobytes()


def test_a_copy_is_the_value_with_its_nan(rng):
    x = rng.standard_normal(SHAPE).astype(np.float32)
    x[0, 3, 1, 2, 4], x[0, 35, 2, 4, 6] = np.nan, np.inf
    assert computed(IDENTITY, x, parts=2).tobytes() == x.tobytes()
    np.testing.assert_array_equal(computed(IDENTITY, x, low=0), np.maximum(x, 0))


def test_gain_and_offset(rng):
    x = rng.standard_normal(SHAPE).astype(np.float32)
    gain, offset = rng.standard_normal((2, 48)).astype(np.float32)
    z = np.stack([gain.reshape(3, 16), offset.reshape(3, 16)], axis=1).copy()
    expected = x.astype(np.float64) * gain[:36, None, None, None] + offset[:36, None, None, None]
    y = computed(SCALED, x, tables=z)
    np.testing.assert_array_equal(y, expected.astype(np.float32))


def test_a_mask_is_its_plane_over_twice_the_mean(rng):
    x = rng.uniform(0.1, 1, (1, 1, 4, 6, 5)).astype(np.float32)
    means = x.mean(axis=(3, 4), keepdims=True)
    y = computed(MASKED, x, means)
    assert y.tobytes() == (x * (np.float32(0.5) / means)).tobytes()


def test_planes_are_read_where_they_are_said_to_be(rng):
    x = rng.standard_normal((1, 20, 3, 4, 4)).astype(np.float32)
    layout = Layout(3, 20, 4, 4, 1, 2)
    frames = np.array([layout.start(2 - t) for t in range(3)])
    turned = frames[:, None] + np.arange(2) * layout.block
    assert computed(IDENTITY, x, planes=turned).tobytes() == x[:, :, ::-1].tobytes()
