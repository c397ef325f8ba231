"""ResNets with more than shifts: non-local, pooled in time, -vd, ResNeXt, flow, a cross, TRN."""

from typing import Any

import numpy as np

from conformance.questions.families.layers import Layers
from conformance.questions.structure import Weights

WINDOW = (1, 2, 2)
"""Pixels that are pooled into one, without overlap."""


class Residual(Layers):
    """A network is its attributes; what one has not is left out of them."""

    def residual(self, x: Any, w: Weights, **a: Any) -> Any:
        """Logits (N, K): the mean over time of a linear layer of the features of each frame."""
        return self.head_consensus(
            self.dense(self.residual_features(x, w, a), w, "fc", a["classes"])
        )

    def residual_features(self, x: Any, w: Weights, a: Any) -> Any:
        """Features of every frame, (N, C, T)."""
        x = self.residual_stem(x, w, a)
        for stage, uses in enumerate(self.shifted_by_stage(a["blocks"], a["placement"])):
            if stage == 1 and a.get("temporal_pool"):
                x = self.pooled_in_time(x)
            for i, use in enumerate(uses):
                place, stride = f"layer{stage + 1}.{i}", 2 if stage and i == 0 else 1
                planes, shifted = a["width"] * 2**stage, bool(use) and a["shifted"]
                x = self.family_block(x, w, place, a, planes, stride, shifted)
                if place in a.get("non_local", ()):
                    x = self.non_local_block(x, w, f"{place}.nl", a["mode"])
        return self.global_avg_pool(x)

    def residual_stem(self, x: Any, w: Weights, a: Any) -> Any:
        """One 7x7 convolution, or (-vd) three 3x3, of which the first strides; a max pool."""
        half, width = a["width"] // 2, a["width"]
        layers, kernel = {"1": width}, (7, 7)
        if a.get("deep_stem"):
            layers, kernel = {"1.0": half, "1.1": half, "1.2": width}, (3, 3)
        for i, (layer, channels) in enumerate(layers.items()):
            x = self.convolved(x, w, f"conv{layer}", channels, kernel, stride=2 if i == 0 else 1)
            x = self.activated(self.normed(x, w, f"bn{layer}"), a)
        return self.max_pool(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))

    def activated(self, x: Any, a: Any) -> Any:
        """A ReLU, leaky where there is a slope."""
        return self.leaky_relu(x, a["slope"]) if a.get("slope") else self.relu(x)

    def family_block(
        self,
        x: Any,
        w: Weights,
        place: str,
        a: Any,
        planes: int,
        stride: int,
        shifted: bool,
        dilation: int = 1,
    ) -> Any:
        """A residual block: shifted in time, then in space; grouped, leaky, dilated."""
        z = self.temporal_shift(x, a["fold_div"]) if shifted else x
        y = self.crossed(z, a["spatial_shift"]) if a.get("spatial_shift") else z
        channels, middle = planes, planes * a.get("inner", 1)
        layers = [(planes, 3), (planes, 3)]
        if a["block"] == "bottleneck":
            channels = 4 * planes
            layers = [(middle, 1), (middle, 3), (channels, 1)]
        steps = self.strides(a["block"], stride)
        for i, ((width, k), step) in enumerate(zip(layers, steps, strict=True), start=1):
            form = {"groups": a.get("groups", 1), "dilation": dilation} if k == 3 else {}
            y = self.convolved(y, w, f"{place}.conv{i}", width, (k, k), stride=step, **form)
            y = self.normed(y, w, f"{place}.bn{i}")
            y = self.activated(y, a) if i < len(layers) else y
        skip = self.skip_input(x, z, a["placement"])
        if stride != 1 or self.shape(skip)[1] != channels:
            skip = self.projected(skip, w, f"{place}.downsample", channels, stride, a)
        return self.activated(self.add(y, skip), a)

    def projected(self, x: Any, w: Weights, name: str, channels: int, stride: int, a: Any) -> Any:
        """A strided 1x1 convolution, or (-vd) the mean of as many pixels and a 1x1 convolution."""
        if a.get("pool_shortcut") and stride != 1:
            x = self.avg_pool(x, WINDOW, WINDOW, ceil_mode=True)
            stride = 1
        x = self.convolved(x, w, f"{name}.0", channels, (1, 1), stride=stride)
        return self.normed(x, w, f"{name}.1")

    def pooled_in_time(self, x: Any) -> Any:
        """The maximum of three frames, every second frame."""
        return self.max_pool(x, (3, 1, 1), (2, 1, 1), (1, 0, 0))

    def crossed(self, x: Any, parts: int) -> Any:
        """A part of the channels each from above, from below, from the left and from the right."""
        channels = self.shape(x)[1]
        f = channels // parts
        dh, dw = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
        dh[:f], dh[f : 2 * f], dw[2 * f : 3 * f], dw[3 * f : 4 * f] = 1, -1, 1, -1
        return self.spatial_shift_by(x, dh, dw, self.conventions.fill)

    # Non-local blocks

    def non_local_block(self, x: Any, w: Weights, name: str, mode: str) -> Any:
        """``x + norm(W attention(x))``, with keys and values pooled 2x2."""
        channels = self.shape(x)[1]
        theta, phi, g = (
            self.convolved(x, w, f"{name}.{role}", channels // 2, (1, 1), bias=True)
            for role in ("theta", "phi", "g")
        )
        y = self.attended(
            theta, self.max_pool(phi, WINDOW, WINDOW), self.max_pool(g, WINDOW, WINDOW), mode
        )
        y = self.convolved(y, w, f"{name}.W", channels, (1, 1), bias=True)
        return self.add(self.normed(y, w, f"{name}.bn"), x)

    def attended(self, theta: Any, phi: Any, g: Any, mode: str) -> Any:
        """The average of all places of a clip, weighted."""
        return self.non_local(theta, phi, g, mode)

    # Temporal relations

    def relational(self, x: Any, w: Weights, **a: Any) -> Any:
        """Logits (N, K): the sum over tuples of frames of what is said of each (TRN)."""
        x = self.dense(self.residual_features(x, w, a), w, "relation_features", a["hidden"])
        x, total = self.relu(x), None
        for frames in a["relations"]:
            scale = f"relation{len(frames)}"
            y = self.moved(x, lambda v, frames=frames: self.frame_tuple(v, frames))
            y = self.relu(self.dense(y, w, f"{scale}.1", a["bottleneck"]))
            y = self.dense(y, w, f"{scale}.3", a["classes"])
            total = y if total is None else self.add(total, y)
        return self.moved(total, lambda v: v[..., 0])

    def frame_tuple(self, v: Any, frames: Any) -> Any:
        """The features of some frames, one frame's behind the other's, (N, k C, 1)."""
        return v[:, :, list(frames)].swapaxes(1, 2).reshape(len(v), -1, 1)
