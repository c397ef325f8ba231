"""How far a correct implementation may be from the float64 oracle, for one op and for a network.

A worst case interval is useless through fifty layers, where it multiplies by the sum of |weights|
at each one. Here every value carries the *variance* of its rounding error instead (Higham, Mary
2019): errors of single roundings are taken as independent with mean zero, and are carried through
each op by its derivative (first order in u). The tolerance is six standard deviations.

The rules, which every function below follows:

- An op adds its own rounding error: a bound b on a sum counts as six standard deviations, variance
  (b / 6)^2; the rounding of one elementwise result y counts as one, variance (k u y)^2.
- Linear ops carry the variance by their squared coefficients, as for independent errors.
- Averages take the mean of the variances, as for fully correlated errors: the safe side.
- An activation carries it by the square of its largest slope within the tolerance of its input.

So the tolerance of one op on exact input is the bound of that op. `u` is the unit roundoff of the
type the testee *accumulates* in (`unit_roundoff`). Nothing may overflow or underflow. The functions
take what their namesakes in `ops`, `pool` and `shift` take, with `Bounded` in place of data, and
fail as these do.
"""

from collections.abc import Callable
from math import prod

import numpy as np
from numpy.typing import ArrayLike

from tsm_ref.reference import ops, pool, rounding, shift, spatial
from tsm_ref.reference._arrays import Array
from tsm_ref.reference._windows import Padding, Size
from tsm_ref.reference.bounded import SIGMAS, Bounded, moved
from tsm_ref.reference.rounding import accumulation_bound, unit_roundoff

# exp and tanh of a good library are wrong by about one unit in the last place, which is 2 u.
FUNCTION = 2.0


def conv(
    x: Bounded,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    u: float,
    rounded_weights: bool = False,
) -> Bounded:
    """A convolution carries the variance by its squared weights.

    var y = sum of W^2 var x + (b / 6)^2, b being the bound of C / groups * taps products.

    `rounded_weights` allows for weights that the testee rounds once more than the oracle does, as
    when it folds a batch norm into them: + u^2 conv(x^2, W^2).

    >>> x = Bounded.exact(np.ones((1, 1, 2)))
    >>> conv(x, np.full((1, 1, 2), 0.5), u=0.01).tolerance()
    array([[[0.05]]])
    """
    w = np.asarray(weight, np.float64)
    b = None if bias is None else np.asarray(bias, np.float64)
    where = (stride, padding, dilation, groups)
    y = ops.conv(x.value, w, b, *where)
    size = ops.conv(np.abs(x.value), np.abs(w), None if b is None else np.abs(b), *where)
    carried = x.variance + (u * x.value) ** 2 if rounded_weights else x.variance
    local = accumulation_bound(prod(w.shape[1:]), u, size, y)
    return Bounded(y, ops.conv(carried, w**2, None, *where)).plus(local / SIGMAS)


def linear(
    x: Bounded,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    u: float,
    rounded_weights: bool = False,
) -> Bounded:
    """A fully connected layer: `conv` with one tap.

    >>> linear(Bounded.exact([[1.0, -1.0]]), [[3.0, 2.0]], u=0.01).tolerance()
    array([[0.21]])
    """
    w = np.asarray(weight, np.float64)
    shape = x.value.shape
    flat = moved(x, lambda v: v.reshape(*shape[:2], prod(shape[2:])))
    y = conv(flat, w[:, :, None], bias, u=u, rounded_weights=rounded_weights)
    return moved(y, lambda v: v.reshape(*v.shape[:2], *shape[2:]))


