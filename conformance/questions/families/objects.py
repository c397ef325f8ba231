"""R-FCN behind a TSM: the maps of a frame, which boxes are made of."""

from typing import Any

from conformance.questions.families.residual import Residual
from conformance.questions.structure import Weights

ANCHORS = 9


class Objects(Residual):
    """Four maps, one behind the other: of objects, of offsets, of classes and of boxes."""

    def rfcn(self, x: Any, w: Weights, **a: Any) -> Any:
        """The maps (N, C, T, H / 16, W / 16), of C = 18 + 36 + (classes + 1) k^2 + 4 k^2."""
        x = self.residual_stem(x, w, a)
        *stages, last = range(len(a["blocks"]))
        for stage in stages:
            x = self.rfcn_stage(x, w, stage, a, 2 if stage else 1, 1)
        y = self.relu(self.convolved(x, w, "rpn", a["proposal"], (3, 3), bias=True))
        maps = [
            self.map_of(y, w, "objectness", 2 * ANCHORS),
            self.map_of(y, w, "offsets", 4 * ANCHORS),
        ]
        x = self.rfcn_stage(x, w, last, a, 1, 2)
        x = self.relu(self.convolved(x, w, "reduce", a["reduced"], (1, 1), bias=True))
        maps.append(self.map_of(x, w, "score_maps", (a["classes"] + 1) * a["bins"] ** 2))
        return self.joined([*maps, self.map_of(x, w, "box_maps", 4 * a["bins"] ** 2)])

    def map_of(self, x: Any, w: Weights, name: str, channels: int) -> Any:
        """One map."""
        return self.convolved(x, w, name, channels, (1, 1), bias=True)

    def rfcn_stage(self, x: Any, w: Weights, stage: int, a: Any, stride: int, dilation: int) -> Any:
        """The blocks of a stage; the last one is dilated instead of strided."""
        uses = self.shifted_by_stage(a["blocks"], "blockres")[stage]
        for i, use in enumerate(uses):
            place, planes = f"layer{stage + 1}.{i}", a["width"] * 2**stage
            step = stride if i == 0 else 1
            x = self.family_block(x, w, place, a, planes, step, bool(use), dilation)
        return x
