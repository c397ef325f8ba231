"""The oracle: every network of the suite in float64, with the bound propagated through it."""

from functools import partial

import numpy as np

from conformance.questions.conventions import Conventions
from conformance.questions.families import Families
from tsm_ref.reference import bounds
from tsm_ref.reference.bounded import Bounded, moved


class Oracle(Families):
    """The structure over float64 with propagated bounds for a testee of unit roundoff `u`.

    >>> from conformance.questions.conventions import PRESETS
    >>> x = Bounded.exact(np.ones((1, 8, 2, 1, 1)))
    >>> Oracle(PRESETS["mit"], 2.0**-24).temporal_shift(x, 8).value[0, :2, :, 0, 0]
    array([[1., 0.],
           [0., 1.]])
    """

    def __init__(self, conventions: Conventions, u: float) -> None:
        self.conventions = conventions
        for name in _BOUNDED:
            setattr(self, name, partial(getattr(bounds, name), u=u))
        self.conv = partial(bounds.conv, u=u, rounded_weights=True)
        self.shift_by = bounds.temporal_shift
        self.spatial_shift_by = bounds.spatial_shift
        self.moved = moved

    def constant(self, like: Bounded, number: float) -> Bounded:
        """A number, as float32 holds it, for every value of another array."""
        return Bounded.exact(np.full(like.value.shape, np.float32(number)))


_BOUNDED = (
    *("add", "multiply", "batch_norm", "relu", "relu6", "tanh", "sigmoid", "softmax"),
    *("max_pool", "avg_pool", "global_avg_pool", "linear", "consensus", "attention_mask"),
    *("leaky_relu", "hard_sigmoid", "hard_swish", "concatenate", "non_local"),
)