def batch_norm(
    x: Bounded,
    mean: ArrayLike,
    variance: ArrayLike,
    scale: ArrayLike,
    shift: ArrayLike,
    eps: float = 1e-5,
    *,
    u: float,
) -> Bounded:
    """Batch norm, y = a x + s with a = scale / sqrt(variance + eps): var y = a^2 var x + local.

    The local bound is 5 u (|a x| + |a mean| + |shift|) + u |y|, enough for either order of work:
    a takes 3 roundings (eps, root, quotient); s = shift - a mean two more, a x one more.

    >>> x = Bounded.exact([[3.0]])
    >>> batch_norm(x, [1.0], [4.0], [2.0], [0.5], eps=0.0, u=0.01).tolerance()
    array([[0.25]])
    """
    y = ops.batch_norm(x.value, mean, variance, scale, shift, eps)
    given = (mean, variance, scale, shift)
    m, v, g, s = (np.asarray(p, np.float64).reshape(-1, *[1] * (y.ndim - 2)) for p in given)
    a = np.abs(g) / np.sqrt(v + eps)
    local = 5 * u * (a * (np.abs(x.value) + np.abs(m)) + np.abs(s)) + u * np.abs(y)
    return Bounded(y, a**2 * x.variance).plus(local / SIGMAS)


def bfloat16(x: Bounded, *, u: float = 0.0) -> Bounded:
    """Rounding to bfloat16: a value that has an error may fall to the next number.

    Two numbers less than one step apart round to the same number or to neighbours, and a step is at
    most 2^-7 |y|. That is a bound, so six standard deviations. What is exact stays exact.

    >>> bfloat16(Bounded(np.array([1.0, 1.0]), np.array([0.0, 1e-12]))).tolerance().round(6)
    array([0.      , 0.007813])
    """
    y = rounding.bfloat16(x.value)
    step = np.where(x.variance > 0, 2 * unit_roundoff("bfloat16") * np.abs(y), 0.0)
    return Bounded(y, x.variance).plus(step / SIGMAS)


def relu(x: Bounded, *, u: float = 0.0) -> Bounded:
    """max(x, 0): nothing is rounded, and nothing passes where x is surely negative.

    >>> relu(Bounded(np.array([-9.0, -1.0]), np.array([1.0, 1.0]))).tolerance()
    array([0., 6.])
    """
    return _activation(x, ops.relu(x.value), x.value > -x.tolerance(), 0.0)


def relu6(x: Bounded, *, u: float = 0.0) -> Bounded:
    """min(max(x, 0), 6): as `relu`, and nothing passes where x is surely above 6."""
    near = (x.value > -x.tolerance()) & (x.value < 6 + x.tolerance())
    return _activation(x, ops.relu6(x.value), near, 0.0)


def leaky_relu(x: Bounded, slope: float = 0.01, *, u: float) -> Bounded:
    """Leaky ReLU: the largest slope is 1, or |slope| where x is surely negative; one rounding."""
    largest = np.where(x.value > -x.tolerance(), max(1.0, abs(slope)), abs(slope))
    return _activation(x, ops.leaky_relu(x.value, slope), largest, u)


def hard_sigmoid(x: Bounded, alpha: float = 1 / 6, beta: float = 0.5, *, u: float) -> Bounded:
    """Hard sigmoid: the slope is alpha; 3 roundings of numbers up to max(1, 2 |beta|)."""
    y = ops.hard_sigmoid(x.value, alpha, beta)
    size = np.minimum(np.abs(alpha * x.value) + abs(beta), max(1.0, 2 * abs(beta)))
    return Bounded(y, alpha**2 * x.variance).plus(3 * u * size)


def hard_swish(x: Bounded, *, u: float) -> Bounded:
    """Hard swish: the largest slope is 1.5; the roundings of `hard_sigmoid` times |x|, and one."""
    inner = hard_sigmoid(Bounded.exact(x.value), u=u)
    y = x.value * inner.value
    largest = np.where(x.value > -3 - x.tolerance(), 1.5, 0.0)
    carried = Bounded(y, largest**2 * x.variance)
    rounding = np.where(x.value > -3 - x.tolerance(), np.sqrt(inner.variance) * x.value, 0.0)
    return carried.plus(rounding).plus(u * y)


def tanh(x: Bounded, *, u: float) -> Bounded:
    """tanh: the slope 1 - tanh^2 where the input may be closest to 0; a function's rounding."""
    nearest = np.maximum(np.abs(x.value) - x.tolerance(), 0)
    return _activation(x, np.tanh(x.value), 1 - np.tanh(nearest) ** 2, FUNCTION * u)


