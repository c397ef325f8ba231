"""Mistakes in the shift: direction, edges, folds, the order of axes, memory."""

from typing import Any

import numpy as np

from conformance.mutants.base import Catalogue
from conformance.questions.arrays import Array
from conformance.questions.conventions import READS
from conformance.testees.reference import Reference
from tsm_ref import reference

CATALOGUE = Catalogue()
mutant = CATALOGUE.mutant


def right(self: Reference, x: Array, fold_div: int) -> Array:
    """The correct shift, for mutants that spoil its input or output."""
    return Reference.temporal_shift(self, x, fold_div)  # type: ignore[no-any-return]


@mutant("direction-swapped", "direction", "folds", "past and future are swapped")
def _(self: Reference, channels: int, fold_div: int) -> Array:
    return -self.conventions.d(channels, fold_div)


@mutant("direction-past-only", "direction", "folds", "both folds read the past")
def _(self: Reference, channels: int, fold_div: int) -> Array:
    return abs(self.conventions.d(channels, fold_div))


@mutant("direction-future-only", "causality", "folds", "both folds read the future")
def _(self: Reference, channels: int, fold_div: int) -> Array:
    return -abs(self.conventions.d(channels, fold_div))


@mutant("direction-two-frames", "direction", "folds", "channels are shifted by two frames")
def _(self: Reference, channels: int, fold_div: int) -> Array:
    return 2 * self.conventions.d(channels, fold_div)


@mutant(
    "wrap-circular", "wrap", "shift_by", "frames that leave the clip come back at the other end"
)
def _(self: Reference, x: Array, d: Array, fill: str) -> Array:
    return reference.temporal_shift(x, d, "circular")


@mutant("edge-replicate", "edge", "shift_by", "the first and the last frame are repeated, not zero")
def _(self: Reference, x: Array, d: Array, fill: str) -> Array:
    return reference.temporal_shift(x, d, "replicate")


@mutant("edge-zero", "edge", "shift_by", "the fill is zero whatever was declared", "replicate")
def _(self: Reference, x: Array, d: Array, fill: str) -> Array:
    return reference.temporal_shift(x, d, "zero")


@mutant("edge-own-frame", "edge", "temporal_shift", "the edges keep their own frame")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    y = right(self, x, fold_div)
    d = self.folds(x.shape[1], fold_div)
    for c in np.flatnonzero(d):
        edge = 0 if d[c] > 0 else -1
        y[:, c, edge] = x[:, c, edge]
    return y


@mutant("edge-one-frame", "edge", "temporal_shift", "a clip of one frame is not shifted")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    return x.copy() if x.ndim > 2 and x.shape[2] == 1 else right(self, x, fold_div)


@mutant("edge-last-frame-lost", "edge", "temporal_shift", "the last frame of every clip is zero")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    y = right(self, x, fold_div)
    y[:, :, -1] = 0
    return y


