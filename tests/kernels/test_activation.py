import numpy as np
import pytest

from tsm_ref.kernels.activation import (
    ACTIVATION,
    HARD_SIGMOID,
    HARD_SWISH,
    LEAKY_RELU,
    SIGMOID,
    TANH,
)
from tsm_ref.kernels.blocked import aligned
from tsm_ref.kernels.plans import planned
from tsm_ref.kernels.program import ACTIVATION_STEP, Assembler, run

LOWEST = -float(np.finfo(np.float32).max)
ODD = [0.0, -0.0, np.inf, -np.inf, np.nan, LOWEST, -LOWEST, 1e-40, -1e-40, 88.8, -88.8, -103.9]


def activated(values, kind, alpha=0.0, beta=0.0, parts=1):
    x = aligned(4 * len(values)).view(np.float32)
    x[:] = values
    plan = planned(ACTIVATION, kind=kind, x=x, count=len(x) // 16, alpha=alpha, beta=beta)
    assembler = Assembler()
    assembler.step(ACTIVATION_STEP, plan)
    counter = np.full(1, parts)  # nobody waits: the parts run one after the other
    for part in range(parts):
        run(assembler.program(), part, parts, counter.ctypes.data)
    return x.copy()


@pytest.fixture
def values(rng):
    near = np.sign(rng.standard_normal(4096)) * 10.0 ** rng.uniform(-37, 0, 4096)
    x = np.concatenate([near, rng.uniform(-12, 12, 8192), rng.uniform(-105, 105, 4096), ODD])
    return np.append(x, np.zeros(-len(x) % 16)).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "formula", "roundings"),
    [(TANH, np.tanh, 3), (SIGMOID, lambda x: 1 / (1 + np.exp(-x)), 4)],
)
def test_functions_are_right_to_their_last_places(values, kind, formula, roundings):
    """The bound of an oracle counts 2 and 4 roundings of 2^-24 as one standard deviation of six."""
    with np.errstate(over="ignore"):
        expected = formula(values.astype(np.float64))
    y = activated(values, kind)
    seen = np.isfinite(expected)
    error = np.abs(y.astype(np.float64) - expected)[seen]
    smallest = 2.0**-149  # below the normal numbers, roundings are as large as this
    allowed = roundings * 2.0**-24 * np.abs(expected[seen]) + smallest
    assert (error <= allowed).all()
    assert np.isnan(y[np.isnan(values)]).all()
    assert y.tobytes() == activated(values, kind, parts=3).tobytes()


def test_tanh_is_odd_and_keeps_its_sign(values):
    y, negated = activated(values, TANH), activated(-values, TANH)
    seen = ~np.isnan(values)
    assert (y[seen] == -negated[seen]).all()
    assert (np.signbit(y) == np.signbit(values))[seen].all()


@pytest.mark.parametrize(
    ("kind", "formula"),
    [
        (LEAKY_RELU, lambda x: np.where(x > 0, x, x * np.float32(0.1))),
        (HARD_SIGMOID, lambda x: np.clip(np.float32(0.1) * x + np.float32(0.5), 0, 1)),
        (HARD_SWISH, lambda x: x * np.clip(np.float32(0.1) * x + np.float32(0.5), 0, 1)),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_lines_are_their_formulas(values, kind, formula):
    with np.errstate(all="ignore"):
        expected = formula(values)
    y = activated(values, kind, 0.1, 0.5)
    assert expected.dtype == np.float32
    np.testing.assert_array_equal(y, expected)
