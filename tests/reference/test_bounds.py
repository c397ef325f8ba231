"""The tolerances: by hand, against float32 arithmetic that must pass, and defects that must not.

Every op is run in float32 on exact input and must stay below its own tolerance, but use a share of
it that shows the tolerance to be no blank cheque; then on input that carries an error already.
"""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsm_ref.reference import bounds, folds_mit, ops, pool, shift
from tsm_ref.reference.bounded import Bounded, moved
from tsm_ref.reference.rounding import unit_roundoff

U = unit_roundoff(np.float32)


def normal(rng: Any, *shape: int) -> Any:
    return rng.standard_normal(shape).astype(np.float32)


def truncated(x: Any, bits: int) -> Any:
    """A float32 array with the last `bits` bits cleared: 16 for bfloat16, 13 for TF32."""
    return (x.view(np.uint32) & np.uint32(2**32 - 2**bits)).view(np.float32)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2]))
def test_a_convolution_carries_the_variance_by_squared_weights(seed, groups):
    """Against the formula in loops, with u = 0 so that nothing is added."""
    rng = np.random.default_rng(seed)
    x = Bounded(rng.standard_normal((1, 4, 2, 3, 5)), rng.uniform(0, 1, (1, 4, 2, 3, 5)))
    w = rng.standard_normal((6, 4 // groups, 1, 2, 3))
    y = bounds.conv(x, w, stride=(1, 1, 2), groups=groups, u=0.0)
    for o, t, i, j in np.ndindex(6, 2, 2, 2):
        first = o // (6 // groups) * (4 // groups)
        expected = sum(
            w[o, c, 0, p, q] ** 2 * x.variance[0, first + c, t, i + p, 2 * j + q]
            for c, p, q in np.ndindex(4 // groups, 2, 3)
            if 2 * j + q < 5
        )
        assert math.isclose(y.variance[0, o, t, i, j], expected, rel_tol=1e-12)


def test_the_tolerance_of_one_convolution_by_hand(rng):
    x, w, b = normal(rng, 2, 3, 4, 5, 6), normal(rng, 7, 3, 1, 3, 3), normal(rng, 7)
    size = ops.conv(abs(x).astype(np.float64), abs(w), abs(b), padding=(0, 1, 1))
    y = ops.conv(x.astype(np.float64), w, b, padding=(0, 1, 1))
    tolerance = bounds.conv(Bounded.exact(x), w, b, padding=(0, 1, 1), u=U).tolerance()
    np.testing.assert_allclose(tolerance, 29 * U * size + U * abs(y), rtol=1e-12)
    rounded = bounds.conv(
        Bounded.exact(x), w, b, padding=(0, 1, 1), u=U, rounded_weights=True
    ).tolerance()
    squares = x.astype(np.float64) ** 2, w.astype(np.float64) ** 2
    more = ops.conv(*squares, padding=(0, 1, 1)) * (6 * U) ** 2
    np.testing.assert_allclose(rounded**2, tolerance**2 + more, rtol=1e-12)


CONVOLUTIONS = [(8, 1, 0.02), (8, 3, 0.005), (64, 3, 0.001), (256, 3, 0.0005)]


@pytest.mark.parametrize(("channels", "k", "least"), CONVOLUTIONS)
def test_float32_convolutions_pass_and_defects_do_not(channels, k, least, rng):
    x, b = normal(rng, 1, channels, 3, 9, 10), normal(rng, 16) / 10
    w = normal(rng, 16, channels, 1, k, k) / np.float32(channels * k * k) ** np.float32(0.5)
    where: Any = {"padding": (0, k // 2, k // 2)}
    bound = bounds.conv(Bounded.exact(x), w, b, **where, u=U)
    assert least < bound.used(ops.conv(x, w, b, **where)) < 1
    assert np.sqrt((bound.value**2).mean()) > 100 * bound.tolerance().max(), "vacuous"

    wrong = w.copy()
    wrong[3, channels // 2, 0, 0, 0] *= 2
    defects = {
        "bfloat16": ops.conv(truncated(x, 16), truncated(w, 16), b, **where),
        "TF32": ops.conv(truncated(x, 13), truncated(w, 13), b, **where),
        "bias dropped": ops.conv(x, w, **where),
        "one weight doubled": ops.conv(x, wrong, b, **where),
        "shift before it": ops.conv(shift.temporal_shift(x, folds_mit(channels, 4)), w, b, **where),
        "kernel flipped": ops.conv(x, w[..., ::-1, ::-1], b, **where),
    }
    for name, y in defects.items():
        if not (name == "kernel flipped" and k == 1):
            assert bound.used(y) > 1, name


X = np.random.default_rng(4).standard_normal((2, 5, 3, 6, 7)).astype(np.float32) * np.float32(2)
M = np.random.default_rng(5).uniform(0.05, 0.95, (2, 1, 3, 6, 7)).astype(np.float32)
S = np.random.default_rng(6).uniform(0.1, 2.0, (4, 5)).astype(np.float32)
W = np.random.default_rng(7).standard_normal((4, 5)).astype(np.float32)

# name: (what float32 computes, its bound, the least share of the tolerance that is used)
SINGLE_OPS = {
    "batch_norm": (ops.batch_norm(X, *S), lambda x: bounds.batch_norm(x, *S, u=U), 0.05),
    "linear": (ops.linear(X, W), lambda x: bounds.linear(x, W, u=U), 0.02),
    "leaky_relu": (ops.leaky_relu(X), lambda x: bounds.leaky_relu(x, u=U), 0.05),
    "hard_sigmoid": (ops.hard_sigmoid(X), lambda x: bounds.hard_sigmoid(x, u=U), 0.02),
    "hard_swish": (ops.hard_swish(X), lambda x: bounds.hard_swish(x, u=U), 0.02),
    "tanh": (ops.tanh(X), lambda x: bounds.tanh(x, u=U), 0.02),
    "sigmoid": (ops.sigmoid(X), lambda x: bounds.sigmoid(x, u=U), 0.02),
    "softmax": (ops.softmax(X), lambda x: bounds.softmax(x, u=U), 0.02),
    "log_softmax": (ops.log_softmax(X), lambda x: bounds.log_softmax(x, u=U), 0.02),
    "avg_pool": (pool.avg_pool(X, 3, 2, 1), lambda x: bounds.avg_pool(x, 3, 2, 1, u=U), 0.01),
    "global_avg_pool": (pool.global_avg_pool(X), lambda x: bounds.global_avg_pool(x, u=U), 0.002),
    "consensus": (
        ops.consensus(X[..., 0, 0]),
        lambda x: bounds.consensus(moved(x, lambda v: v[..., 0, 0]), u=U),
        0.01,
    ),
    "add": (X + X[::-1], lambda x: bounds.add(x, moved(x, lambda v: v[::-1]), u=U), 0.05),
    "multiply": (
        X * X[::-1],
        lambda x: bounds.multiply(x, moved(x, lambda v: v[::-1]), u=U),
        0.05,
    ),
    "non_local": (ops.non_local(X, X, X), lambda x: bounds.non_local(x, x, x, u=U), 0.002),
    "dot_product": (
        ops.non_local(X, X, X, "dot_product"),
        lambda x: bounds.non_local(x, x, x, "dot_product", u=U),
        0.002,
    ),
}


@pytest.mark.parametrize("name", SINGLE_OPS)
def test_float32_uses_some_of_the_tolerance_of_every_op(name):
    computed, bound, least = SINGLE_OPS[name]
    b = bound(Bounded.exact(X))
    assert least < b.used(computed) < 1
    assert b.used(computed * np.float32(1 + 2.0**-8)) > 1
    assert b.used(truncated(computed, 16)) > 1


def test_an_attention_mask_in_float32():
    b = bounds.attention_mask(Bounded.exact(M), u=U)
    assert 0.01 < b.used(ops.attention_mask(M)) < 1
    assert b.used(truncated(ops.attention_mask(M), 16)) > 1


def test_folded_and_unfolded_batch_norm_pass_and_another_epsilon_does_not():
    m, v, g, s = (p.reshape(-1, 1, 1, 1) for p in S)
    a = g / np.sqrt(v + np.float32(1e-5))
    b = bounds.batch_norm(Bounded.exact(X), *S, u=U)
    assert b.used(a * X + (s - a * m)) < 1
    assert b.used(ops.batch_norm(X, *S, eps=1e-4)) > 1


def test_ops_that_only_move_data_add_nothing():
    exact = Bounded.exact(X)
    d = [1, -1, 2, 0, -2]
    for b, y in {
        bounds.relu: (bounds.relu(exact), ops.relu(X)),
        bounds.relu6: (bounds.relu6(exact), ops.relu6(X)),
        bounds.max_pool: (bounds.max_pool(exact, 3, 2, 1), pool.max_pool(X, 3, 2, 1)),
        bounds.temporal_shift: (
            bounds.temporal_shift(exact, d, "circular"),
            shift.temporal_shift(X, d, "circular"),
        ),
    }.values():
        assert not b.variance.any()
        assert b.used(y) == 0


PERTURBED = {
    "conv": (
        lambda v: ops.conv(v, W[:, :, None, None, None]),
        lambda x: bounds.conv(x, W[:, :, None, None, None], u=0.0),
    ),
    "linear": (lambda v: ops.linear(v, W), lambda x: bounds.linear(x, W, u=0.0)),
    "batch_norm": (lambda v: ops.batch_norm(v, *S), lambda x: bounds.batch_norm(x, *S, u=0.0)),
    "relu": (ops.relu, bounds.relu),
    "relu6": (ops.relu6, bounds.relu6),
    "leaky_relu": (ops.leaky_relu, lambda x: bounds.leaky_relu(x, u=0.0)),
    "hard_sigmoid": (ops.hard_sigmoid, lambda x: bounds.hard_sigmoid(x, u=0.0)),
    "hard_swish": (ops.hard_swish, lambda x: bounds.hard_swish(x, u=0.0)),
    "tanh": (ops.tanh, lambda x: bounds.tanh(x, u=0.0)),
    "sigmoid": (ops.sigmoid, lambda x: bounds.sigmoid(x, u=0.0)),
    "softmax": (ops.softmax, lambda x: bounds.softmax(x, u=0.0)),
    "log_softmax": (ops.log_softmax, lambda x: bounds.log_softmax(x, u=0.0)),
    "max over time": (
        lambda v: ops.consensus(v[..., 0, 0], "max"),
        lambda x: bounds.consensus(moved(x, lambda v: v[..., 0, 0]), "max", u=0.0),
    ),
    "max_pool": (lambda v: pool.max_pool(v, 2), lambda x: bounds.max_pool(x, 2)),
    "avg_pool": (lambda v: pool.avg_pool(v, 2), lambda x: bounds.avg_pool(x, 2, u=0.0)),
    "non_local": (
        lambda v: ops.non_local(v, X.astype(np.float64), X.astype(np.float64)),
        lambda x: bounds.non_local(x, Bounded.exact(X), Bounded.exact(X), u=0.0),
    ),
    "attention_mask": (
        lambda v: ops.attention_mask(v + 12),
        lambda x: bounds.attention_mask(Bounded(x.value + 12, x.variance), u=0.0),
    ),
    "square": (lambda v: v * v[::-1], lambda x: bounds.multiply(
        x, moved(x, lambda v: v[::-1]), u=0.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", PERTURBED)
@pytest.mark.parametrize("deviation", [1e-6, 1e-2])
def test_the_carried_variance_covers_a_measured_one(name, deviation):
    """Random errors of the stated variance go in; the worst of 60 draws is about 5 sd of 6.

    Averages are taken as fully correlated: over 8 independent values that is a factor of 2.8.
    """
    f, carry = PERTURBED[name]
    rng = np.random.default_rng(11)
    sd = deviation * rng.uniform(0.5, 2, X.shape)
    x = X.astype(np.float64)
    b = carry(Bounded(x, sd**2))
    shares = [b.used(f(x + sd * rng.standard_normal(X.shape))) for _ in range(60)]
    assert 0.2 < max(shares) < 1


def test_softmax_carries_the_variance_by_its_jacobian(rng):
    x = Bounded(rng.standard_normal((1, 6)) * 2, rng.uniform(0, 1, (1, 6)))
    y = ops.softmax(x.value)[0]
    jacobian = np.diag(y) - np.outer(y, y)
    expected = jacobian**2 @ x.variance[0]
    carried = bounds.softmax(x, u=0.0).variance[0]
    likely = y > 0.5
    np.testing.assert_allclose(carried[~likely], expected[~likely], rtol=1e-12)
    assert (carried[likely] >= expected[likely]).all()
    assert np.count_nonzero(~likely) >= 5


def network(x: Any, weights: Any, o: Any) -> Any:
    """Four residual TSM blocks with a head, in float32 (`o` is `Float32`) or bounded."""
    for first, second in weights[:-1]:
        branch = o.relu(o.conv(o.temporal_shift(x, folds_mit(16, 4)), first))
        x = o.relu(o.add(x, o.conv(branch, second)))
    return o.consensus(o.linear(o.global_avg_pool(x), weights[-1]))


class Float32:
    """The ops of `network` in float32, with a place for defects."""

    def __init__(self, lossy: Any = lambda v: v, direction: int = 1) -> None:
        self.lossy, self.direction = lossy, direction
        self.relu, self.linear, self.consensus = ops.relu, ops.linear, ops.consensus
        self.global_avg_pool = pool.global_avg_pool

    def temporal_shift(self, x: Any, d: Any) -> Any:
        return shift.temporal_shift(x, self.direction * d)

    def conv(self, x: Any, w: Any) -> Any:
        return ops.conv(self.lossy(x), self.lossy(w), padding=(0, 1, 1))

    def add(self, a: Any, b: Any) -> Any:
        return a + b


class Bounds:
    """The same ops with their bounds."""

    relu = staticmethod(bounds.relu)
    temporal_shift = staticmethod(bounds.temporal_shift)

    def __getattr__(self, name: str) -> Any:
        return lambda *args: getattr(bounds, name)(*args, u=U)

    def conv(self, x: Any, w: Any) -> Any:
        return bounds.conv(x, w, padding=(0, 1, 1), u=U)


def test_a_network_in_float32_passes_and_defects_do_not(rng):
    scale = np.float32((2 / (16 * 9)) ** 0.5)
    weights: Any = [
        (normal(rng, 16, 16, 1, 3, 3) * scale, normal(rng, 16, 16, 1, 3, 3) * scale / 2)
        for _ in range(4)
    ]
    weights.append(normal(rng, 5, 16))
    x = normal(rng, 1, 16, 3, 9, 8)
    b = network(Bounded.exact(x), weights, Bounds())
    assert np.sqrt((b.value**2).mean()) > 100 * b.tolerance().max(), "vacuous"
    assert 1e-4 < b.used(network(x, weights, Float32())) < 1
    assert b.used(network(x, weights, Float32(lambda v: truncated(v, 16)))) > 1
    assert b.used(network(x, weights, Float32(direction=-1))) > 1
    assert b.used(network(x, weights, Float32(direction=0))) > 1
    wrong = [*weights[:2], (weights[2][1], weights[2][0]), *weights[3:]]
    assert b.used(network(x, wrong, Float32())) > 1


def test_the_error_of_a_saturated_sigmoid_is_carried_where_its_value_is_tiny():
    """At -41 the slope is the value itself; 1 - s, with s near 1, would leave nothing of it."""
    x = Bounded(np.array([-41.0]), np.array([1e-8]))
    inside = ops.sigmoid(x.value + 0.9 * x.tolerance())
    assert 0.5 < bounds.sigmoid(x, u=0.0).used(inside) <= 1
