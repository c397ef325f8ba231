"""From a file to a model, and from a model to a file."""

import warnings
from collections.abc import Mapping
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from tsm_ref import checkpoint as files
from tsm_ref.errors import CheckpointError, TsmError, UsageError
from tsm_ref.model.file_form import FileForm
from tsm_ref.model.kept_weights import KeptWeights
from tsm_ref.model.meaning import Labels, meant_as
from tsm_ref.model.model import Model
from tsm_ref.profile import Profile

__all__ = ["load", "save"]

OTHERS = frozenset({".onnx", ".safetensors", ".tflite", ".keras", ".pt", ".pth", ".pdparams"})
"""Endings of other formats: a file of ours that is called so would mislead whoever opens it."""


def load(
    name_or_path: str | PathLike[str],
    *,
    profile: str | PathLike[str] | Profile | None = None,
    labels: Labels | None = None,
    engine: str = "auto",
    threads: int = 1,
    precision: str = "float32",
    **facts: Any,
) -> Model:
    """Load a model by the name under which it ships, or from a file.

    ``profile`` (one of `tsm_ref.profile.PROFILES` by name, a ``.toml`` or ``.json`` file, or one of
    your own) says what a foreign file does not; ``facts`` set single facts of it, such as
    ``segments=16`` (see `tsm_ref.profile_files.changed`). ``labels`` are the classes in index
    order, a file of them, or a list that ships, such as "kinetics400"; those of several heads are a
    mapping by output, or a JSON object of lists. ``engine`` is "auto",
    "numba" or "numpy". ``precision`` "bfloat16" rounds what convolutions multiply to 8 bits, which
    is faster on processors that can (``docs/precisions.md``).

    Raises `CheckpointError` for a file that is missing, damaged or not understood, and
    `UsageError` for an unknown profile or engine, and for labels that are not one per class.

    >>> load("no/such/file.h5")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tsm_ref.errors.CheckpointError: there is no model and no file 'no/such/file.h5'; ...
    """
    path = files.resolve(name_or_path).absolute()
    found = meant_as(partial(_read, path), profile, labels, facts)
    for sentence in found.warnings:
        warnings.warn(f"{path.name}: {sentence}", stacklevel=2)
    name = fspath(name_or_path)
    declared = (found.graph, found.inputs, found.outputs, found.states)
    return Model(
        found.graph,
        KeptWeights(found.weights),
        found.profile,
        name=name if name in files.names() else Path(name).name,
        sha256=found.sha256,
        engine=engine,
        threads=threads,
        precision=precision,
        first=found.weights,
        form=partial(FileForm.on, *declared) if found.inputs else None,
        warnings=found.warnings,
        notes=found.extra,
    )


def save(
    model: Model,
    path: str | PathLike[str],
    *,
    storage: str = "float32",
    extra: Mapping[str, str] | None = None,
) -> str:
    """Write a model file in our HDF5 format, whole or not at all; returns its SHA-256.

    ``storage`` is "float32" or "float16"; ``extra`` are free notes such as a licence, which are
    written beside those of the model.

    Raises `UsageError` for another storage and for the ending of another format, which
    `tsm_ref.convert` may write; `WriteError` where the file cannot be written.

    >>> import tempfile, tsm_ref
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     digest = save(tsm_ref.build("ts-can", engine="numpy"), f"{folder}/mine.h5")
    ...     load(f"{folder}/mine.h5", profile=None, engine="numpy").sha256 == digest
    True
    """
    if (ending := Path(path).suffix.lower()) in OTHERS:
        raise UsageError(
            f"{path}: `save` writes HDF5, which should not be called {ending}; save it as .h5, "
            "and see `python -m tsm_ref.convert --help` for other formats"
        )
    weights, notes = model.weights, {**model.notes, **(extra or {})}
    try:
        return files.save(path, model.graph, weights, model.profile, storage=storage, extra=notes)
    except TsmError as error:
        raise error.about(path) from None


def _read(path: Path, profile: Profile | None, facts: Mapping[str, Any]) -> files.Checkpoint:
    try:
        return files.load_checkpoint(path, profile, facts)
    except CheckpointError as error:
        raise error.about(path) from None
