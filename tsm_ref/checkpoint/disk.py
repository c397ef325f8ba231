"""Files on disk: only regular ones are read, and ours are written whole or not at all."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from tsm_ref.errors import CheckpointError, WriteError
from tsm_ref.system.atomic import final_target, replace_file

StrPath = str | os.PathLike[str]


def read_head(path: StrPath, count: int = 64) -> bytes:
    """The first `count` bytes of a regular file that is not empty.

    Raises `CheckpointError` for anything that would block, never end, or hold nothing: a missing
    path, a directory, a pipe or device, an empty file, a file without permission to read.

    >>> read_head(__file__, 3)
    b'\"\"\"'
    """
    with _reading(path):
        _check_regular(os.stat(path).st_mode)
        with open(path, "rb") as file:
            head = file.read(count)
    if not head:
        raise CheckpointError("the file is empty; a model file is needed")
    return head


def sha256_of(path: StrPath, *more: StrPath) -> str:
    """The SHA-256 of a regular file as 64 hexadecimal digits, read in pieces.

    That of several files is the one of their bytes, one file behind the other.

    Raises `CheckpointError` where `read_head` does.

    >>> len(sha256_of(__file__))
    64
    """
    digest = hashlib.sha256()
    for part in (path, *more):
        read_head(part, 1)
        with _reading(part), open(part, "rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()


def read_whole(path: StrPath, most: int) -> bytes:
    """The bytes of a regular file that has at most so many, opened once.

    Raises `CheckpointError` where `read_head` does, and for a file that is larger.

    >>> read_whole(__file__, 2**20)[:3]
    b'\"\"\"'
    """
    with _reading(path), open(path, "rb", opener=_at_once) as file:
        facts = os.fstat(file.fileno())
        _check_regular(facts.st_mode)
        if facts.st_size > most:
            raise CheckpointError(f"the file has {facts.st_size} bytes; at most {most} are read")
        data = file.read(most + 1)
    if not 0 < len(data) <= most:
        raise CheckpointError("the file is empty, or grows while it is read")
    return data


def _at_once(path: str, flags: int) -> int:
    """Open without waiting, as a pipe would make one wait for its writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise CheckpointError("this is a directory; a model file is needed")
    if not stat.S_ISREG(mode):
        raise CheckpointError("this is a pipe or a device; a regular file is needed")


@contextlib.contextmanager
def _reading(path: StrPath) -> Iterator[None]:
    """Say in words why the operating system refuses a path."""
    try:
        yield
    except FileNotFoundError:
        raise CheckpointError("there is no such file") from None
    except OSError as error:
        raise CheckpointError(f"the file cannot be read: {error.strerror}") from error
    except ValueError:
        raise CheckpointError("a path cannot contain a zero byte") from None


def write_whole(path: StrPath, data: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part of it.

    A file that is there keeps its mode and its owner, and an output that is a link stays one; see
    `tsm_ref.system.atomic`.

    Raises `WriteError` with the reason of the operating system.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_whole(f"{folder}/x.bin", b"abc")
    ...     Path(folder, "x.bin").read_bytes(), os.listdir(folder)
    (b'abc', ['x.bin'])
    """
    try:
        target = final_target(Path(path))
        if target.exists() and not target.is_file():
            kind = "a directory" if target.is_dir() else "a pipe or a device"
            raise WriteError(f"the output is {kind}; a file name is needed")
        replace_file(target, data)
    except OSError as error:
        raise WriteError(f"the file cannot be written: {error.strerror or error}") from error
    except ValueError:
        raise WriteError("a path cannot contain a zero byte") from None
