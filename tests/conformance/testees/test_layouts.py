"""A declared layout holds for every operation: the reference, turned round, passes in each."""

import numpy as np
import pytest

from conformance.catalogue import all_cases
from conformance.judging.results import Options
from conformance.judging.runner import run
from conformance.testees.in_process import InProcess
from conformance.testees.reference import Reference

TURNED = {"NTCHW": (0, 2, 1, 3, 4), "NTHWC": (0, 4, 1, 2, 3)}
"""The axes that bring a clip of a layout back to (N, C, T, H, W)."""


class Turned:
    """The reference behind another order of axes, written without the judge's own functions."""

    def __init__(self, layout):
        self.reference, self.layout = Reference(), layout
        self.merged = layout.startswith("(NT)")
        self.axes = TURNED["NTHWC" if layout.endswith("HWC") else "NTCHW"]
        self.declaration = {"name": layout, "capabilities": {"layout": layout}}

    def __getattr__(self, name):
        operation = getattr(self.reference, name)

        def call(x, segments=None, **rest):
            weights = {k: v[:, :, None] if k == "weight" and name == "conv" and self.merged else v
                       for k, v in rest.items()}  # fmt: skip
            window = ("kernel", "stride", "padding", "dilation")
            for key in window:
                if self.merged and isinstance(weights.get(key), list):
                    weights[key] = [0 if key == "padding" else 1, *weights[key]]
            if name == "softmax":
                weights["axis"] = {1: 1, 2: 1}[weights["axis"]] if self.merged else 3 - rest["axis"]
            others = ("phi", "g", "appearance")
            weights |= {k: self.inside(weights[k], segments) for k in others if k in weights}
            y = operation(self.inside(x, segments), **weights)
            return y if name in ("network", "consensus") else self.outside(y)

        return call

    def inside(self, x, segments):
        if self.merged and segments:
            x = x.reshape(-1, segments, *x.shape[1:])
        return x.transpose(self.axes) if x.ndim == 5 else x.swapaxes(1, 2) if x.ndim == 3 else x

    def outside(self, y):
        y = y.transpose(np.argsort(self.axes)) if y.ndim == 5 else y.swapaxes(1, 2)
        return y.reshape(-1, *y.shape[2:]) if self.merged else y


ASKED = {"temporal_shift", "conv", "batch_norm", "relu", "max_pool", "avg_pool", "linear",
         "global_avg_pool", "consensus", "softmax", "attention_mask", "non_local",
         "residual_block", "network", "frame_logits"}  # fmt: skip


@pytest.mark.parametrize("layout", ["NTCHW", "NTHWC", "(NT)CHW", "(NT)HWC"])
def test_the_layout_holds_for_every_operation(layout):
    cases = [
        c for c in all_cases()
        if c.operation in ASKED and c.interactive is None and not c.costly and c.level[0] == "L"
        and c.id not in ("L3.network.ts-can", "L3.network.deep")
    ]  # fmt: skip
    finished = run(InProcess(Turned(layout)), cases, Options())
    assert [(r.id, r.message) for r in finished.results if r.outcome in ("failed", "error")] == []
    left_out = {r.id for r in finished.results if r.outcome == "unsupported"}
    mixing = {"L1.conv.temporal", "L1.max_pool.temporal", "L1.max_pool.odd-time", "L1.softmax.axes"}
    assert left_out == (mixing if layout.startswith("(NT)") else set())
    assert {r.operation for r in finished.results if r.outcome == "passed"} == ASKED
