"""Clips in the order of axes that a testee declares, and its answers back in ours."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.questions.arrays import from_layout, to_layout
from conformance.questions.case import Call
from conformance.testees.base import Outputs, Reply

MOVED = ("temporal_shift", "temporal_shift_adjoint", "shift_by", "residual_block", "network",
         "frame_logits")  # fmt: skip
RETURN_CLIPS = MOVED[:4]


def in_layout(call: Call, layout: str) -> Call:
    """The call as a testee of this layout wants it; merged layouts are told `segments` (T)."""
    if layout == "NCTHW" or call.operation not in MOVED:
        return call
    inputs = {
        name: to_layout(x, layout) if x.ndim == 5 and not name.startswith("weights/") else x
        for name, x in call.inputs.items()
    }
    told: Mapping[str, Any] = {}
    if layout.startswith("(NT)"):
        told = {"segments": next(iter(call.inputs.values())).shape[2]}
    return replace(
        call,
        inputs=inputs,
        attributes={**call.attributes, **told},
        defaults={**call.defaults, **told},
    )


def from_testee(call: Call, reply: Reply, layout: str) -> Reply:
    """The reply to `call` (as it was before `in_layout`) with clips as (N, C, T, H, W)."""
    if layout == "NCTHW" or call.operation not in RETURN_CLIPS or not isinstance(reply, Outputs):
        return reply
    clips = len(next(iter(call.inputs.values())))
    return Outputs(
        {
            name: from_layout(y, layout, clips) if isinstance(y, np.ndarray) else y
            for name, y in reply.values.items()
        }
    )