@mutant("fold-rounded-up", "fold arithmetic", "folds", "the folds are rounded up")
def _(self: Reference, channels: int, fold_div: int) -> Array:
    f = -(-channels // fold_div)
    return _two_folds(self, channels, f, 2 * f)


@mutant("fold-at-least-one", "fold arithmetic", "folds", "at least one channel is shifted")
def _(self: Reference, channels: int, fold_div: int) -> Array:
    f = max(1, channels // fold_div)
    return _two_folds(self, channels, f, 2 * f)


@mutant("fold-twice-as-large", "fold arithmetic", "folds", "each fold has twice as many channels")
def _(self: Reference, channels: int, fold_div: int) -> Array:
    f = 2 * channels // fold_div
    return _two_folds(self, channels, f, 2 * f)


@mutant("fold-takes-rest", "fold arithmetic", "folds", "the second fold takes all other channels")
def _(self: Reference, channels: int, fold_div: int) -> Array:
    return _two_folds(self, channels, channels // fold_div, channels)


@mutant("fold-from-end", "fold arithmetic", "folds", "the folds are the last channels")
def _(self: Reference, channels: int, fold_div: int) -> Array:
    return self.conventions.d(channels, fold_div)[::-1].copy()


@mutant("fold-interleaved", "fold arithmetic", "folds", "channels of both folds alternate")
def _(self: Reference, channels: int, fold_div: int) -> Array:
    d = self.conventions.d(channels, fold_div)
    f = channels // fold_div
    d[: 2 * f : 2], d[1 : 2 * f : 2] = -1, 1
    return d


@mutant("fold-constant", "fold arithmetic", "folds", "the fold divisor is a constant in the code")
def _(self: Reference, channels: int, fold_div: int) -> Array:
    return self.conventions.d(channels, self.conventions.fold_div)


@mutant("fold-equal", "fold arithmetic", "folds", "both folds are int(C r) channels", "paddle")
def _(self: Reference, channels: int, fold_div: int) -> Array:
    f = channels // fold_div
    d = np.zeros(channels, np.int64)
    d[:f], d[f : 2 * f] = 1, -1
    return d


@mutant("reshape-clips-last", "reshape order", "temporal_shift", "frames are stored before clips")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    n, c, t, *rest = x.shape
    merged = x.swapaxes(1, 2).reshape(t, n, c, *rest).transpose(1, 2, 0, *range(3, x.ndim))
    y = right(self, np.ascontiguousarray(merged), fold_div)
    return y.transpose(2, 0, 1, *range(3, x.ndim)).reshape(n, t, c, *rest).swapaxes(1, 2)


@mutant("reshape-no-transpose", "reshape order", "temporal_shift", "(N, C, T) is read as (N, T, C)")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    n, c, t, *rest = x.shape
    y = right(self, x.reshape(n, t, c, *rest).swapaxes(1, 2), fold_div)
    return y.swapaxes(1, 2).reshape(x.shape)


@mutant("layout-h-w", "layouts", "temporal_shift", "height and width are exchanged in memory")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    y = right(self, x, fold_div)
    return np.ascontiguousarray(y.swapaxes(3, 4)).reshape(y.shape)


@mutant("clips-leak", "leaking clips", "temporal_shift", "the batch is shifted as one long clip")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    n, c, t, *rest = x.shape
    long = x.swapaxes(0, 1).reshape(1, c, n * t, *rest)
    return right(self, long, fold_div).reshape(c, n, t, *rest).swapaxes(0, 1)


@mutant("clips-first-only", "leaking clips", "temporal_shift", "only the first clip is shifted")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    return np.concatenate([right(self, x[:1], fold_div), x[1:]])


@mutant(
    "smear", "in-place smear", "temporal_shift", "done in place, the first frame fills the clip"
)
def _(self: Reference, x: Array, fold_div: int) -> Array:
    y = x.copy()
    d = self.folds(x.shape[1], fold_div)
    for c in np.flatnonzero(d):
        order = range(1, x.shape[2]) if d[c] > 0 else range(x.shape[2] - 2, -1, -1)
        for t in order:
            y[:, c, t] = y[:, c, t - int(np.sign(d[c]))]
        y[:, c, 0 if d[c] > 0 else -1] = 0
    return y


@mutant("input-modified", "aliasing", "temporal_shift", "the input is overwritten by the output")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    x[...] = right(self, x, fold_div)
    return x


@mutant("output-is-input", "aliasing", "temporal_shift", "nothing is shifted")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    return np.asarray(x)


@mutant("memory-strides-ignored", "layouts", "temporal_shift", "memory is read as if contiguous")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    if not x.flags.c_contiguous and x.base is not None and min(x.strides) > 0:
        x = np.resize(x.base.ravel(), x.shape)
    return right(self, x, fold_div)


@mutant("memory-backwards", "layouts", "temporal_shift", "negative strides are read forwards")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    return right(self, x[..., ::-1] if min(x.strides, default=0) < 0 else x, fold_div)


@mutant(
    "bits-masked", "special values", "temporal_shift", "frames are multiplied by masks and added"
)
def _(self: Reference, x: Array, fold_div: int) -> Array:
    return np.asarray(right(self, x, fold_div) + x * x.dtype.type(0))


@mutant("bits-half", "low precision", "temporal_shift", "values pass through float16")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    return right(self, x.astype(np.float16), fold_div).astype(x.dtype)


@mutant("bits-clamped", "special values", "temporal_shift", "negative values are lost")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    return np.asarray(np.maximum(right(self, x, fold_div), x.dtype.type(0)))


@mutant("dtype-float32", "low precision", "temporal_shift", "everything becomes float32")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    return right(self, x.astype(np.float32), fold_div)


@mutant("long-clip-cut", "chunking", "temporal_shift", "frames behind the 32nd are not shifted")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    if x.ndim < 3:
        return right(self, x, fold_div)
    return np.concatenate([right(self, x[:, :, :32], fold_div), x[:, :, 32:]], axis=2)


@mutant("adjoint-forward", "direction", "temporal_shift_adjoint", "the gradient is shifted forward")
def _(self: Reference, y: Array, fold_div: int) -> Array:
    return right(self, y, fold_div)


@mutant("shift-by-sign", "fold arithmetic", "shift_by", "every d is taken as -1, 0 or 1")
def _(self: Reference, x: Array, d: Any, fill: Any) -> Array:
    return reference.temporal_shift(x, np.sign(d), fill)


@mutant("shift-by-modulo", "wrap", "shift_by", "a shift by more than T frames starts over")
def _(self: Reference, x: Array, d: Any, fill: Any) -> Array:
    d = np.asarray(d)
    return reference.temporal_shift(x, np.sign(d) * (abs(d) % x.shape[2]), fill)


@mutant("channels-first-differs", "fold arithmetic", "temporal_shift", "channel 0 is not shifted")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    y = right(self, x, fold_div)
    y[:, 0] = x[:, 0]
    return y


@mutant("edge-x-minus-x", "special values", "temporal_shift", "zeros are made as x - x")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    y = right(self, x, fold_div)
    d = self.folds(x.shape[1], fold_div)
    if self.conventions.fill == "zero" and x.ndim > 2:
        for c in np.flatnonzero(d):
            edge = 0 if d[c] > 0 else -1
            y[:, c, edge] = x[:, c, edge] - x[:, c, edge]
    return y


@mutant("edge-short-clips", "edge", "temporal_shift", "clips of less than 3 frames are not shifted")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    return x.copy() if x.ndim > 2 and x.shape[2] < 3 else right(self, x, fold_div)


@mutant("edge-last-frame-kept", "edge", "temporal_shift", "the last frame of a clip is left out")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    y = right(self, x, fold_div)
    if x.ndim > 2:
        y[:, :, -1] = x[:, :, -1]
    return y


@mutant("eight-frames", "chunking", "temporal_shift", "clips of 8 frames lose their last one")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    y = right(self, x, fold_div)
    if x.ndim > 2 and x.shape[2] == 8:
        y[:, :, -1] = 0
    return y


@mutant("frames-beyond-64", "chunking", "temporal_shift", "frames behind the 64th are zero")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    y = right(self, x, fold_div)
    if x.ndim > 2:
        y[:, :, 64:] = 0
    return y


def rest_of(block: int) -> None:
    """Channels behind the last whole block of a long row are those of the block before."""

    @mutant(
        f"channels-rest-{block}",
        "layouts",
        "temporal_shift",
        f"channels behind the last whole {block} are left as they are",
    )
    def _(self: Reference, x: Array, fold_div: int) -> Array:
        y = right(self, x, fold_div)
        whole = x.shape[1] // block * block
        if whole:
            y[:, whole:] = 0
        return y


for _block in (32, 128, 256):
    rest_of(_block)


@mutant("sides-beyond-64", "layouts", "temporal_shift", "columns and rows behind the 64th are zero")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    y = right(self, x, fold_div)
    if x.ndim == 5:
        y[..., 64:] = 0
        y[..., 64:, :] = 0
    return y


@mutant("batch-of-four", "leaking clips", "temporal_shift", "clips behind the fourth are zero")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    y = right(self, x, fold_div)
    y[4:] = 0
    return y


@mutant("empty-is-one", "reshape order", "temporal_shift", "an empty batch becomes one clip")
def _(self: Reference, x: Array, fold_div: int) -> Array:
    return right(self, x, fold_div) if x.size else np.zeros((1, *x.shape[1:]), x.dtype)


def _two_folds(self: Reference, channels: int, f: int, end: int) -> Array:
    """The profile's directions in folds of other sizes."""
    d = np.zeros(channels, np.int64)
    for reads, fold in zip(self.conventions.folds, (slice(0, f), slice(f, end)), strict=False):
        d[fold] = READS[reads]
    return d
