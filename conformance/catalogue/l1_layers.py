"""L1: batch norm, activations, softmax, consensus, the attention mask and the non-local average."""

from typing import Any

import numpy as np

from conformance.catalogue._questions import both, layer, layer_case
from conformance.questions.arrays import Array
from conformance.questions.case import Call, Problem, Question, Setting
from conformance.questions.data import normal, small_integers
from conformance.questions.judges import Within
from tsm_ref.reference import bounds
from tsm_ref.reference.bounded import Bounded

BATCH_NORM = "y = (x - mean) / sqrt(variance + eps) * scale + shift, per channel"


@layer_case(
    "batch_norm.bound", formula=BATCH_NORM, defect="mean and variance, scale and shift swapped"
)
def batch_norm(s: Setting) -> Problem:
    """Every channel has its own four constants."""
    channels = 7
    x = {
        "x": normal(s.rng, (2, channels, 3, 4, 5), 3),
        "mean": normal(s.rng, (channels,)),
        "variance": s.rng.uniform(0.3, 4, channels).astype(np.float32),
        "scale": normal(s.rng, (channels,), 2),
        "shift": normal(s.rng, (channels,), 2),
    }
    return layer(s, "batch_norm", x, {"eps": 1e-5})


@layer_case(
    "batch_norm.small-variance", formula=BATCH_NORM, defect="eps is another, or stands outside"
)
def small_variance(s: Setting) -> Problem:
    """Variances of the size of eps, so that eps and its place in the formula decide."""
    channels = 6
    x = {
        "x": normal(s.rng, (2, channels, 2, 3, 4), 0.01),
        "mean": normal(s.rng, (channels,), 0.01),
        "variance": np.array([1e-5, 3e-5, 1e-4, 1e-6, 0.0, 2e-5], np.float32),
        "scale": normal(s.rng, (channels,)) + np.float32(2),
        "shift": normal(s.rng, (channels,)),
    }
    return layer(s, "batch_norm", x, {"eps": 1e-5})


def ramp(low: float, high: float) -> Array:
    """Numbers from low to high in every place of a small clip, none of them at a kink."""
    shape = (2, 3, 4, 5, 3)
    return np.linspace(low, high, int(np.prod(shape))).reshape(shape).astype(np.float32)


@layer_case(
    "relu.values", formula="max(x, 0)", defect="negative values leak, or large ones are cut"
)
def relu(s: Setting) -> Problem:
    """Negative, zero and large values."""
    x = np.concatenate([ramp(-9, 9), ramp(-1000, 3000)])
    return layer(s, "relu", {"x": x}, exact=True)


@layer_case("relu6.values", formula="min(max(x, 0), 6)", defect="the upper limit is missing")
def relu6(s: Setting) -> Problem:
    """Values below 0, inside, and above 6."""
    return layer(s, "relu6", {"x": ramp(-9, 15)}, exact=True)


@layer_case(
    "leaky_relu.bound", "SHOULD", formula="x if x > 0, else slope x", defect="another slope is used"
)
def leaky_relu(s: Setting) -> Problem:
    """Two slopes."""
    x = {"x": ramp(-7, 6)}
    return both(*(layer(s, "leaky_relu", x, {"slope": slope}) for slope in (0.01, 0.25)))


@layer_case("sigmoid.bound", formula="1 / (1 + exp(-x))", defect="large inputs overflow")
def sigmoid(s: Setting) -> Problem:
    """Inputs from -80 to 80."""
    return both(*(layer(s, "sigmoid", {"x": ramp(-v, v)}) for v in (6, 80)))


@layer_case("tanh.bound", formula="tanh(x)", defect="an approximation stands in for the function")
def tanh(s: Setting) -> Problem:
    """Inputs from -4 to 4, and from -60 to 60."""
    return both(*(layer(s, "tanh", {"x": ramp(-v, v)}) for v in (4, 60)))


@layer_case(
    "hard_sigmoid.bound",
    "SHOULD",
    formula="min(max(x / 6 + 1/2, 0), 1)",
    defect="the slope is 0.2 (ONNX, Keras) instead of 1/6",
)
def hard_sigmoid(s: Setting) -> Problem:
    """All three pieces."""
    return layer(s, "hard_sigmoid", {"x": ramp(-4, 5)})


@layer_case(
    "hard_swish.bound",
    "SHOULD",
    formula="x * hard_sigmoid(x)",
    defect="the smooth swish, or another slope, stands in",
)
def hard_swish(s: Setting) -> Problem:
    """All three pieces."""
    return layer(s, "hard_swish", {"x": ramp(-4, 7)})


@layer_case(
    "softmax.bound",
    formula="exp(x_i) / sum over j of exp(x_j), over the classes",
    defect="the axis is another, or large logits overflow",
)
def softmax(s: Setting) -> Problem:
    """Logits (N, K, T) up to 4, and up to 200."""
    x = normal(s.rng, (2, 7, 3))
    return both(*(layer(s, "softmax", {"x": x * np.float32(v)}, {"axis": 1}) for v in (2, 100)))


MEAN = "y[n, k] = 1/T * sum over t of logits[n, k, t]"


@layer_case("consensus.exact", formula=MEAN, defect="the mean is taken over clips or classes")
def consensus_exact(s: Setting) -> Problem:
    """Integers over 8 frames: a division by a power of two is exact."""
    return layer(s, "consensus", {"logits": small_integers(s.rng, (3, 5, 8), 60)}, exact=True)


@layer_case("consensus.bound", formula=MEAN, defect="the maximum or the sum stands in for the mean")
def consensus_bound(s: Setting) -> Problem:
    """Normal numbers over 7 frames."""
    x = normal(s.rng, (2, 6, 7)) + np.float32(1)
    return layer(s, "consensus", {"logits": x})


@layer_case(
    "attention_mask.bound",
    "SHOULD",
    formula="y = 0.5 m / mean over h, w of m",
    defect="the mean is taken over the clip, or the half is forgotten",
)
def attention_mask(s: Setting) -> Problem:
    """A mask whose mean differs from frame to frame."""
    m = s.rng.uniform(0.1, 0.9, (2, 1, 4, 5, 6)).astype(np.float32)
    return layer(
        s, "attention_mask", {"m": m * np.linspace(0.2, 1, 4, dtype=np.float32)[:, None, None]}
    )


@layer_case(
    "non_local.bound",
    "MAY",
    formula="y_i = sum over j of softmax_j(theta_i . phi_j) g_j, or theta_i . phi_j / J",
    defect="scores are divided by sqrt(C), or normalised over the wrong axis",
)
def non_local(s: Setting) -> Problem:
    """Both ways of weighing, with phi and g pooled to a smaller picture."""
    x = {
        "theta": normal(s.rng, (2, 4, 2, 3, 4)),
        "phi": normal(s.rng, (2, 4, 2, 2, 2)),
        "g": normal(s.rng, (2, 5, 2, 2, 2)) + np.float32(1),
    }
    modes = ("embedded_gaussian", "dot_product")
    return both(*(bounded_non_local(s, x, mode) for mode in modes))


def bounded_non_local(s: Setting, x: dict[str, Array], mode: str) -> Problem:
    """`layer` for an operation all of whose inputs are data."""
    data = [Bounded.exact(v) for v in x.values()]
    chosen: Any = mode
    judge = Within(bounds.non_local(data[0], data[1], data[2], chosen, u=s.u))
    judge.guard(s.u)
    defaults = {"mode": "embedded_gaussian"}
    return Problem((Question(Call("non_local", x, {"mode": mode}, defaults), judge),))
