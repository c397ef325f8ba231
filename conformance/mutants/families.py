"""Mistakes in the families of networks: what makes each of them another one than a ResNet."""

from typing import Any

import numpy as np

from conformance.mutants.base import Catalogue
from conformance.questions.arrays import Array
from conformance.questions.families import Families
from conformance.testees.reference import Reference
from tsm_ref import reference

CATALOGUE = Catalogue()
mutant = CATALOGUE.mutant

# Residual networks


@mutant(
    "non-local-block-scaled",
    "attention",
    "attended",
    "scores of a block are divided by the root of its width",
)
def _(self: Reference, theta: Array, phi: Array, g: Array, mode: str) -> Any:
    return Families.attended(self, theta / np.float32(theta.shape[1] ** 0.5), phi, g, mode)


@mutant("non-local-one-frame", "attention", "attended", "places of one frame alone are compared")
def _(self: Reference, theta: Array, phi: Array, g: Array, mode: str) -> Any:
    frames = (
        Families.attended(self, theta[:, :, at], phi[:, :, at], g[:, :, at], mode)
        for at in (slice(t, t + 1) for t in range(theta.shape[2]))
    )
    return np.concatenate(list(frames), axis=2)


@mutant("temporal-pool-mean", "pooling edge rules", "pooled_in_time", "three frames are averaged")
def _(self: Reference, x: Array) -> Any:
    return reference.avg_pool(x, (3, 1, 1), (2, 1, 1), (1, 0, 0))


@mutant("temporal-pool-dropped", "pooling edge rules", "pooled_in_time", "odd frames are dropped")
def _(self: Reference, x: Array) -> Any:
    return np.ascontiguousarray(x[:, :, ::2])


@mutant("vd-strided-skip", "stride position", "projected", "the skip path strides and never pools")
def _(self: Reference, x: Array, w: Any, name: str, channels: int, stride: int, a: Any) -> Any:
    return Families.projected(self, x, w, name, channels, stride, {**a, "pool_shortcut": False})


@mutant("vd-plain-relu", "activations", "activated", "a leaky ReLU is a ReLU")
def _(self: Reference, x: Array, a: Any) -> Any:
    return self.relu(x)


@mutant("groups-interleaved", "layouts", "convolved", "the groups of a convolution are interleaved")
def _(self: Reference, x: Array, w: Any, name: str, channels: int, kernel: Any, **a: Any) -> Any:
    groups = a.get("groups", 1)
    if 1 < groups < x.shape[1]:
        x = x.reshape(x.shape[0], -1, groups, *x.shape[2:]).swapaxes(1, 2).reshape(x.shape)
    return Families.convolved(self, x, w, name, channels, kernel, **a)


@mutant("flow-exchanged", "colour order", "residual_stem", "vertical motion comes first in a pair")
def _(self: Reference, x: Array, w: Any, a: Any) -> Any:
    pairs = np.arange(x.shape[1]) ^ 1 if x.shape[1] == 10 else slice(None)
    return Families.residual_stem(self, x[:, pairs], w, a)


@mutant("flow-planes", "colour order", "residual_stem", "vertical motion comes behind horizontal")
def _(self: Reference, x: Array, w: Any, a: Any) -> Any:
    if x.shape[1] == 10:
        x = np.concatenate([x[:, ::2], x[:, 1::2]], axis=1)
    return Families.residual_stem(self, x, w, a)


@mutant(
    "cross-transposed", "direction", "spatial_shift_by", "rows are moved where columns should be"
)
def _(self: Reference, x: Array, dh: Any, dw: Any, fill: Any) -> Any:
    return reference.spatial_shift(x, dw, dh, fill)


@mutant("cross-reversed", "direction", "spatial_shift_by", "pixels move the other way")
def _(self: Reference, x: Array, dh: Any, dw: Any, fill: Any) -> Any:
    return reference.spatial_shift(x, -dh, -dw, fill)


@mutant("cross-wrapped", "wrap", "spatial_shift_by", "pixels come in from the other edge")
def _(self: Reference, x: Array, dh: Any, dw: Any, fill: Any) -> Any:
    return reference.spatial_shift(x, dh, dw, "circular")


@mutant("relations-reversed", "consensus", "frame_tuple", "the last frame of a tuple stands first")
def _(self: Reference, v: Array, frames: Any) -> Any:
    return Families.frame_tuple(self, v, frames[::-1])


@mutant(
    "relations-interleaved", "consensus", "frame_tuple", "the frames of a channel stand together"
)
def _(self: Reference, v: Array, frames: Any) -> Any:
    return np.ascontiguousarray(v[:, :, list(frames)]).reshape(len(v), -1, 1)


