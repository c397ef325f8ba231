"""Pulse from a face: MTTS-CAN, EfficientPhys, BigSmall."""

from typing import Any

from conformance.questions.families.layers import Layers
from conformance.questions.structure import Weights

WINDOW = (1, 2, 2)


class Faces(Layers):
    """The numbers of all heads stand one behind the other, (N, heads, T)."""

    def mtts_can(self, x: Any, w: Weights, *, appearance: Any, fold_div: int, **a: Any) -> Any:
        """TS-CAN with a head each for pulse and respiration; (N, 2, T)."""
        x = self.ts_can_features(x, w, appearance=appearance, fold_div=fold_div, **a)
        heads = [self.mtts_head(x, w, i, name) for i, name in enumerate(a["heads"])]
        return self.joined(heads)

    def mtts_head(self, x: Any, w: Weights, index: int, name: str) -> Any:
        """Two dense layers of its own; those of the first head have no name behind them."""
        end = f"_{name}" if index else ""
        first, last = (
            (w[f"{layer}{end}.weight"], w[f"{layer}{end}.bias"]) for layer in ("dense1", "dense2")
        )
        return self.linear(self.tanh(self.linear(x, *first)), *last)

    def efficient_phys(self, x: Any, w: Weights, **a: Any) -> Any:
        """One normed branch of frame differences, which makes its own masks; pulse (N, T)."""
        x = self.phys_norm(x, w)
        for stage, channels in enumerate(a["filters"]):
            for i, pad in ((2 * stage + 1, 1), (2 * stage + 2, 0)):
                y = self.temporal_shift(x, a["fold_div"])
                y = self.convolved(
                    y, w, f"motion_conv{i}", channels, (3, 3), bias=True, padding=pad
                )
                x = self.tanh(y)
            x = self.avg_pool(self.phys_gated(x, w, stage + 1), WINDOW, WINDOW)
        x = self.tanh(self.dense(self.flat(x), w, "dense1", a["hidden"]))
        return self.moved(self.dense(x, w, "dense2", 1), lambda v: v[:, 0])

    def phys_norm(self, x: Any, w: Weights) -> Any:
        """The norm of the differences."""
        return self.normed(x, w, "batch_norm")

    def phys_gated(self, x: Any, w: Weights, number: int) -> Any:
        """The branch times a mask that is seen in itself."""
        mask = self.sigmoid(self.convolved(x, w, f"attention{number}", 1, (1, 1), bias=True))
        return self.multiply(x, self.attention_mask(mask))

    def big_small(self, x: Any, w: Weights, *, big: Any, **a: Any) -> Any:
        """Small frames, shifted, and large ones, which are not; the numbers of each head."""
        first, last = a["filters"]
        for i, channels in enumerate((first, first, first, last, last, last), start=1):
            big = self.relu(self.convolved(big, w, f"big_conv{i}", channels, (3, 3), bias=True))
            big = self.shrunk(big, 4 if i == 6 else 2) if i % 2 == 0 else big
        for i, channels in enumerate((first, first, first, last), start=1):
            x = self.wrapped(x, a["fold_div"], a["fill"])
            x = self.relu(self.convolved(x, w, f"small_conv{i}", channels, (3, 3), bias=True))
        x = self.flat(self.add(x, big))
        heads = []
        for i, (name, numbers) in enumerate(a["heads"].items()):
            end = f"_{name}" if i else ""
            y = self.relu(self.dense(x, w, f"dense1{end}", a["hidden"]))
            heads.append(self.dense(y, w, f"dense2{end}", numbers))
        return self.joined(heads)

    def shrunk(self, x: Any, by: int) -> Any:
        """The mean of as many pixels each way."""
        return self.avg_pool(x, (1, by, by), (1, by, by))

    def wrapped(self, x: Any, fold_div: int, fill: str) -> Any:
        """The profile's shift with the fill of this network: around the ends."""
        return self.shift_by(x, self.folds(self.shape(x)[1], fold_div), fill)