def sigmoid(x: Bounded, *, u: float) -> Bounded:
    """Sigmoid: the slope s (1 - s) where the input may be closest to 0 (1/4 at most).

    One rounding of a function, of the sum and of the quotient: 4 u.
    """
    # The slope is even; s of a negative number is small, so that 1 - s does not cancel.
    s = ops.sigmoid(-np.maximum(np.abs(x.value) - x.tolerance(), 0))
    return _activation(x, ops.sigmoid(x.value), s * (1 - s), (FUNCTION + 2) * u)


def max_pool(
    x: Bounded,
    kernel: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    *,
    u: float = 0.0,
) -> Bounded:
    """Max pooling rounds nothing; its error is at most the largest in the window."""
    where = (kernel, stride, padding, dilation, ceil_mode)
    return Bounded(pool.max_pool(x.value, *where), pool.max_pool(x.variance, *where))


def avg_pool(
    x: Bounded,
    kernel: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    *,
    u: float,
) -> Bounded:
    """Average pooling: the mean of the variances, and the bound of a sum over the window."""
    where = (kernel, stride, padding, ceil_mode, count_include_pad)
    n = kernel ** (x.value.ndim - 2) if isinstance(kernel, int) else prod(kernel)
    return _mean(x, lambda v: pool.avg_pool(v, *where), n, u)


def global_avg_pool(
    x: Bounded, axes: tuple[int, ...] = (-2, -1), keepdims: bool = False, *, u: float
) -> Bounded:
    """Global average pooling: the mean of the variances, and the bound of a sum over the axes."""
    n = prod(x.value.shape[axis] for axis in axes)
    return _mean(x, lambda v: pool.global_avg_pool(v, axes, keepdims), n, u)


def consensus(x: Bounded, over: str = "mean", *, u: float) -> Bounded:
    """The mean over time: the mean of the variances, and the bound of a sum over T frames.

    The largest and the last frame are copied; the largest may be any of them.
    """
    if over == "mean":
        return _mean(x, ops.consensus, x.value.shape[-1], u)
    variance = x.variance.max(-1) if over == "max" else x.variance[..., -1]
    return Bounded(ops.consensus(x.value, over), variance)


def add(a: Bounded, b: Bounded, *, u: float) -> Bounded:
    """Addition: the variances add up, as for independent errors, and one rounding.

    >>> add(Bounded.exact([1.0]), Bounded.exact([2.0]), u=0.01).tolerance()
    array([0.18])
    """
    y = a.value + b.value
    return Bounded(y, a.variance + b.variance).plus(u * y)


def concatenate(x: Bounded, y: Bounded, *, u: float) -> Bounded:
    """The channels of two values, one behind the other: nothing is rounded."""
    values, variances = (x.value, y.value), (x.variance, y.variance)
    return Bounded(np.concatenate(values, axis=1), np.concatenate(variances, axis=1))


def multiply(a: Bounded, b: Bounded, *, u: float) -> Bounded:
    """Multiplication: a^2 var b + b^2 var a, and one rounding."""
    y = a.value * b.value
    return Bounded(y, a.value**2 * b.variance + b.value**2 * a.variance).plus(u * y)


def softmax(x: Bounded, axis: int = 1, *, u: float) -> Bounded:
    """Softmax, first order: dy_i = y_i (dx_i - sum over j of y_j dx_j), plus its own roundings.

    var y_i = y_i^2 (max(1 - 2 y_i, 0) var x_i + sum over j of y_j^2 var x_j), too large only where
    y_i > 1/2, where the exact 1 - 2 y_i would cancel against the sum and leave nothing but noise.
    These are, relative to y_i: x_i - max x, the same averaged over the sum, two exponentials, a
    sum of n terms, a quotient.
    """
    y = ops.softmax(x.value, axis)
    mixed = (y**2 * x.variance).sum(axis, keepdims=True)
    carried = Bounded(y, y**2 * (np.maximum(1 - 2 * y, 0) * x.variance + mixed))
    below = np.abs(x.value - x.value.max(axis, keepdims=True))
    n = x.value.shape[axis]
    terms = below + (y * below).sum(axis, keepdims=True) + 2 * FUNCTION + min(n + 2, 6 * n**0.5)
    return carried.plus(u * y * terms / SIGMAS).plus(u * y)


