"""Named tensors in a plain HDF5 file: a state dict that somebody wrote with h5py."""

from functools import partial

from tsm_ref.checkpoint.hdf5.guard import GuardedFile, read_tensor
from tsm_ref.checkpoint.tensors.files import Entry, TensorFile


def tensors_of(file: GuardedFile) -> TensorFile:
    """Every dataset as a tensor; groups in its name are joined by dots. Read while it is open."""
    entries = {
        name.replace("/", "."): Entry(
            stored.shape, stored.type_name, partial(read_tensor, stored, stored.shape)
        )
        for name, stored in file.datasets.items()
    }
    return TensorFile({"": entries}, "hdf5", 1)
