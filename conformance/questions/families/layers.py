"""Layers by name and size, whose weights are drawn where nobody has them yet."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from conformance.questions.arrays import Array
from conformance.questions.data import draw_weights
from conformance.questions.structure import Structure, Weights


class Drawn(dict[str, Array]):
    """Seeded weights that come to be as a network asks for them.

    The definition of a network says every name and shape once, where it is used.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.rng = rng


def weight(weights: Weights, name: str, *shape: int) -> Array:
    """A weight by name; one that is not yet there is drawn in this shape."""
    if isinstance(weights, Drawn) and name not in weights:
        weights.update(draw_weights(weights.rng, {name: shape}))
    return weights[name]


class Layers(Structure):
    """What the families are made of, beside the parts of a ResNet."""

    leaky_relu: Any
    hard_sigmoid: Any
    hard_swish: Any
    concatenate: Any
    non_local: Any
    constant: Any
    spatial_shift_by: Any

    def convolved(
        self,
        x: Any,
        w: Weights,
        name: str,
        channels: int,
        kernel: Sequence[int],
        *,
        stride: int = 1,
        step: int = 1,
        groups: int = 1,
        bias: bool = False,
        dilation: int = 1,
        padding: int | None = None,
    ) -> Any:
        """A convolution of pixels (kH, kW), or of frames too (kT, kH, kW), padded by half of it.

        ``stride`` and ``dilation`` are those of H and W, ``step`` is the stride in time.
        """
        values = weight(w, f"{name}.weight", channels, self.shape(x)[1] // groups, *kernel)
        added = weight(w, f"{name}.bias", channels) if bias else None
        frames, pixels = (1, *kernel)[-3], kernel[-1]
        around = pixels // 2 * dilation if padding is None else padding
        return self.conv(
            x,
            values.reshape(*values.shape[:2], frames, *kernel[-2:]),
            added,
            (step, stride, stride),
            (frames // 2, around, around),
            (1, dilation, dilation),
            groups,
        )

    def normed(self, x: Any, w: Weights, name: str, eps: float = 1e-5) -> Any:
        """A batch norm."""
        channels = self.shape(x)[1]
        roles = ("running_mean", "running_var", "weight", "bias")
        return self.batch_norm(x, *(weight(w, f"{name}.{r}", channels) for r in roles), eps)

    def dense(self, x: Any, w: Weights, name: str, outputs: int) -> Any:
        """A fully connected layer of every frame, (N, C, T) to (N, K, T)."""
        inputs = self.shape(x)[1]
        return self.linear(
            x, weight(w, f"{name}.weight", outputs, inputs), weight(w, f"{name}.bias", outputs)
        )

    def joined(self, values: Sequence[Any]) -> Any:
        """The channels of several values, one value's behind the other's."""
        y, *others = values
        for other in others:
            y = self.concatenate(y, other)
        return y

    def flat(self, x: Any, order: str = "chw") -> Any:
        """The pixels of every frame as features, (N, C, T, H, W) to (N, C H W, T)."""
        return self.moved(x, lambda v: self.flattened(v, order))

    def channel_means(self, x: Any) -> Any:
        """The mean of every channel of every frame, as a picture of one pixel."""
        return self.moved(self.global_avg_pool(x), lambda v: v[..., None, None])
