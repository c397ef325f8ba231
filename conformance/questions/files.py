"""``.npy`` files from strangers: format 1.0 to 3.0, no pickle, no more bytes than are there."""

from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from conformance.questions.arrays import Array

MAX_BYTES = 256 * 1024 * 1024
"""The largest output file that is read."""

FILM = "film"
"""The input that is no array but the bytes of a video file."""

ALLOWED_KINDS = "fiub"


class BadFile(ValueError):
    """A file that is no usable array; says what is wrong with it."""


def npy_bytes(x: Array) -> bytes:
    """An array as a file in C order, format 1.0."""
    file = BytesIO()
    plain = np.asarray(x, order="C")
    np.lib.format.write_array(file, plain, version=(1, 0), allow_pickle=False)
    return file.getvalue()


def write_npy(path: Path, x: Array) -> None:
    """Write an array in C order, format 1.0."""
    path.write_bytes(npy_bytes(x))


def read_npy(path: Path, limit: int = MAX_BYTES) -> Array:
    """The array in a file; raises `BadFile` before it allocates what a header merely claims."""
    try:
        size = path.stat().st_size
        if size > limit:
            raise BadFile(f"the file {path.name} has {size} bytes; at most {limit} are read")
        with path.open("rb") as f:
            version = np.lib.format.read_magic(f)
            if version not in ((1, 0), (2, 0)):
                raise BadFile(f"the file {path.name} has npy format {version}; 1.0 is needed")
            read = np.lib.format.read_array_header_1_0
            shape, _, dtype = (read if version == (1, 0) else _read_2_0)(f)
            if dtype.hasobject or dtype.kind not in ALLOWED_KINDS:
                raise BadFile(f"the file {path.name} holds {dtype}; numbers are needed")
            if prod(shape) * dtype.itemsize != size - f.tell():
                raise BadFile(
                    f"the file {path.name} claims {dtype} of shape {shape}, and has "
                    f"{size - f.tell()} bytes of data"
                )
            f.seek(0)
            array: Array = np.lib.format.read_array(f, allow_pickle=False)
            return array
    except FileNotFoundError:
        raise BadFile(f"the file {path.name} was not written") from None
    except BadFile:
        raise
    except Exception as error:  # NumPy reads the header with Python's own tokenizer and parser
        raise BadFile(f"the file {path.name} is no npy file: {error}") from None


def inside(folder: Path, name: str) -> Path:
    """A plain file name inside a folder; raises `BadFile` for paths, links, folders, pipes."""
    path = folder / name
    if not name or Path(name).name != name or name in (".", "..") or "\0" in name:
        raise BadFile(f"the output file {name!r} must be a plain name inside the output folder")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise BadFile(f"the output file {name!r} is a link, a folder or a pipe")
    return path


def _read_2_0(f: Any) -> Any:
    return np.lib.format.read_array_header_2_0(f)
