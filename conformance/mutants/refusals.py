"""Mistakes about invalid input: an answer where there can be none."""

from collections.abc import Callable
from typing import Any

import numpy as np

from conformance.mutants.base import Catalogue, Mutant
from conformance.questions.arrays import Array
from conformance.testees.reference import Reference

CATALOGUE = Catalogue()

OPERATIONS = {
    "shift": ("temporal_shift", "shift_by"),
    "conv": ("conv",),
    "batch-norm": ("batch_norm",),
    "linear": ("linear",),
    "consensus": ("consensus",),
    "block": ("residual_block",),
    "network": ("network",),
    "sampling": ("sample_frames",),
    "crop": ("crop",),
}


def lenient(operation: str) -> Callable[..., Any]:
    """An operation that answers a zero where the correct one refuses."""

    def method(self: Reference, *arguments: Any, **more: Any) -> Any:
        try:
            return getattr(super(type(self), self), operation)(*arguments, **more)
        except (ValueError, LookupError, ArithmeticError, TypeError):
            return np.zeros(1, np.float32)

    return method


for _name, _operations in OPERATIONS.items():
    CATALOGUE[f"lenient-{_name}"] = Mutant(
        f"lenient-{_name}",
        "refusing",
        f"an invalid call of `{_operations[0]}` is answered with zeros",
        {operation: lenient(operation) for operation in _operations},
    )


class _LenientStream:
    """A stream that answers zeros whatever it is asked."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self.state: Any = None

    def step(self, chunk: Array) -> Array:
        """Zeros."""
        return np.zeros((len(chunk), 1, chunk.shape[2]), np.float32)

    def reset(self) -> None:
        """Nothing to forget."""


CATALOGUE["lenient-stream"] = Mutant(
    "lenient-stream",
    "refusing",
    "a stream of a broken network answers with zeros",
    {"stream_class": _LenientStream},
)