def log_softmax(x: Bounded, axis: int = 1, *, u: float) -> Bounded:
    """Log-softmax, first order: dy_i = dx_i - sum over j of p_j dx_j, plus its own roundings.

    var y_i = max(1 - 2 p_i, 0) var x_i + sum over j of p_j^2 var x_j, with p the softmax (see
    there). The roundings: x_i - max x, the relative error of the sum of exponentials as it is
    there, the logarithm, a difference.
    """
    y, p = ops.log_softmax(x.value, axis), ops.softmax(x.value, axis)
    mixed = (p**2 * x.variance).sum(axis, keepdims=True)
    carried = Bounded(y, np.maximum(1 - 2 * p, 0) * x.variance + mixed)
    below = np.abs(x.value - x.value.max(axis, keepdims=True))
    n = x.value.shape[axis]
    log_sum = np.abs(y + below)
    terms = below + (p * below).sum(axis, keepdims=True) + FUNCTION + min(n + 2, 6 * n**0.5)
    return carried.plus(u * (terms + FUNCTION * log_sum) / SIGMAS).plus(u * y)


def attention_mask(m: Bounded, *, u: float) -> Bounded:
    """0.5 m / mean(m), first order, with the errors of m and of its mean fully opposed.

    sd y = 0.5 (sd m / mean + m sd mean / mean^2); 3 roundings and those of a sum over the picture.
    """
    mean = _mean(m, lambda v: pool.global_avg_pool(v, keepdims=True), prod(m.value.shape[-2:]), u)
    y = ops.attention_mask(m.value)
    relative = np.sqrt(mean.variance) / mean.value
    deviation = 0.5 * np.sqrt(m.variance) / mean.value + y * relative
    return Bounded(y, deviation**2).plus(2 * u * y)


def non_local(
    theta: Bounded,
    phi: Bounded,
    g: Bounded,
    mode: ops.Mode = "embedded_gaussian",
    *,
    u: float,
) -> Bounded:
    """The non-local average: two matrix products of bounded factors around `softmax`."""
    value = ops.non_local(theta.value, phi.value, g.value, mode)
    rows, columns, averaged = (
        moved(v, lambda a: a.reshape(*a.shape[:2], prod(a.shape[2:]))) for v in (theta, phi, g)
    )
    weights = _matmul(moved(rows, lambda a: a.swapaxes(1, 2)), columns, u)
    if mode == "dot_product":
        share = 1 / weights.value.shape[2]
        weights = multiply(weights, Bounded.exact(np.full_like(weights.value, share)), u=u)
    else:
        weights = softmax(weights, axis=2, u=u)
    y = _matmul(averaged, moved(weights, lambda a: a.swapaxes(1, 2)), u)
    return Bounded(value, y.variance.reshape(value.shape))


def temporal_shift(
    x: Bounded, d: ArrayLike, fill: shift.Fill = "zero", *, u: float = 0.0
) -> Bounded:
    """A shift moves the variances with the values; a zero that it fills in is exact."""
    return moved(x, lambda v: shift.temporal_shift(v, d, fill))


def spatial_shift(
    x: Bounded, dh: ArrayLike, dw: ArrayLike, fill: shift.Fill = "zero", *, u: float = 0.0
) -> Bounded:
    """As `temporal_shift`, along height and width."""
    return moved(x, lambda v: spatial.spatial_shift(v, dh, dw, fill))


def _activation(x: Bounded, y: Array, slope: Array, rounding: float) -> Bounded:
    return Bounded(y, slope**2 * x.variance).plus(rounding * y)


def _mean(x: Bounded, mean: Callable[[Array], Array], n: int, u: float) -> Bounded:
    y = mean(x.value)
    local = accumulation_bound(n, u, mean(np.abs(x.value)), y)
    return Bounded(y, mean(x.variance)).plus(local / SIGMAS)


def _matmul(a: Bounded, b: Bounded, u: float) -> Bounded:
    y = a.value @ b.value
    variance = a.variance @ b.value**2 + a.value**2 @ b.variance
    local = accumulation_bound(a.value.shape[-1], u, np.abs(a.value) @ np.abs(b.value), y)
    return Bounded(y, variance).plus(local / SIGMAS)
