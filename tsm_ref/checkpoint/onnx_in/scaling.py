"""Multiplications by constants: a batch norm without statistics, gathered where they meet."""

import math
from typing import Any

import numpy as np

from tsm_ref.checkpoint.onnx_in.reading import Reading
from tsm_ref.checkpoint.onnx_in.values import View


def affine(reading: Reading, name: str, view: View, gain: Any, offset: Any) -> View:
    """``gain * x + offset``, numbers or one per channel: a batch norm without statistics."""
    channels = view.base.shape[1]
    roles = {"scale": gain, "bias": offset, "mean": 0.0, "variance": 1.0}
    names = [
        reading.parameter(f"{name}.{role}", np.broadcast_to(np.float32(value), (channels,)))
        for role, value in roles.items()
    ]
    base = reading.emit(
        "BatchNormalization", name, [view.base.name, *names], view.base.axes, epsilon=0.0
    )
    return View(base, view.groups)


def scaled(reading: Reading, name: str, view: View, factor: float) -> View:
    """``factor * x``; two factors in a row become one, and a factor of 1 none."""
    source, old = reading.scales.get(view.base.name, (view, 1.0))
    if math.isclose(old * factor, 1.0, rel_tol=1e-6):
        return View(source.base, view.groups)
    result = affine(reading, name, View(source.base, view.groups), old * factor, 0.0)
    reading.scales[result.base.name] = (source, old * factor)
    return result
