"""Mistakes in blocks and networks: where the shift stands, what the skip path sees, the head."""

from typing import Any

import numpy as np

from conformance.mutants.base import Catalogue
from conformance.questions.arrays import Array
from conformance.questions.structure import Structure, below
from conformance.testees.reference import Reference
from tsm_ref import reference

CATALOGUE = Catalogue()
mutant = CATALOGUE.mutant


@mutant("skip-shifted", "skip path", "skip_input", "the skip path sees the shifted clip")
def _(self: Reference, x: Array, shifted: Array, placement: str) -> Array:
    return shifted


@mutant(
    "skip-unshifted", "placement", "skip_input", "the in-place shift spares the skip path", "block"
)
def _(self: Reference, x: Array, shifted: Array, placement: str) -> Array:
    return x


@mutant(
    "skip-lost-one-frame", "skip path", "skip_input", "one frame is shifted in the skip path too"
)
def _(self: Reference, x: Array, shifted: Array, placement: str) -> Array:
    return shifted if x.shape[2] == 1 else x


@mutant("downsample-shifted", "skip path", "residual_block", "the downsampling conv sees the shift")
def _(self: Reference, x: Array, weights: Any, **a: Any) -> Any:
    if "downsample.0.weight" in weights:
        a["placement"] = "block"
    return Structure.residual_block(self, x, weights, **a)


@mutant("shift-behind-conv1", "placement", "residual_block", "the shift stands behind conv1")
def _(self: Reference, x: Array, weights: Any, **a: Any) -> Any:
    if a["kind"] == "inverted_residual":
        return Structure.residual_block(self, x, weights, **a)
    steps = self.strides(a["kind"], a["stride"])
    y = x
    for i, step in enumerate(steps, start=1):
        y = self.conv_bn(y, weights, f"conv{i}", f"bn{i}", step)
        y = self.relu(y) if i < len(steps) else y
        if i == 1 and a.get("shifted", True):
            y = self.temporal_shift(y, a["fold_div"])
    skip = x
    if "downsample.0.weight" in weights:
        skip = self.conv_bn(skip, weights, "downsample.0", "downsample.1", a["stride"])
    return self.relu(y + skip)


@mutant("shift-missing", "placement", "residual_block", "blocks are not shifted at all")
def _(self: Reference, x: Array, weights: Any, **a: Any) -> Any:
    a["shifted"] = False
    return Structure.residual_block(self, x, weights, **a)


@mutant("shift-everywhere", "placement", "residual_block", "networks without shifts are shifted")
def _(self: Reference, x: Array, weights: Any, **a: Any) -> Any:
    a["shifted"] = True
    return Structure.residual_block(self, x, weights, **a)


@mutant("stride-on-conv1", "stride position", "strides", "a bottleneck strides in its 1x1 (Caffe)")
def _(self: Reference, kind: str, stride: int) -> tuple[int, ...]:
    return (stride, 1, 1) if kind == "bottleneck" else (stride, 1)


@mutant("stride-on-conv2", "stride position", "strides", "a basic block strides in its second conv")
def _(self: Reference, kind: str, stride: int) -> tuple[int, ...]:
    return (1, stride, 1) if kind == "bottleneck" else (1, stride)


@mutant("block-no-last-relu", "activations", "add", "the ReLU stands before the addition")
def _(self: Reference, a: Array, b: Array) -> Array:
    return self.relu(a) + b


@mutant("mobile-unshifted", "placement", "is_shifted_mobile", "inverted residuals are not shifted")
def _(self: Reference, skips: bool) -> bool:
    return False


@mutant("mobile-all-shifted", "placement", "is_shifted_mobile", "blocks without skip are shifted")
def _(self: Reference, skips: bool) -> bool:
    return True


@mutant(
    "mobile-skip-shifted", "skip path", "inverted_residual", "the skip of a mobile block is shifted"
)
def _(self: Reference, x: Array, weights: Any, *, stride: int, fold_div: int) -> Any:
    y: Array = Structure.inverted_residual(self, x, weights, stride=stride, fold_div=fold_div)
    if y.shape == x.shape and "conv.6.weight" in weights:
        y = y - x + self.temporal_shift(x, fold_div)
    return y


@mutant("mobile-depthwise-shift", "placement", "inverted_residual", "the depthwise conv is shifted")
def _(self: Reference, x: Array, weights: Any, *, stride: int, fold_div: int) -> Any:
    w = below(weights, "conv.")
    if "6.weight" not in w or stride != 1 or w["6.weight"].shape[0] != x.shape[1]:
        return Structure.inverted_residual(self, x, weights, stride=stride, fold_div=fold_div)
    y = self.temporal_shift(self.relu6(self.conv_bn(x, w, "0", "1")), fold_div)
    y = self.relu6(self.conv_bn(y, w, "3", "4", stride, y.shape[1]))
    return self.conv_bn(y, w, "6", "7") + x


@mutant(
    "n-round-ignored", "n_round", "shifted_by_stage", "every block of a deep network is shifted"
)
def _(self: Reference, blocks: Any, placement: str) -> list[Array]:
    return [np.ones(count, np.int64) for count in blocks]


@mutant("n-round-odd", "n_round", "shifted_by_stage", "deep networks begin with the second block")
def _(self: Reference, blocks: Any, placement: str) -> list[Array]:
    rows = Structure.shifted_by_stage(self, blocks, placement)
    return [1 - row if len(blocks) > 2 and blocks[2] >= 23 else row for row in rows]


@mutant("n-round-paddle", "n_round", "shifted_by_stage", "every second block is shifted", "paddle")
def _(self: Reference, blocks: Any, placement: str) -> list[Array]:
    every = 2 if len(blocks) > 2 and blocks[2] >= 23 else 1
    return [(np.arange(count) % every == 0).astype(np.int64) for count in blocks]


@mutant("stem-pool-unpadded", "pooling edge rules", "resnet", "the stem's pool is left out")
def _(self: Reference, x: Array, weights: Any, **a: Any) -> Any:
    return Structure.resnet(self, x, weights, **{**a, "stem_pool": False})


@mutant("softmax-first", "consensus", "head_consensus", "probabilities are averaged, not logits")
def _(self: Reference, logits: Array) -> Array:
    return reference.consensus(reference.softmax(logits, 1))


@mutant("logits-transposed", "consensus", "frame_logits", "clips and frames are mixed up")
def _(self: Reference, x: Array, weights: Any, **a: Any) -> Array:
    y: Array = Structure.frame_logits(self, x, weights, **a)
    n, k, t = y.shape
    return y.transpose(2, 0, 1).reshape(n, t, k).swapaxes(1, 2)


@mutant("flatten-other-order", "layouts", "flattened", "pictures are flattened in the other order")
def _(self: Reference, v: Array, order: str) -> Array:
    return Structure.flattened(self, v, "chw" if order == "hwc" else "hwc")


@mutant("gate-missing", "activations", "multiply", "the attention mask is not applied")
def _(self: Reference, a: Array, b: Array) -> Array:
    return np.asarray(a)