# Backbones of pictures


@mutant("inception-reads-norm", "activations", "unit", "what reads a norm sees it before the ReLU")
def _(self: Reference, *given: Any, ends: bool = False, **rest: Any) -> Any:
    if not ends:
        return Families.unit(self, *given, **rest)
    x, w, name, channels, k, *stride = given
    form = {"stride": stride[0] if stride else 1}
    y = self.convolved(x, w, name, channels, (k, k), bias=True, **form)
    return self.normed(y, w, f"{name}_bn")


@mutant(
    "inception-last-mean", "pooling edge rules", "inception_pool", "the last block pools a mean"
)
def _(self: Reference, x: Array, kind: str) -> Any:
    return Families.inception_pool(self, x, "mean")


@mutant("inception-unshifted", "placement", "placed", "whole blocks are not shifted")
def _(self: Reference, x: Array, fold_div: int | None) -> Any:
    return x


@mutant("branches-reversed", "layouts", "joined", "what is joined stands in the other order")
def _(self: Reference, values: Any) -> Any:
    return Families.joined(self, list(values)[::-1])


@mutant("gate-of-a-sixth", "activations", "gated", "a hard sigmoid always has the slope 1/6")
def _(self: Reference, x: Array, w: Any, name: str, narrow: int, slope: float) -> Any:
    return Families.gated(self, x, w, name, narrow, 1 / 6)


@mutant("gate-soft", "activations", "gated", "the gates have a sigmoid that is not hard")
def _(self: Reference, x: Array, w: Any, name: str, narrow: int, slope: float) -> Any:
    return self.squeezed(x, w, name, narrow)


@mutant("squeeze-hard", "activations", "squeezed", "squeeze and excitation have a hard sigmoid")
def _(self: Reference, x: Array, w: Any, name: str, narrow: int, end: str = "") -> Any:
    y = self.channel_means(x)
    y = self.relu(self.convolved(y, w, f"{name}.conv1{end}", narrow, (1, 1), bias=True))
    y = self.convolved(y, w, f"{name}.conv2{end}", x.shape[1], (1, 1), bias=True)
    return x * self.hard_sigmoid(y, 1 / 6, 0.5)


@mutant("swish-soft", "activations", "v3_unit", "hard swish is a swish")
def _(self: Reference, *given: Any, act: str = "", **form: Any) -> Any:
    if act != "swish":
        return Families.v3_unit(self, *given, act=act, **form)
    y = Families.v3_unit(self, *given, **form)
    return y * self.sigmoid(y)


@mutant(
    "dropout-forgotten", "normalisation", "kept", "features are not scaled by what dropout leaves"
)
def _(self: Reference, x: Array, share: float) -> Any:
    return x


@mutant("identity-branch-lost", "skip path", "one_terms", "the input itself is no branch of a sum")
def _(self: Reference, x: Array, w: Any, name: str, *rest: Any) -> Any:
    terms = Families.one_terms(self, x, w, name, *rest)
    return terms[:-1] if f"{name}.branch_norm.weight" in w else terms


@mutant("scale-branch-lost", "skip path", "one_terms", "the 1x1 beside a 3x3 is no branch of a sum")
def _(
    self: Reference, x: Array, w: Any, name: str, channels: int, branches: int, *rest: Any
) -> Any:
    terms = Families.one_terms(self, x, w, name, channels, branches, *rest)
    lost = f"{name}.branch_scale.norm.weight" in w
    return terms[:branches] + terms[branches + 1 :] if lost else terms


@mutant("pointwise-unshifted", "placement", "one_block", "depthwise blocks alone are shifted")
def _(self: Reference, x: Array, w: Any, name: str, channels: int, a: Any, **form: Any) -> Any:
    apart = a if form.get("kernel") == 3 else {**a, "fold_div": 256}
    return Families.one_block(self, x, w, name, channels, apart, **form)


@mutant("attention-behind", "placement", "lc_shifted", "frames are weighed behind the shift")
def _(self: Reference, x: Array, w: Any, a: Any) -> Any:
    return self.frame_attention(self.temporal_shift(x, a["fold_div"]), w)


@mutant("attention-lost", "placement", "frame_attention", "frames are not weighed")
def _(self: Reference, x: Array, w: Any) -> Any:
    return x


@mutant("one-window", "skip path", "lc_windows", "the smaller windows of a sum are forgotten")
def _(self: Reference, x: Array, w: Any, name: str, kernel: int, form: Any) -> Any:
    return self.lc_unit(x, w, f"{name}.dw_conv_list.0", x.shape[1], kernel, act=False, **form)


# Networks that convolve in time


