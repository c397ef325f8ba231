"""The networks that are timed: how they are built, what they are fed, and what they must answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.errors import UsageError
from tsm_ref.graph import Graph
from tsm_ref.models import build_graph, random_weights
from tsm_ref.profile import ShiftRule

Array = NDArray[Any]


@dataclass(frozen=True)
class Workload:
    """One network at one size; `online` ones are fed one frame at a time and carry state."""

    name: str
    architecture: str
    classes: int
    frames: int
    size: int
    rule: str = "mit"
    online: bool = False
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def placement(self) -> str:
        """Where the shifts stand."""
        return "none" if self.rule == "none" else "blockres"

    def graph(self) -> Graph:
        """The network."""
        return build_graph(
            self.architecture,
            num_classes=self.classes,
            placement=self.placement,
            shift=ShiftRule(self.rule),
            **dict(self.options),
        )

    def weights(self) -> dict[str, Array]:
        """Seeded weights that keep the signal near 1."""
        return dict(random_weights(self.graph(), seed=1))

    def clip(self, seed: int = 7) -> Array:
        """A seeded preprocessed clip (1, 3, T, H, W), float32, smooth in space and in time."""
        rng = np.random.default_rng(seed)
        coarse = -(-self.size // 16)
        noise = rng.standard_normal((1, 3, self.frames, coarse, coarse), np.float32)
        noise[:, :, 1:] += noise[:, :, :-1]
        large = noise.repeat(16, axis=3).repeat(16, axis=4)
        return np.ascontiguousarray(large[..., : self.size, : self.size])

    @property
    def timed_frames(self) -> int:
        """Frames that one timed call processes."""
        return 1 if self.online else self.frames

    def gflop(self) -> float:
        """Work of one timed call in 10^9 floating-point operations, two per multiply-add.

        >>> round(WORKLOADS["tsm-resnet50"].gflop(), 1)
        65.4
        """
        shape = (1, 3, self.timed_frames, self.size, self.size)
        return 2e-9 * sum(self.graph().multiply_adds({"x": shape}).values())

    def prepare(self, folder: Path) -> None:
        """Write weights, clip and the expected answer, computed in float64, into a folder."""
        graph, weights, clip = self.graph(), self.weights(), self.clip()
        if self.online and graph.frame_logits is not None:
            graph = graph.with_outputs([graph.frame_logits])
        expected = NumpyEngine(graph, weights, np.float64).run({"x": clip})[graph.outputs[0]]
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "weights.npz", **weights)  # type: ignore[arg-type]
        np.save(folder / "clip.npy", clip)
        np.save(folder / "expected.npy", expected[0].T if self.online else expected)


def _table(*workloads: Workload) -> Mapping[str, Workload]:
    return {workload.name: workload for workload in workloads}


WORKLOADS = _table(
    Workload("tsm-resnet50", "resnet50", 400, 8, 224),
    Workload("tsn-resnet50", "resnet50", 400, 8, 224, rule="none"),
    Workload("online-mobilenetv2", "mobilenetv2", 27, 8, 224, rule="online", online=True),
    Workload("causal-mobilenetv2", "mobilenetv2", 27, 8, 224, rule="online"),
    Workload("tsm-resnet18", "resnet18", 400, 8, 112),
)
"""What ``--models`` may name."""

SMOKE = _table(
    Workload("smoke-resnet18", "resnet18", 5, 2, 32),
    Workload("smoke-online", "mobilenetv2", 5, 3, 32, "online", True, (("width", 0.35),)),
)
"""Small enough for a test; their times mean nothing."""

PAPER = _table(
    Workload("online-resnet50", "resnet50", 400, 8, 224, rule="online", online=True),
    Workload("frames-resnet50", "resnet50", 400, 8, 224, rule="none", online=True),
    Workload("smoke-offline", "mobilenetv2", 5, 3, 32, "mit", False, (("width", 0.35),)),
    Workload("smoke-frames", "mobilenetv2", 5, 3, 32, "none", True, (("width", 0.35),)),
)
"""What ``python -m tsm_ref.bench paper`` times besides: frame by frame, with state and without."""

OWN: dict[str, Workload] = {}
"""Model files of whoever runs the benchmark, by name."""

WITHOUT_SHIFT = {"tsm-resnet50": "tsn-resnet50"}
"""The same network without its shifts, for the price of the shift."""


def workload(name: str) -> Workload:
    """A workload by name; raises `UsageError` for an unknown one.

    >>> workload("tsm-resnet18").frames
    8
    """
    known = {**WORKLOADS, **SMOKE, **PAPER, **OWN}
    if name not in known:
        raise UsageError(f"there is no model {name!r} to time; known are {', '.join(WORKLOADS)}")
    return known[name]
