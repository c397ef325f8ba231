"""TSM networks written once, over any functions: those of numbers, and those that carry bounds.

`Structure` knows how shifts, blocks and networks are put together under a profile, and nothing of
arithmetic; `families` knows more networks. `oracle` adds the functions of
`tsm_ref.reference.bounds` (float64 values with the variance of their rounding error); the reference
testee adds the plain ones.

Weights are dictionaries with PyTorch's names (``layer1.0.conv1.weight``) and 4-d kernels.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from conformance.questions.arrays import Array
from conformance.questions.conventions import Conventions

Weights = Mapping[str, Array]


class Structure:
    """How a network of one profile is put together; a subclass supplies the functions.

    They are those of `tsm_ref.reference` by name (``conv``, ``relu``, ...), ``add``, ``multiply``,
    ``shift_by`` (a shift by given d) and ``moved`` (any movement of data).
    """

    conventions: Conventions
    add: Callable[..., Any]
    multiply: Callable[..., Any]
    shift_by: Callable[..., Any]
    moved: Callable[..., Any]
    conv: Callable[..., Any]
    batch_norm: Callable[..., Any]
    relu: Callable[..., Any]
    relu6: Callable[..., Any]
    tanh: Callable[..., Any]
    sigmoid: Callable[..., Any]
    softmax: Callable[..., Any]
    max_pool: Callable[..., Any]
    avg_pool: Callable[..., Any]
    global_avg_pool: Callable[..., Any]
    linear: Callable[..., Any]
    consensus: Callable[..., Any]
    attention_mask: Callable[..., Any]

    def folds(self, channels: int, fold_div: int) -> Array:
        """The shift of each channel."""
        return self.conventions.d(channels, fold_div)

    def temporal_shift(self, x: Any, fold_div: int) -> Any:
        """The profile's shift of a clip (N, C, T, ...)."""
        return self.shift_by(x, self.folds(self.shape(x)[1], fold_div), self.conventions.fill)

    def residual_block(
        self,
        x: Any,
        weights: Weights,
        *,
        kind: str,
        stride: int,
        fold_div: int,
        placement: str,
        shifted: bool = True,
    ) -> Any:
        """A ``basic``, ``bottleneck`` or ``inverted_residual`` block, with shift and skip."""
        if kind == "inverted_residual":
            return self.inverted_residual(x, weights, stride=stride, fold_div=fold_div)
        z = self.temporal_shift(x, fold_div) if shifted else x
        y = z
        steps = self.strides(kind, stride)
        for i, step in enumerate(steps, start=1):
            y = self.conv_bn(y, weights, f"conv{i}", f"bn{i}", step)
            y = self.relu(y) if i < len(steps) else y
        skip = self.skip_input(x, z, placement)
        if "downsample.0.weight" in weights:
            skip = self.conv_bn(skip, weights, "downsample.0", "downsample.1", stride)
        return self.relu(self.add(y, skip))

    def strides(self, kind: str, stride: int) -> tuple[int, ...]:
        """The stride of each convolution: the first of a basic block, the 3x3 of a bottleneck."""
        return (1, stride, 1) if kind == "bottleneck" else (stride, 1)

    def skip_input(self, x: Any, shifted: Any, placement: str) -> Any:
        """What the skip path sees: the whole clip, or the shifted one for the in-place shift."""
        return shifted if placement == "block" else x

    def inverted_residual(self, x: Any, weights: Weights, *, stride: int, fold_div: int) -> Any:
        """MobileNetV2's block: expand, depthwise, project; shifted where it expands and skips."""
        w = {name.removeprefix("conv."): value for name, value in weights.items()}
        expands = "6.weight" in w
        outputs = w["6.weight" if expands else "3.weight"].shape[0]
        skips = stride == 1 and self.shape(x)[1] == outputs
        y, i = x, 0
        if expands:
            y = self.temporal_shift(x, fold_div) if self.is_shifted_mobile(skips) else x
            y, i = self.relu6(self.conv_bn(y, w, "0", "1")), 3
        groups = self.shape(y)[1]
        y = self.relu6(self.conv_bn(y, w, f"{i}", f"{i + 1}", stride, groups))
        y = self.conv_bn(y, w, f"{i + 3}", f"{i + 4}")
        return self.add(y, x) if skips else y

    def is_shifted_mobile(self, skips: bool) -> bool:
        """An expanding block is shifted if it has a skip path."""
        return skips

    def shifted_blocks(self, blocks: Sequence[int], placement: str) -> Array:
        """Which residual blocks are shifted (1) and which are not (0), all stages in one row."""
        return np.concatenate(self.shifted_by_stage(blocks, placement))

    def shifted_by_stage(self, blocks: Sequence[int], placement: str) -> list[Array]:
        """The same, stage by stage."""
        deep = len(blocks) > 2 and blocks[2] >= 23
        every = 2 if deep and placement == "blockres" and not self.conventions.every_block else 1
        return [(np.arange(count) % every == 0).astype(np.int64) for count in blocks]

    def network(self, x: Any, weights: Weights, **attributes: Any) -> Any:
        """Logits of clips, (N, K): the consensus of `frame_logits`."""
        if attributes["architecture"] == "ts_can":
            return self.ts_can(x, weights, **attributes)
        return self.head_consensus(self.frame_logits(x, weights, **attributes))

    def head_consensus(self, logits: Any) -> Any:
        """The mean of the logits over time."""
        return self.consensus(logits)

    def frame_logits(self, x: Any, weights: Weights, **attributes: Any) -> Any:
        """Logits of every frame, (N, K, T)."""
        body = self.mobilenet_v2 if attributes["architecture"] == "mobilenet_v2" else self.resnet
        x = self.global_avg_pool(body(x, weights, **attributes))
        return self.linear(x, *self.last_layer(weights))

    def last_layer(self, weights: Weights) -> tuple[Array, Array]:
        """Weight and bias of the classifier."""
        name = "classifier" if "classifier.weight" in weights else "fc"
        return weights[f"{name}.weight"], weights[f"{name}.bias"]

    def resnet(self, x: Any, weights: Weights, **a: Any) -> Any:
        """A residual network up to its last block."""
        kernel = weights["conv1.weight"].shape[-1]
        x = self.relu(self.conv_bn(x, weights, "conv1", "bn1", 2 if kernel == 7 else 1))
        if a["stem_pool"]:
            x = self.max_pool(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        shifted = self.shifted_by_stage(a["blocks"], a["placement"])
        for stage, uses in enumerate(shifted):
            for i, use in enumerate(uses):
                prefix = f"layer{stage + 1}.{i}."
                x = self.residual_block(
                    x,
                    below(weights, prefix),
                    kind=a["block"],
                    stride=2 if i == 0 and stage else 1,
                    fold_div=a["fold_div"],
                    placement=a["placement"],
                    shifted=bool(use) and a["shifted"],
                )
        return x

    def mobilenet_v2(self, x: Any, weights: Weights, **a: Any) -> Any:
        """A MobileNetV2 up to its last convolution."""
        x = self.relu6(self.conv_bn(x, weights, "features.0.0", "features.0.1", 2))
        for i, stride in enumerate(a["strides"], start=1):
            w = below(weights, f"features.{i}.")
            x = self.inverted_residual(x, w, stride=stride, fold_div=a["fold_div"])
        last = f"features.{len(a['strides']) + 1}."
        return self.relu6(self.conv_bn(x, weights, f"{last}0", f"{last}1"))

    def ts_can(self, x: Any, weights: Weights, *, appearance: Any, fold_div: int, **a: Any) -> Any:
        """TS-CAN: a shifted motion branch, gated twice by an appearance branch; pulse (N, T)."""
        x = self.ts_can_features(x, weights, appearance=appearance, fold_div=fold_div, **a)
        x = self.tanh(self.linear(x, weights["dense1.weight"], weights["dense1.bias"]))
        x = self.linear(x, weights["dense2.weight"], weights["dense2.bias"])
        return self.moved(x, lambda v: v[:, 0])

    def ts_can_features(
        self, x: Any, weights: Weights, *, appearance: Any, fold_div: int, **a: Any
    ) -> Any:
        """The motion branch up to its dense layers, (N, H W C, T)."""
        for stage in (1, 2):
            for i, pad in ((2 * stage - 1, 1), (2 * stage, 0)):
                x = self.temporal_shift(x, fold_div)
                x = self.tanh(self.conv_bias(x, weights, f"motion_conv{i}", pad))
                appearance = self.conv_bias(appearance, weights, f"appearance_conv{i}", pad)
                appearance = self.tanh(appearance)
            mask = self.sigmoid(self.conv_bias(appearance, weights, f"attention{stage}", 0))
            x = self.multiply(x, self.attention_mask(mask))
            x = self.avg_pool(x, (1, 2, 2), (1, 2, 2))
            if stage == 1:
                appearance = self.avg_pool(appearance, (1, 2, 2), (1, 2, 2))
        return self.moved(x, lambda v: self.flattened(v, a["flatten"]))

    def flattened(self, v: Array, order: str) -> Array:
        """(N, C, T, H, W) -> (N, H * W * C, T) as Keras flattens, or (N, C * H * W, T)."""
        axes = (0, 3, 4, 1, 2) if order == "hwc" else (0, 1, 3, 4, 2)
        return v.transpose(axes).reshape(v.shape[0], -1, v.shape[2])

    def conv_bias(self, x: Any, weights: Weights, name: str, pad: int) -> Any:
        """A frame-wise convolution with bias."""
        kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return self.conv(x, kernel[:, :, None], bias, (1, 1, 1), (0, pad, pad))

    def conv_bn(
        self, x: Any, weights: Weights, conv: str, bn: str, stride: int = 1, groups: int = 1
    ) -> Any:
        """A frame-wise convolution, padded by half its kernel, and its batch norm."""
        kernel = weights[f"{conv}.weight"]
        pad = kernel.shape[-1] // 2
        at = (1, stride, stride), (0, pad, pad), 1, groups
        y = self.conv(x, kernel[:, :, None], None, *at)
        roles = ("running_mean", "running_var", "weight", "bias")
        return self.batch_norm(y, *(weights[f"{bn}.{role}"] for role in roles))

    @staticmethod
    def shape(x: Any) -> tuple[int, ...]:
        """The shape of an array, bounded or not."""
        return tuple(getattr(x, "value", x).shape)


def below(weights: Weights, prefix: str) -> Weights:
    """The weights whose names begin with a prefix, without it."""
    return {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}
