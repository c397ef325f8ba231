"""Other backbones of pictures: BNInception, MobileNetV3, MobileOne, PP-LCNetV2."""

from collections.abc import Sequence
from typing import Any

from conformance.questions.families.layers import Layers
from conformance.questions.structure import Weights

HALVES = {"kernel": (1, 3, 3), "stride": (1, 2, 2), "ceil_mode": True}


class Pictures(Layers):
    """Every one sees frames alone, but for its shifts."""

    def framewise(self, features: Any, w: Weights, name: str, classes: int) -> Any:
        """Logits (N, K) from the features (N, C, T) of the frames."""
        return self.head_consensus(self.dense(features, w, name, classes))

    # BNInception

    def bninception(self, x: Any, w: Weights, **a: Any) -> Any:
        """Logits (N, K); the shift stands in front of the second part of the stem and each block.

        A block is [1x1, 3x3 reduced, 3x3, double reduced, double, pool, projected].
        """
        x = self.inception(x, w, a["stem"], a["blocks"], a["fold_div"])
        return self.framewise(self.global_avg_pool(x), w, "fc", a["classes"])

    def inception(
        self, x: Any, w: Weights, stem: Sequence[int], blocks: Any, fold_div: int | None
    ) -> Any:
        """The stem and some blocks, shifted where there is a `fold_div`."""
        first, reduced, wide = stem
        x = self.halved(self.unit(x, w, "conv1_7x7_s2", first, 7, 2))
        x = self.unit(self.placed(x, fold_div), w, "conv2_3x3_reduce", reduced, 1)
        x = self.halved(self.unit(x, w, "conv2_3x3", wide, 3))
        for name, row in blocks.items():
            x = self.inception_block(self.placed(x, fold_div), w, f"inception_{name}", row)
        return x

    def placed(self, x: Any, fold_div: int | None) -> Any:
        """A shift of the whole block, if there is any."""
        return self.temporal_shift(x, fold_div) if fold_div else x

    def inception_block(self, x: Any, w: Weights, name: str, row: Sequence[Any]) -> Any:
        """Branches side by side; one without a 1x1 behind its pool halves the picture."""
        single, reduced, wide, narrow, double, pool, projected = row
        stride = 1 if projected else 2
        ends = [self.unit(x, w, f"{name}_1x1", single, 1, ends=True)] if single else []
        y = self.unit(x, w, f"{name}_3x3_reduce", reduced, 1)
        ends.append(self.unit(y, w, f"{name}_3x3", wide, 3, stride, ends=True))
        y = self.unit(x, w, f"{name}_double_3x3_reduce", narrow, 1)
        y = self.unit(y, w, f"{name}_double_3x3_1", double, 3)
        ends.append(self.unit(y, w, f"{name}_double_3x3_2", double, 3, stride, ends=True))
        if not projected:
            ends.append(self.halved(x))
        else:
            y = self.inception_pool(x, pool)
            ends.append(self.unit(y, w, f"{name}_pool_proj", projected, 1, ends=True))
        return self.joined(ends)

    def unit(
        self,
        x: Any,
        w: Weights,
        name: str,
        channels: int,
        k: int,
        stride: int = 1,
        ends: bool = False,
    ) -> Any:
        """A convolution with its bias, its norm and its ReLU, as every reader of it sees it.

        ``ends`` marks the last one of a branch.
        """
        y = self.convolved(x, w, name, channels, (k, k), stride=stride, bias=True)
        return self.relu(self.normed(y, w, f"{name}_bn"))

    def halved(self, x: Any) -> Any:
        """The maximum of 3x3 pixels, every second of them; windows may end outside."""
        return self.max_pool(x, **HALVES)

    def inception_pool(self, x: Any, kind: str) -> Any:
        """3x3 around each pixel; those outside count as zeros in a mean."""
        window = (1, 3, 3), (1, 1, 1), (0, 1, 1)
        return self.max_pool(x, *window) if kind == "max" else self.avg_pool(x, *window)

    # MobileNetV3

    def mobilenet_v3(self, x: Any, w: Weights, **a: Any) -> Any:
        """Logits (N, K) of rows [kernel, hidden, channels, gate, swish, stride]."""
        x = self.v3_unit(x, w, "stem", a["stem"], 3, a, stride=2, act="swish")
        for i, row in enumerate(a["rows"]):
            x = self.v3_block(x, w, f"blocks.{i}", row, a)
        x = self.v3_unit(x, w, "last", a["last"], 1, a, act="swish")
        x = self.channel_means(x)
        x = self.convolved(x, w, "hidden", a["hidden"], (1, 1), bias=a["hidden_bias"])
        x = self.kept(self.hard_swish(x), a["dropout"])
        return self.framewise(self.flat(x), w, "classifier", a["classes"])

    def v3_block(self, x: Any, w: Weights, name: str, row: Sequence[Any], a: Any) -> Any:
        """Expand, window, gate, project; shifted where it expands and has a skip path."""
        kernel, hidden, channels, gate, swish, stride = row
        skips, act = stride == 1 and self.shape(x)[1] == channels, "swish" if swish else "relu"
        y = x
        if a["expand_all"] or hidden != self.shape(x)[1]:
            y = self.temporal_shift(x, a["fold_div"]) if self.is_shifted_mobile(skips) else x
            y = self.v3_unit(y, w, f"{name}.expand", hidden, 1, a, act=act)
        form = {"stride": stride, "groups": hidden}
        y = self.v3_unit(y, w, f"{name}.depthwise", hidden, kernel, a, act=act, **form)
        y = self.gated(y, w, f"{name}.gate", gate, a["gate_slope"]) if gate else y
        y = self.v3_unit(y, w, f"{name}.project", channels, 1, a)
        return self.add(y, x) if skips else y

    def v3_unit(
        self,
        x: Any,
        w: Weights,
        name: str,
        channels: int,
        k: int,
        a: Any,
        *,
        act: str = "",
        **form: Any,
    ) -> Any:
        """A convolution, its norm, and hard swish or ReLU."""
        y = self.convolved(x, w, f"{name}.conv", channels, (k, k), **form)
        y = self.normed(y, w, f"{name}.bn", a["eps"])
        return {"swish": self.hard_swish, "relu": self.relu, "": lambda v: v}[act](y)

    def gated(self, x: Any, w: Weights, name: str, narrow: int, slope: float) -> Any:
        """Each channel times the hard sigmoid of what all means say of it."""
        y = self.relu(
            self.convolved(self.channel_means(x), w, f"{name}.conv1", narrow, (1, 1), bias=True)
        )
        y = self.convolved(y, w, f"{name}.conv2", self.shape(x)[1], (1, 1), bias=True)
        return self.multiply(x, self.hard_sigmoid(y, slope, 0.5))

    def kept(self, x: Any, share: float) -> Any:
        """Features that a dropout of Paddle's scales, at test time too."""
        return x if share == 1 else self.multiply(x, self.constant(x, share))

    # MobileOne

    def mobileone(self, x: Any, w: Weights, **a: Any) -> Any:
        """Logits (N, K) of blocks as they are trained, each a sum; every one of them is shifted."""
        x = self.one_block(x, w, "stage0.0", a["stem"], a, kernel=3, stride=2)
        rows = zip(a["channels"], a["depths"], a["gated"], strict=True)
        for stage, (channels, depth, gated) in enumerate(rows, start=1):
            for i in range(depth):
                into, gate = self.shape(x)[1], i >= depth - gated
                form = {"kernel": 3, "stride": 2 if i == 0 else 1, "groups": into}
                x = self.one_block(x, w, f"stage{stage}.{2 * i}", into, a, gate=gate, **form)
                x = self.one_block(x, w, f"stage{stage}.{2 * i + 1}", channels, a, gate=gate)
        return self.framewise(self.global_avg_pool(x), w, "fc", a["classes"])

    def one_block(
        self,
        x: Any,
        w: Weights,
        name: str,
        channels: int,
        a: Any,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        gate: bool = False,
    ) -> Any:
        """A shift, the sum of the branches, a gate with a sigmoid, a ReLU."""
        x = self.temporal_shift(x, a["fold_div"])
        form = {"stride": stride, "groups": groups}
        terms = self.one_terms(x, w, name, channels, a["branches"], kernel, form)
        y = terms[0]
        for term in terms[1:]:
            y = self.add(y, term)
        return self.relu(self.squeezed(y, w, f"{name}.se", a["narrow"], ".conv") if gate else y)

    def one_terms(
        self, x: Any, w: Weights, name: str, channels: int, branches: int, k: int, form: Any
    ) -> list[Any]:
        """Convolutions, one of 1x1 beside larger ones, and the input itself where it fits."""
        parts = {f"{name}.branch_conv_list.{i}": k for i in range(branches)}
        if k > 1:
            parts[f"{name}.branch_scale"] = 1
        terms = [
            self.normed(
                self.convolved(x, w, f"{part}.conv", channels, (size, size), **form),
                w,
                f"{part}.norm",
            )
            for part, size in parts.items()
        ]
        if form["stride"] == 1 and self.shape(x)[1] == channels:
            terms.append(self.normed(x, w, f"{name}.branch_norm"))
        return terms

    def squeezed(self, x: Any, w: Weights, name: str, narrow: int, end: str = "") -> Any:
        """Squeeze and excitation: each channel times a sigmoid of what all means say of it."""
        y = self.channel_means(x)
        y = self.relu(self.convolved(y, w, f"{name}.conv1{end}", narrow, (1, 1), bias=True))
        y = self.convolved(y, w, f"{name}.conv2{end}", self.shape(x)[1], (1, 1), bias=True)
        return self.multiply(x, self.sigmoid(y))

    # PP-LCNetV2

    def pp_lcnet(self, x: Any, w: Weights, **a: Any) -> Any:
        """Logits (N, K) of stages [depth, channels, kernel, branches, gated, split, skip]."""
        x = self.lc_unit(x, w, "stem.0", a["stem"][0], 3, stride=2)
        x = self.lc_block(x, w, "stem.1", [1, a["stem"][1], 3, *[False] * 4], 1)
        for stage, row in enumerate(a["stages"]):
            x = self.lc_shifted(x, w, a) if stage == a["shifted_stage"] else x
            for i in range(row[0]):
                x = self.lc_block(x, w, f"stages.{stage}.{i}", row, 2 if i == 0 else 1)
        x = self.relu(self.convolved(self.channel_means(x), w, "last_conv", a["hidden"], (1, 1)))
        return self.framewise(self.flat(self.kept(x, a["dropout"])), w, "fc", a["classes"])

    def lc_shifted(self, x: Any, w: Weights, a: Any) -> Any:
        """The attention over frames, and the only shift."""
        return self.temporal_shift(self.frame_attention(x, w), a["fold_div"])

    def frame_attention(self, x: Any, w: Weights) -> Any:
        """Each frame times the sigmoid of what the means of all frames say of it."""
        m = self.moved(self.global_avg_pool(x), lambda v: v.swapaxes(1, 2))
        m = self.moved(self.consensus(m), lambda v: v[..., None])
        y = self.sigmoid(self.dense(m, w, "attention.fc", self.shape(x)[2]))
        return self.multiply(x, self.moved(y, lambda v: v.swapaxes(1, 2)[..., None, None]))

    def lc_unit(
        self, x: Any, w: Weights, name: str, channels: int, k: int, *, act: bool = True, **form: Any
    ) -> Any:
        """A convolution, its norm, and a ReLU."""
        y = self.normed(
            self.convolved(x, w, f"{name}.conv", channels, (k, k), **form), w, f"{name}.bn"
        )
        return self.relu(y) if act else y

    def lc_block(self, x: Any, w: Weights, name: str, row: Sequence[Any], stride: int) -> Any:
        """A window per channel, or a sum of them; a gate; 1x1; a skip path where it fits."""
        _, channels, kernel, branches, gated, split, skip = row
        into = self.shape(x)[1]
        form: Any = {"stride": stride, "groups": into}
        if branches:
            y = self.relu(self.lc_windows(x, w, name, kernel, form))
        else:
            y = self.lc_unit(x, w, f"{name}.dw_conv", into, kernel, **form)
        y = self.squeezed(y, w, f"{name}.se", into // 4) if gated else y
        if split:
            y = self.lc_unit(y, w, f"{name}.pw_conv_1", channels // 2, 1)
            y = self.lc_unit(y, w, f"{name}.pw_conv_2", channels, 1)
        else:
            y = self.lc_unit(y, w, f"{name}.pw_conv", channels, 1)
        return self.add(y, x) if skip and stride == 1 and into == channels else y

    def lc_windows(self, x: Any, w: Weights, name: str, kernel: int, form: Any) -> Any:
        """5x5, 3x3 and, where nothing strides, 1x1 around the same pixel, each with its norm."""
        sizes = range(kernel, 0 if form["stride"] == 1 else 1, -2)
        total = None
        for i, k in enumerate(sizes):
            place = f"{name}.dw_conv_list.{i}"
            y = self.lc_unit(x, w, place, self.shape(x)[1], k, act=False, **form)
            total = y if total is None else self.add(total, y)
        return total
