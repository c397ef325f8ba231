"""Our two engines, opened as a user opens them: through `tsm_ref.Model`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.bench.peers import Runner
from tsm_ref.bench.workloads import Workload
from tsm_ref.model import Model
from tsm_ref.profile import PROFILES, ShiftRule

Array = NDArray[Any]

OURS = ("numba", "numpy")
"""The engines of this package."""


def open_ours(
    engine: str, workload: Workload, folder: Path, threads: int, precision: str = "float32"
) -> Runner:
    """Open a workload on one of our engines, with the weights that lie in a folder."""
    return as_runner(our_model(engine, workload, folder, threads, precision), workload.online)


def our_model(
    engine: str, workload: Workload, folder: Path, threads: int, precision: str = "float32"
) -> Model:
    """A workload as a model, with the weights that lie in a folder."""

    def weights() -> Mapping[str, Array]:
        with np.load(folder / "weights.npz") as file:
            return {key: file[key] for key in file.files}

    base = PROFILES["mit"]
    profile = base.with_changes(
        shift=ShiftRule(workload.rule),
        placement=workload.placement,
        preprocess=replace(base.preprocess, crop=(workload.size, workload.size)),
    )
    how: dict[str, Any] = {"engine": engine, "threads": threads, "precision": precision}
    return Model(workload.graph(), weights, profile, **how)


def as_runner(model: Model, online: bool) -> Runner:
    """A model that takes whole clips, or one frame at a time."""
    if online:
        stream: Any = model.stream()
        return Runner("tsm_ref", stream.step, lambda x: np.ascontiguousarray(x[0]), stream.reset)
    return Runner("tsm_ref", model, lambda x: np.ascontiguousarray(x.swapaxes(0, 1)[None]))
