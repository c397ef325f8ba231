import numpy as np
import pytest

from tsm_ref.kernels import loops_of_values as loops


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


FORMULAS = {
    "tanh": (loops.tanh, np.tanh),
    "sigmoid": (loops.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "leaky_relu": (lambda x: loops.leaky_relu(x, 0.25), lambda x: np.where(x < 0, x / 4, x)),
    "hard_sigmoid": (loops.hard_sigmoid, lambda x: np.clip(x + 3, 0, 6) / 6),
    "hard_swish": (loops.hard_swish, lambda x: x * np.clip(x + 3, 0, 6) / 6),
    "softmax": (loops.softmax, lambda x: softmax(x, 1)),
    "log_softmax": (loops.log_softmax, lambda x: np.log(softmax(x, 1))),
    "clamp": (lambda x: loops.clamp(x, 0.0, 0.5), lambda x: np.clip(x, 0, 0.5)),
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_are_their_formulas(name, dtype, rng):
    loop, formula = FORMULAS[name]
    x = (4 * rng.standard_normal((5, 40))).astype(dtype)
    found = loop(x)
    assert found.dtype == dtype
    rtol = 30 * np.finfo(dtype).eps
    np.testing.assert_allclose(found, formula(x.astype(float)), rtol=rtol, atol=rtol)


def test_nan_stays_nan():
    assert np.isnan(loops.clamp(np.array([np.nan]), 0.0, 6.0))[0]
    assert np.isnan(loops.softmax(np.array([[1.0, np.nan]]))).all()


def test_sums_and_products(rng):
    a, b = rng.standard_normal((2, 3, 4, 5))
    assert (loops.add(a, b) == a + b).all()
    assert (loops.multiply(a, b) == a * b).all()


def test_attention(rng):
    x = rng.uniform(1, 2, (2, 3, 4, 5, 6))
    assert np.allclose(loops.attention_mask(x), 0.5 * x / x.mean((3, 4), keepdims=True))
    theta, phi, g = (rng.standard_normal((2, c, p)) for c, p in ((3, 7), (3, 9), (5, 9)))
    scores = np.einsum("ncp,ncq->npq", theta, phi)
    for dot_product, f in ((False, softmax(scores, 2)), (True, scores / 9)):
        expected = np.einsum("npq,ncq->ncp", f, g)
        assert np.allclose(loops.non_local(theta, phi, g, dot_product), expected)
