"""One door for every model file: the kind is read off the content, never off the name."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tsm_ref.checkpoint.contents import Checkpoint, under
from tsm_ref.checkpoint.disk import StrPath, read_head, sha256_of
from tsm_ref.checkpoint.hdf5 import native
from tsm_ref.checkpoint.hdf5.guard import SIGNATURE, GuardedFile, open_hdf5
from tsm_ref.checkpoint.keras import load as keras
from tsm_ref.checkpoint.onnx_in import load as onnx_import
from tsm_ref.checkpoint.tensors.architectures import load_tensors
from tsm_ref.checkpoint.tensors.archives import kind_of_zip, read_shards, read_zip
from tsm_ref.checkpoint.tensors.names import begins
from tsm_ref.checkpoint.tensors.plain_hdf5 import tensors_of
from tsm_ref.checkpoint.tensors.safetensors import load_safetensors
from tsm_ref.checkpoint.tensors.torch import ZIP_HEAD, read_torch
from tsm_ref.checkpoint.tflite.load import is_tflite, load_tflite
from tsm_ref.errors import CheckpointError
from tsm_ref.profile import PROFILES, Profile

__all__ = ["load_checkpoint", "sha256_of"]

SUPPORTED = (
    "tsm_ref HDF5 files, Keras .h5, .weights.h5 and .keras files, ONNX and TFLite models, "
    "PyTorch and Paddle checkpoints, TorchScript, .npz and safetensors files"
)

_AFTER_VERSION = (b"\x12", b"\x1a", b"\x3a", b"\x42")
"""The field that follows the version of an ONNX file: producer, its version, graph or opset."""

FOREIGN: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("compressed with gzip: unpack it with `gzip -dk FILE`", lambda h: h[:2] == b"\x1f\x8b"),
    ("compressed with bzip2: unpack it with `bzip2 -dk FILE`", lambda h: h[:3] == b"BZh"),
    ("compressed with xz: unpack it with `xz -dk FILE`", lambda h: h[:6] == b"\xfd7zXZ\0"),
    ("a tar archive: unpack it with `tar -xf FILE`", lambda h: h[257:262] == b"ustar"),
    ("a web page, not a model", lambda h: h.lstrip()[:1] == b"<"),
    ("a Git LFS pointer, not the model itself", lambda h: h.startswith(b"version https://git")),
)
"""Files that people have and that are not readable, by their first bytes."""


@np.errstate(all="ignore")  # what is not finite is refused by name
def load_checkpoint(
    path: StrPath, profile: Profile | None = None, options: Mapping[str, Any] | None = None
) -> Checkpoint:
    r"""Read a model file of any supported kind.

    Our own files carry their profile. A given one may change how frames are sampled, prepared and
    averaged, but not the shift or its placement, which the weights were trained with. A Keras file
    says nothing about its shift, so there a profile is needed. An ONNX or TFLite file tells all
    of its shift and nothing of pictures; a given profile must agree with what it does. Of a file of
    tensors (PyTorch, Paddle, safetensors) names and shapes tell the network, and some of them the
    shift; see `tsm_ref.checkpoint.tensors.architectures`. ``options`` are single facts about such a
    file, such as ``fold_div=4`` (`tsm_ref.checkpoint.facts`).

    Raises `CheckpointError` in one sentence without the path.

    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "model.pth").write_bytes(b"<!DOCTYPE html>")
    ...     load_checkpoint(f"{folder}/model.pth")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tsm_ref.errors.CheckpointError: this is a web page, not a model; supported are tsm_ref HDF5 ...
    """
    head = read_head(path, 512)
    if _is_onnx(head):
        return onnx_import.load_onnx(path, profile)
    if is_tflite(head):
        return load_tflite(path, profile)
    if head.startswith(ZIP_HEAD) and kind_of_zip(path) == "keras":
        return keras.load_keras_archive(path, profile, options)
    if head.startswith((ZIP_HEAD, b"\x80")):
        read = read_zip if head.startswith(ZIP_HEAD) else read_torch
        return load_tensors(read(path), path, profile, options)
    if head.lstrip()[:1] == b"{":
        return load_tensors(read_shards(path), path, profile, options)
    if head[8:9] == b"{" and head[7:8] == b"\0":
        return load_safetensors(path, profile, options)
    if not head.startswith(SIGNATURE):
        raise CheckpointError(_refusal(head))
    with open_hdf5(path) as file:
        return _read_hdf5(file, path, profile, options)


def _read_hdf5(
    file: GuardedFile, path: StrPath, profile: Profile | None, options: Mapping[str, Any] | None
) -> Checkpoint:
    """One of the kinds of HDF5 files: ours, models and weights of Keras, or a state dict."""
    if keras.is_keras_model(file):
        return keras.read_keras_model(file, path, profile, options)
    if file.attribute("format") == native.FORMAT:
        found = native.read(file, path)
        return found if profile is None else replace(found, profile=under(found.profile, profile))
    plain = tensors_of(file)
    if begins(plain.entries):
        return load_tensors(plain, path, profile, options)
    if profile is None:
        keras.check_keras(file)
        known = ", ".join(PROFILES)
        raise CheckpointError(
            f"a foreign HDF5 file does not say how its shift works; give a profile ({known})"
        )
    return keras.read_keras(file, path, profile, options)


def _is_onnx(head: bytes) -> bool:
    return head[:1] == b"\x08" and head[2:3] in _AFTER_VERSION


def _refusal(head: bytes) -> str:
    for kind, recognises in FOREIGN:
        if recognises(head):
            return f"this is {kind}; supported are {SUPPORTED}"
    return f"this is no kind of model file that is known; supported are {SUPPORTED}"
