"""Networks that convolve in time: C3D, R3D, MC3, R(2+1)D, I3D, P3D, S3D, ECO-Lite."""

from collections.abc import Sequence
from typing import Any

from conformance.questions.families.pictures import Pictures
from conformance.questions.structure import Weights


class Clips(Pictures):
    """Kernels are (O, I, kT, kH, kW) throughout, but for the pictures in front of ECO-Lite."""

    def over_time(self, x: Any, w: Weights, classes: int) -> Any:
        """Logits (N, K): the mean over the frames that are left."""
        return self.framewise(self.global_avg_pool(x), w, "fc", classes)

    def norm_relu(self, x: Any, w: Weights, name: str, eps: float = 1e-5) -> Any:
        """A norm and its ReLU."""
        return self.relu(self.normed(x, w, name, eps))

    # C3D

    def c3d(self, x: Any, w: Weights, **a: Any) -> Any:
        """Logits (N, K): five stages of 3x3x3, and three dense layers."""
        for stage, widths in enumerate(a["stages"], start=1):
            for letter, channels in zip("ab", widths, strict=False):
                layer = f"conv{stage}{letter if len(widths) > 1 else ''}"
                x = self.relu(self.convolved(x, w, layer, channels, (3, 3, 3), bias=True))
            x = self.c3d_pool(x, stage == 1, stage == len(a["stages"]))
        x = self.flat(x)
        for layer in ("fc6", "fc7"):
            x = self.relu(self.dense(x, w, layer, a["hidden"]))
        return self.head_consensus(self.dense(x, w, "fc8", a["classes"]))

    def c3d_pool(self, x: Any, first: bool, last: bool) -> Any:
        """The maximum of 2x2x2; the first keeps the frames, the last pads the picture by one."""
        window = (1 if first else 2, 2, 2)
        return self.max_pool(x, window, window, (0, 1, 1) if last else (0, 0, 0))

    # R3D, MC3, R(2+1)D

    def clip_resnet(self, x: Any, w: Weights, **a: Any) -> Any:
        """Logits (N, K) of basic blocks, whose kind is told for each stage."""
        if a["kinds"][0] == "2+1d":
            x = self.convolved(x, w, "stem.0", a["stem_middle"], (1, 7, 7), stride=2)
            x = self.norm_relu(x, w, "stem.1")
            x = self.norm_relu(self.convolved(x, w, "stem.3", a["width"], (3, 1, 1)), w, "stem.4")
        else:
            x = self.convolved(x, w, "stem.0", a["width"], (3, 7, 7), stride=2)
            x = self.norm_relu(x, w, "stem.1")
        for stage, (count, kind) in enumerate(zip(a["blocks"], a["kinds"], strict=True)):
            for i in range(count):
                planes, stride = a["width"] * 2**stage, 2 if stage and i == 0 else 1
                x = self.clip_block(x, w, f"layer{stage + 1}.{i}", planes, stride, kind)
        return self.over_time(x, w, a["classes"])

    def clip_block(self, x: Any, w: Weights, name: str, planes: int, stride: int, kind: str) -> Any:
        """Two convolutions and the skip path; only 1x3x3 leaves time alone."""
        into, step = self.shape(x)[1], 1 if kind == "2d" else stride
        middle = 27 * into * planes // (9 * into + 3 * planes)
        y = self.clip_conv(x, w, f"{name}.conv1", planes, stride, step, kind, middle)
        y = self.norm_relu(y, w, f"{name}.bn1")
        y = self.normed(
            self.clip_conv(y, w, f"{name}.conv2", planes, 1, 1, kind, middle), w, f"{name}.bn2"
        )
        if stride != 1 or into != planes:
            place = f"{name}.downsample"
            x = self.convolved(x, w, f"{place}.0", planes, (1, 1, 1), stride=stride, step=step)
            x = self.normed(x, w, f"{place}.1")
        return self.relu(self.add(y, x))

    def clip_conv(
        self,
        x: Any,
        w: Weights,
        name: str,
        planes: int,
        stride: int,
        step: int,
        kind: str,
        middle: int,
    ) -> Any:
        """3x3x3, 1x3x3, or 1x3x3 with its norm and 3x1x1."""
        if kind != "2+1d":
            kernel = (3 if kind == "3d" else 1, 3, 3)
            return self.convolved(x, w, name, planes, kernel, stride=stride, step=step)
        x = self.convolved(x, w, f"{name}.0", middle, (1, 3, 3), stride=stride)
        x = self.middle_relu(self.normed(x, w, f"{name}.1"))
        return self.convolved(x, w, f"{name}.3", planes, (3, 1, 1), step=step)

    def middle_relu(self, x: Any) -> Any:
        """The ReLU between space and time."""
        return self.relu(x)

    # I3D

    def i3d(self, x: Any, w: Weights, **a: Any) -> Any:
        """Logits (N, K) of an inflated ResNet of bottlenecks; the last stage keeps its pixels."""
        x = self.convolved(x, w, "conv1", a["width"], (5, 7, 7), stride=2)
        x = self.max_pool(self.norm_relu(x, w, "bn1"), (1, 3, 3), (1, 2, 2), (0, 1, 1))
        for stage, count in enumerate(a["blocks"]):
            for i in range(count):
                planes, stride = a["width"] * 2**stage, 2 if stage in (1, 2) and i == 0 else 1
                frames = 3 if i in a["inflated"][stage] else 1
                x = self.i3d_block(x, w, f"layer{stage + 1}.{i}", planes, stride, frames)
            x = self.halved_in_time(x) if stage == 0 else x
        return self.over_time(x, w, a["classes"])

    def halved_in_time(self, x: Any, ceil_mode: bool = False) -> Any:
        """The maximum of two frames."""
        return self.max_pool(x, (2, 1, 1), (2, 1, 1), ceil_mode=ceil_mode)

    def i3d_block(
        self, x: Any, w: Weights, name: str, planes: int, stride: int, frames: int
    ) -> Any:
        """A bottleneck whose first convolution may see three frames."""
        y = self.norm_relu(
            self.convolved(x, w, f"{name}.conv1", planes, (frames, 1, 1)), w, f"{name}.bn1"
        )
        y = self.convolved(y, w, f"{name}.conv2", planes, (1, 3, 3), stride=stride)
        y = self.norm_relu(y, w, f"{name}.bn2")
        y = self.normed(
            self.convolved(y, w, f"{name}.conv3", 4 * planes, (1, 1, 1)), w, f"{name}.bn3"
        )
        return self.relu(
            self.add(y, self.clip_skip(x, w, f"{name}.downsample", 4 * planes, stride))
        )

    def clip_skip(self, x: Any, w: Weights, name: str, channels: int, stride: int) -> Any:
        """The skip path of a bottleneck, whose stride is that of the picture."""
        if stride == 1 and self.shape(x)[1] == channels:
            return x
        y = self.convolved(x, w, f"{name}.0", channels, (1, 1, 1), stride=stride)
        return self.normed(y, w, f"{name}.1")

    # P3D

    def p3d(self, x: Any, w: Weights, **a: Any) -> Any:
        """Logits (N, K) of bottlenecks with S (1x3x3) and T (3x1x1) in three orders, in turn."""
        x = self.norm_relu(self.convolved(x, w, "conv1", a["width"], (1, 7, 7), stride=2), w, "bn1")
        x = self.max_pool(x, (2, 3, 3), (2, 2, 2), ceil_mode=True)
        turn = 0
        for stage, count in enumerate(a["blocks"]):
            x = self.halved_in_time(x, True) if stage else x
            for i in range(count):
                order = a["orders"][turn % len(a["orders"])] if stage < 3 else ""
                planes, stride = a["width"] * 2**stage, 2 if stage and i == 0 else 1
                x = self.p3d_block(x, w, f"layer{stage + 1}.{i}", planes, stride, order)
                turn += 1
        return self.over_time(x, w, a["classes"])

    def p3d_block(self, x: Any, w: Weights, name: str, planes: int, stride: int, order: str) -> Any:
        """1x1x1 with the stride, S and T in their order, 1x1x1, and the skip path."""
        y = self.convolved(x, w, f"{name}.conv1", planes, (1, 1, 1), stride=stride)
        y = self.p3d_order(self.norm_relu(y, w, f"{name}.bn1"), w, name, order)
        y = self.normed(
            self.convolved(y, w, f"{name}.conv4", 4 * planes, (1, 1, 1)), w, f"{name}.bn4"
        )
        return self.relu(
            self.add(y, self.clip_skip(x, w, f"{name}.downsample", 4 * planes, stride))
        )

    def p3d_order(self, x: Any, w: Weights, name: str, order: str) -> Any:
        """T(S(x)), S(x) + T(x) or S(x) + T(S(x)) for A, B and C; S(x) alone without an order."""
        planes = self.shape(x)[1]
        s = self.norm_relu(
            self.convolved(x, w, f"{name}.conv2", planes, (1, 3, 3)), w, f"{name}.bn2"
        )
        if not order:
            return s
        t = self.convolved(x if order == "B" else s, w, f"{name}.conv3", planes, (3, 1, 1))
        t = self.normed(t, w, f"{name}.bn3")
        return self.relu(t if order == "A" else self.add(s, t))

    # S3D

    def s3d(self, x: Any, w: Weights, **a: Any) -> Any:
        """Logits (N, K) of an Inception of 1x3x3 and 3x1x1; neighbouring features are averaged."""
        for layer, row in a["layers"].items():
            place = f"features.{layer}"
            if row[0] == "pool":
                edge = tuple(size // 2 if size == 3 else 0 for size in row[1])
                x = self.max_pool(x, row[1], row[2], edge)
            elif row[0] == "block":
                x = self.s3d_block(x, w, place, row[1])
            elif row[0] == "single":
                x = self.s3d_unit(x, w, f"{place}.0", f"{place}.1", row[1], (1, 1, 1))
            else:
                x = self.separable(x, w, place, *row[1:])
        return self.over_time(self.twos(x), w, a["classes"])

    def twos(self, x: Any) -> Any:
        """The mean of each two neighbouring frames."""
        return self.avg_pool(x, (2, 1, 1), (1, 1, 1))

    def separable(
        self, x: Any, w: Weights, name: str, channels: int, k: int = 3, stride: int = 1
    ) -> Any:
        """Over pixels, then over as many frames; each with its norm and its ReLU."""
        x = self.s3d_unit(x, w, f"{name}.0.0", f"{name}.0.1", channels, (1, k, k), stride=stride)
        return self.s3d_unit(x, w, f"{name}.1.0", f"{name}.1.1", channels, (k, 1, 1), step=stride)

    def s3d_unit(
        self,
        x: Any,
        w: Weights,
        conv: str,
        norm: str,
        channels: int,
        kernel: Sequence[int],
        **form: Any,
    ) -> Any:
        """A convolution, its norm and its ReLU."""
        return self.norm_relu(self.convolved(x, w, conv, channels, kernel, **form), w, norm, 1e-3)

    def s3d_block(self, x: Any, w: Weights, name: str, widths: Sequence[int]) -> Any:
        """1x1x1; two separable 3x3x3 behind reductions; 1x1x1 behind a pool."""
        single, reduced, wide, narrow, small, projected = widths
        one = (1, 1, 1)
        ends = [self.s3d_unit(x, w, f"{name}.branch0.0", f"{name}.branch0.1", single, one)]
        for i, (before, behind) in enumerate(((reduced, wide), (narrow, small)), start=1):
            place = f"{name}.branch{i}"
            y = self.s3d_unit(x, w, f"{place}.0.0", f"{place}.0.1", before, one)
            ends.append(self.separable(y, w, f"{place}.1", behind))
        y, place = self.max_pool(x, (3, 3, 3), one, one), f"{name}.branch3.1"
        ends.append(self.s3d_unit(y, w, f"{place}.0", f"{place}.1", projected, one))
        return self.joined(ends)

    # ECO-Lite

    def eco_lite(self, x: Any, w: Weights, **a: Any) -> Any:
        """Logits (N, K): the beginning of BNInception, and blocks of 3x3x3, normed first."""
        x = self.inception(x, w, a["stem"], a["blocks"], None)
        narrow, double = a["ending"]
        x = self.unit(x, w, "inception_3c_double_3x3_reduce", narrow, 1)
        x = self.unit(x, w, "inception_3c_double_3x3_1", double, 3)
        skip = self.eco_conv(x, w, "res3a_2", a["width"])
        for stage in (3, 4, 5):
            place, channels = f"res{stage}", a["width"] * 2 ** (stage - 3)
            if stage > 3:
                y = self.eco_conv(x, w, f"{place}a_1", channels, 2)
                y = self.eco_conv(
                    self.norm_relu(y, w, f"{place}a_1_bn"), w, f"{place}a_2", channels
                )
                skip = self.add(y, self.eco_conv(x, w, f"{place}a_down", channels, 2))
            x = self.norm_relu(skip, w, f"{place}a_bn")
            y = self.norm_relu(self.eco_conv(x, w, f"{place}b_1", channels), w, f"{place}b_1_bn")
            y = self.eco_conv(y, w, f"{place}b_2", channels)
            x = self.norm_relu(self.add(y, self.eco_skip(skip, x)), w, f"{place}b_bn")
        return self.over_time(x, w, a["classes"])

    def eco_conv(self, x: Any, w: Weights, name: str, channels: int, stride: int = 1) -> Any:
        """3x3x3, whose stride is in time as well."""
        form = {"stride": stride, "step": stride}
        return self.convolved(x, w, name, channels, (3, 3, 3), bias=True, **form)

    def eco_skip(self, before: Any, behind: Any) -> Any:
        """What the skip path of a block sees: the value in front of the norm."""
        return before
