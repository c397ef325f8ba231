"""Writes a file so that whoever reads it sees the old one or the new one, never a part.

The bytes go to a temporary file in the same folder, reach the disk, and take the name in one step.
A process that is killed leaves its temporary file behind; the next one that writes there removes
it. It knows that nobody needs it by its lock, which the system lets go of with its process.

A device or a pipe, such as ``/dev/stdout``, is written to as it is: it is no file to replace.
"""

import contextlib
import os
import re
import secrets
import stat
from pathlib import Path

__all__ = ["final_target", "is_device", "replace_file"]

TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.part")

_swept: set[Path] = set()


def replace_file(target: Path, data: bytes, *, mode: int | None = None) -> None:
    """Give `target` a new content, whole or not at all.

    A file that is there keeps its mode and owner; a new one gets `mode`, or that of any new file. A
    link is replaced: see `final_target`. Raises `OSError`; nothing is left behind then.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     replace_file(Path(folder, "x.bin"), b"abc")
    ...     Path(folder, "x.bin").read_bytes(), os.listdir(folder)
    (b'abc', ['x.bin'])
    """
    if is_device(target):
        _write_into(target, data)
        return
    _sweep(target.parent)
    temporary, handle = _temporary(target, 0o666 if mode is None else mode)
    try:
        try:
            if mode is None:
                _like(target, handle)
            _write(handle, data)
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, target)
        _sync_folder(target.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def is_device(path: str | os.PathLike[str]) -> bool:
    """Whether a path is neither a file nor a folder, but a device, a pipe or a socket.

    >>> is_device(os.devnull)
    True
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def final_target(path: Path) -> Path:
    """The file behind a path that may be a link, as another program would write to it.

    In a folder that all may write, only a link of our own, or of the folder's owner, is followed:
    another one could lead us to a file of ours (Linux has the same rule, ``protected_symlinks``).
    Raises `OSError` for a link that is not followed, or that leads to itself.
    """
    for _ in range(40):
        if not path.is_symlink():
            return path
        link, folder = path.lstat(), path.parent.stat()
        shared = folder.st_mode & stat.S_ISVTX and folder.st_mode & stat.S_IWOTH
        if shared and hasattr(os, "geteuid") and link.st_uid not in (os.geteuid(), folder.st_uid):
            raise PermissionError(13, "a link of another user is not followed")
        if is_device(path):  # /dev/stdout leads to what has no path
            return path
        path = path.parent / os.readlink(path)
    raise OSError(40, "too many levels of symbolic links")


def _temporary(target: Path, mode: int) -> tuple[Path, int]:
    """A new file beside the target, open and locked."""
    while True:
        path = target.with_name(f".{secrets.token_hex(8)}.part")
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        ours = False
        try:
            ours = _lock(handle) and os.fstat(handle).st_nlink > 0
        finally:
            if not ours:  # another process took it for one that was left
                os.close(handle)
                path.unlink(missing_ok=True)
        if ours:
            return path, handle


def _write_into(device: Path, data: bytes) -> None:
    """Write to a device or a pipe; a whole disk is refused."""
    if stat.S_ISBLK(device.stat().st_mode):
        raise PermissionError(13, "it is a disk, and a file is needed")
    handle = os.open(device, os.O_WRONLY)
    try:
        _write(handle, data)
    finally:
        os.close(handle)


def _write(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def _like(target: Path, handle: int) -> None:
    """Give a new file the owner and the mode of the one that it replaces."""
    with contextlib.suppress(FileNotFoundError):
        found = target.stat()
        if hasattr(os, "fchown"):
            with contextlib.suppress(OSError):  # only an administrator gives files away
                os.fchown(handle, found.st_uid, found.st_gid)
            os.fchmod(handle, found.st_mode & 0o777)


def _lock(handle: int) -> bool:
    """Lock an open file; False where another process has. Not every system has locks."""
    with contextlib.suppress(ImportError):
        import fcntl

        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return True
    return True


def _sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder, once per process and folder."""
    if folder in _swept:
        return
    _swept.add(folder)
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    _remove_unlocked(entry.path)


def _remove_unlocked(path: str) -> None:
    """Remove a file that no process holds; where there are no locks, nobody knows, and it stays."""
    with contextlib.suppress(ImportError):
        import fcntl

        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        finally:
            os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Make the new name durable; a file system that cannot sync a folder is left alone."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
