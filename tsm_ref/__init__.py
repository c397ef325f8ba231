"""Temporal Shift Module (Lin, Gan, Han 2019): reference, CPU inference engine and weight loader.

>>> import numpy as np, tsm_ref
>>> model = tsm_ref.build("mobilenetv2", num_classes=5, width=0.35, engine="numpy")
>>> clip = np.zeros((1, 3, 8, 64, 64), np.float32)
>>> model(clip).shape
(1, 5)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsm_ref.model import Model, build, load, save
    from tsm_ref.quantization import quantize  # type: ignore[no-redef]  # the module is callable too
    from tsm_ref.reference import temporal_shift

__all__ = ["Model", "__version__", "build", "load", "quantize", "save", "temporal_shift"]

__version__ = "0.1.0"
"""The version of the package."""

_HOMES = {
    "Model": "tsm_ref.model",
    "build": "tsm_ref.model",
    "load": "tsm_ref.model",
    "quantize": "tsm_ref.quantization",
    "save": "tsm_ref.model",
    "temporal_shift": "tsm_ref.reference",
}
"""Where each name lives; nothing is imported before it is used, so that `--help` is quick."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
