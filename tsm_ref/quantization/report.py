"""What quantising a network cost, and what it brought: as data, as text, as JSON beside it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NOTE", "Layer", "Loss", "Report", "loss_of"]

Array = NDArray[Any]

MOST = 60
"""The longest name of a layer that is shown whole; files of others have names of a page."""

NOTE = "quantisation"
"""Under what name a model file keeps its report."""


@dataclass(frozen=True)
class Loss:
    """How far logits (N, K) are from those of float32 on the same clips.

    ``agreement`` is the share of clips with the same best class; ``largest`` and ``rms`` are the
    largest error and the root mean square of all, relative to the largest logit.
    """

    agreement: float
    largest: float
    rms: float


def loss_of(exact: Array, rounded: Array) -> Loss:
    """Compare the logits of two networks.

    >>> loss_of(np.array([[4.0, 0.0]]), np.array([[3.0, 1.0]]))
    Loss(agreement=1.0, largest=0.25, rms=0.25)
    """
    top = max(float(np.abs(exact).max()), 1e-30)
    error = (rounded.astype(np.float64) - exact) / top
    same = (exact.argmax(-1) == rounded.argmax(-1)).mean()
    return Loss(float(same), float(np.abs(error).max()), float(np.sqrt((error**2).mean())))


@dataclass(frozen=True)
class Layer:
    """One layer with weights: what it computes in, and how far its own rounding is below it.

    ``snr`` (decibel) is the power of its output over that of the error that rounding its weights
    and its input alone makes.
    """

    name: str
    precision: str
    snr: float


@dataclass(frozen=True)
class Report:
    """What was chosen, and what was measured with it.

    ``clips`` chose the steps; ``measured_on`` clips measured them, none of which chose anything if
    ``held_out``. ``choices`` are the errors of all that was tried, by what it was. Sizes are bytes
    of parameters; times are seconds for one clip, None where they were not taken.
    """

    clips: int
    measured_on: int
    held_out: bool
    source: str
    method: str
    equalised: bool
    corrected: bool
    loss: Loss
    layers: tuple[Layer, ...]
    choices: Mapping[str, float]
    bytes_before: int
    bytes_after: int
    seconds_before: float | None = None
    seconds_after: float | None = None
    engine: str = ""

    def to_json(self) -> str:
        """All of it as JSON, as a model file keeps it under `NOTE`."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Report":
        """The report that `to_json` wrote; raises `ValueError` for anything else."""
        try:
            tree = json.loads(text)
            layers = tuple(Layer(**layer) for layer in tree.pop("layers"))
            return Report(**{**tree, "loss": Loss(**tree.pop("loss")), "layers": layers})
        except (TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"this is no report: {error}") from None

    def lines(self) -> list[str]:
        """All of it as people read it."""
        kept = [layer for layer in self.layers if layer.precision == "float32"]
        fresh = "clips that chose nothing" if self.held_out else "the clips that chose the ranges"
        loss = self.loss
        said = [
            f"calibrated on {self.clips} views of {self.source}; ranges by {self.method}"
            + (", channels equalised" if self.equalised else "")
            + (", biases corrected" if self.corrected else ""),
            f"measured on   {self.measured_on} {fresh}",
            f"top-1         the same as in float32 for {loss.agreement:.1%}",
            f"logit error   {loss.rms:.3%} (rms), {loss.largest:.3%} (most) of the largest logit",
            f"size          {self.bytes_before / 1e6:.2f} MB -> {self.bytes_after / 1e6:.2f} MB",
        ]
        if self.seconds_before is not None and self.seconds_after is not None:
            before, after = self.seconds_before, self.seconds_after
            said.append(
                f"time          {before * 1e3:.1f} ms -> {after * 1e3:.1f} ms for a clip on the "
                f"{self.engine} engine ({after / before:.2f})"
            )
        stays = ", ".join(layer.name for layer in kept) or "none"
        said.append(f"stay float32  {stays}")
        names = [
            layer.name if len(layer.name) <= MOST else f"{layer.name[:MOST]}..."
            for layer in self.layers
        ]
        width = max(map(len, names), default=0)
        return said + [
            f"  {name:{width}}  {layer.precision:7}  {layer.snr:5.1f} dB"
            for name, layer in zip(names, self.layers, strict=True)
        ]


def _cut(name: str) -> str:
    return name if len(name) <= MOST else f"{name[:MOST]}..."
