"""The state of a stream on disk: an HDF5 file that is checked against the stream that takes it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.checkpoint.contents import check_names
from tsm_ref.checkpoint.disk import StrPath, write_whole
from tsm_ref.checkpoint.hdf5.guard import import_h5py, open_hdf5
from tsm_ref.checkpoint.hdf5.native import key_of, put_tensor, verified_tensor
from tsm_ref.errors import CheckpointError, TsmError

__all__ = ["load_state", "save_state"]

Array = NDArray[Any]

FORMAT = "tsm-ref stream state"
VERSION = 2


def save_state(path: StrPath, state: Mapping[str, Array], model: str) -> None:
    """Write a state, whole or not at all; `model` is the digest of the network that it belongs to.

    Raises `WriteError` with the path where the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_state(f"{folder}/s.h5", {"x[0:3]": np.ones((1, 3))}, "0123")
    ...     load_state(f"{folder}/s.h5", {"x[0:3]": np.zeros((1, 3))}, "0123")
    {'x[0:3]': array([[1., 1., 1.]])}
    """
    h5py = import_h5py()
    with h5py.File("image", "w", driver="core", backing_store=False, libver="earliest") as file:
        file.attrs["format"] = np.bytes_(FORMAT)
        file.attrs["version"] = np.int64(VERSION)
        file.attrs["model"] = np.bytes_(model)
        for name, values in _held(state).items():
            put_tensor(file, key_of(name), np.ascontiguousarray(values))
        file.flush()
        image: bytes = file.id.get_file_image()
    try:
        write_whole(path, image)
    except TsmError as error:
        raise error.about(path) from None


def load_state(path: StrPath, like: Mapping[str, Array], model: str) -> dict[str, Array]:
    """Read a state of the same network, with the names, shapes and types of `like`.

    Raises `CheckpointError` with the path for a file that is not one, is damaged, belongs to
    another network or does not fit; nothing is read before its shape has been compared, and
    nothing is believed that does not match its SHA-256.
    """
    try:
        return {**like, **_loaded(path, _held(like), model)}
    except TsmError as error:
        raise error.about(path) from None


def _loaded(path: StrPath, like: Mapping[str, Array], model: str) -> dict[str, Array]:
    with open_hdf5(path) as file:
        if file.attribute("format") != FORMAT:
            raise CheckpointError(f"the HDF5 file is not a {FORMAT}: it does not say so")
        if file.attribute("version") != VERSION:
            version = file.attribute("version")
            raise CheckpointError(f"the version of the state is {version!r}; known is {VERSION}")
        if file.attribute("model") != model:
            raise CheckpointError("the state belongs to another model, or to other weights")
        keys = {key_of(name): name for name in like}
        check_names(keys.values(), [keys.get(name, name) for name in file.datasets])
        return {
            name: verified_tensor(file, file.datasets[key], like[name].shape, str(like[name].dtype))
            for key, name in keys.items()
        }


def _held(state: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays that hold something: HDF5 has no place for the others."""
    return {name: values for name, values in state.items() if values.size}
