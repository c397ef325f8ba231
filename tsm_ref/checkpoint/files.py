"""One door for every model file: the kind is read off the content, never off the name."""

from collections.abc import Callable
from dataclasses import replace

from tsm_ref.checkpoint import keras, native, onnx_import
from tsm_ref.checkpoint.contents import Checkpoint
from tsm_ref.checkpoint.disk import StrPath, read_head, sha256_of
from tsm_ref.checkpoint.hdf5 import SIGNATURE, open_hdf5
from tsm_ref.errors import CheckpointError
from tsm_ref.profile import PROFILES, Profile

__all__ = ["load_checkpoint", "sha256_of"]

SUPPORTED = "tsm_ref HDF5 files, Keras 3 .weights.h5 files and ONNX models"

_AFTER_VERSION = (b"\x12", b"\x1a", b"\x3a", b"\x42")
"""The field that follows the version of an ONNX file: producer, its version, graph or opset."""

FOREIGN: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("a zip archive as PyTorch writes, not supported yet", lambda h: h[:4] == b"PK\x03\x04"),
    ("a pickle as old PyTorch and Paddle write, not supported yet", lambda h: h[:1] == b"\x80"),
    ("a safetensors file, not supported yet", lambda h: h[8:9] == b"{"),
    ("compressed with gzip as a whole", lambda h: h[:2] == b"\x1f\x8b"),
    ("a web page, not a model", lambda h: h.lstrip()[:1] == b"<"),
    ("a Git LFS pointer, not the model itself", lambda h: h.startswith(b"version https://git")),
)
"""Files that people have and that are not readable (yet), by their first bytes."""


def load_checkpoint(path: StrPath, profile: Profile | None = None) -> Checkpoint:
    r"""Read a model file of any supported kind.

    Our own files carry their profile. A given one may change how frames are sampled, prepared and
    averaged, but not the shift or its placement, which the weights were trained with. A Keras file
    says nothing about its shift, so there a profile is needed. An ONNX file says everything about
    its shift and nothing about pictures; a given profile must agree with what it does.

    Raises `CheckpointError` in one sentence without the path.

    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "model.pth").write_bytes(b"PK\x03\x04 and so on")
    ...     load_checkpoint(f"{folder}/model.pth")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tsm_ref.errors.CheckpointError: this is a zip archive as PyTorch writes, not supported yet: ...
    """
    head = read_head(path)
    if _is_onnx(head):
        return onnx_import.load_onnx(path, profile)
    if not head.startswith(SIGNATURE):
        raise CheckpointError(_refusal(head))
    with open_hdf5(path) as file:
        ours = file.attribute("format") == native.FORMAT
    if ours:
        return _under(native.load(path), profile)
    if profile is None:
        known = ", ".join(PROFILES)
        raise CheckpointError(
            f"a foreign HDF5 file does not say how its shift works; give a profile ({known})"
        )
    return keras.load_keras(path, profile)


def _is_onnx(head: bytes) -> bool:
    return head[:1] == b"\x08" and head[2:3] in _AFTER_VERSION


def _refusal(head: bytes) -> str:
    for kind, recognises in FOREIGN:
        if recognises(head):
            return f"this is {kind}: supported are {SUPPORTED}"
    return f"this is no kind of model file that is known: supported are {SUPPORTED}"


def _under(checkpoint: Checkpoint, profile: Profile | None) -> Checkpoint:
    """A checkpoint of ours under a changed profile, where that makes sense."""
    if profile is None:
        return checkpoint
    stored = checkpoint.profile
    for name in ("shift", "placement"):
        kept, wanted = getattr(stored, name), getattr(profile, name)
        if kept != wanted:
            raise CheckpointError(
                f"the weights were trained with {name} {kept}; the profile asks for {wanted}"
            )
    changed = replace(profile, labels=profile.labels or stored.labels, measured=stored.measured)
    return replace(checkpoint, profile=changed)