@mutant("pool-one-side", "pooling edge rules", "c3d_pool", "the last pool is padded behind alone")
def _(self: Reference, x: Array, first: bool, last: bool) -> Any:
    if not last:
        return Families.c3d_pool(self, x, first, last)
    return self.max_pool(np.pad(x, [(0, 0)] * 3 + [(0, 2)] * 2), (2, 2, 2), (2, 2, 2))


@mutant("c3d-averages", "pooling edge rules", "c3d_pool", "the pools of C3D average")
def _(self: Reference, x: Array, first: bool, last: bool) -> Any:
    window = (1 if first else 2, 2, 2)
    return self.avg_pool(x, window, window, (0, 1, 1) if last else (0, 0, 0))


@mutant("middle-linear", "activations", "middle_relu", "nothing stands between space and time")
def _(self: Reference, x: Array) -> Any:
    return x


@mutant("space-strides-time", "stride position", "clip_block", "1x3x3 strides over frames as well")
def _(self: Reference, x: Array, w: Any, name: str, planes: int, stride: int, kind: str) -> Any:
    x = x[:, :, ::2] if kind == "2d" and stride == 2 else x
    return Families.clip_block(self, x, w, name, planes, stride, kind)


@mutant(
    "time-unstrided", "stride position", "clip_conv", "the stride in time is in the second conv"
)
def _(self: Reference, x: Array, w: Any, name: str, planes: int, *how: Any) -> Any:
    stride, step, kind, middle = how
    if name.endswith("conv1") and step == 2:
        y = Families.clip_conv(self, x, w, name, planes, stride, 1, kind, middle)
        return np.ascontiguousarray(y[:, :, 1::2])
    return Families.clip_conv(self, x, w, name, planes, *how)


@mutant("time-not-halved", "pooling edge rules", "halved_in_time", "frames are never pooled")
def _(self: Reference, x: Array, ceil_mode: bool = False) -> Any:
    return x


@mutant("orders-exchanged", "placement", "p3d_order", "the orders A and B change places")
def _(self: Reference, x: Array, w: Any, name: str, order: str) -> Any:
    order = {"A": "B", "B": "A"}.get(order, order)
    return Families.p3d_order(self, x, w, name, order)


@mutant("order-c-lost", "placement", "p3d_order", "the order C is B")
def _(self: Reference, x: Array, w: Any, name: str, order: str) -> Any:
    return Families.p3d_order(self, x, w, name, "B" if order == "C" else order)


@mutant("twos-lost", "consensus", "twos", "the features of neighbours are not averaged")
def _(self: Reference, x: Array) -> Any:
    return x


@mutant("s3d-usual-eps", "batch-norm constants", "norm_relu", "the eps of S3D is that of others")
def _(self: Reference, x: Array, w: Any, name: str, eps: float = 1e-5) -> Any:
    return Families.norm_relu(self, x, w, name)


@mutant("eco-skip-behind", "skip path", "eco_skip", "the skip path sees what is behind the norm")
def _(self: Reference, before: Array, behind: Array) -> Any:
    return behind


# Faces


@mutant("heads-exchanged", "layouts", "mtts_head", "pulse and respiration change places")
def _(self: Reference, x: Array, w: Any, index: int, name: str) -> Any:
    return Families.mtts_head(self, x, w, 1 - index, "respiration")


@mutant("head-shared", "layouts", "mtts_head", "both heads read the first dense layer of the pulse")
def _(self: Reference, x: Array, w: Any, index: int, name: str) -> Any:
    end = f"_{name}" if index else ""
    y = self.tanh(self.linear(x, w["dense1.weight"], w["dense1.bias"]))
    return self.linear(y, w[f"dense2{end}.weight"], w[f"dense2{end}.bias"])


@mutant("differences-unnormed", "normalisation", "phys_norm", "frame differences are not normed")
def _(self: Reference, x: Array, w: Any) -> Any:
    return x


@mutant("mask-unscaled", "normalisation", "phys_gated", "a mask of its own has any mean")
def _(self: Reference, x: Array, w: Any, number: int) -> Any:
    mask = self.convolved(x, w, f"attention{number}", 1, (1, 1), bias=True)
    return x * self.sigmoid(mask)


@mutant("wrap-lost", "wrap", "wrapped", "zeros come in where the shift should go round")
def _(self: Reference, x: Array, fold_div: int, fill: str) -> Any:
    return Families.wrapped(self, x, fold_div, "zero")


@mutant("shrunk-by-max", "pooling edge rules", "shrunk", "large frames are shrunk by their maxima")
def _(self: Reference, x: Array, by: int) -> Any:
    return self.max_pool(x, (1, by, by), (1, by, by))
