"""Folders and files that nobody else can write: the only ones out of which code is loaded.

Compiled kernels are code, so whoever can write one runs as us. A path is private where each of its
parts belongs to us or to the administrator and no other user can write, rename or replace it. That
is looked at again whenever something is loaded, and never repaired: a mode that is wrong was set by
somebody, and what lies behind it may be theirs already.
"""

import errno
import functools
import os
import stat
from collections.abc import Iterator
from pathlib import Path

__all__ = ["flaw", "make_folder", "read_private"]

ADMINISTRATOR = 0
MAX_LINKS = 40
"""The most symbolic links that are followed on the way, as in Linux."""


def flaw(path: str | os.PathLike[str]) -> str:
    """Why others could have written what lies at `path`, in a few words; "" where they could not.

    The last part must be a file or folder itself; on the way to it links of ours are followed. In a
    folder that all may write, such as the system's temporary one, the sticky bit keeps what is ours
    ours. Systems without owners are trusted: there a user's folders are private by themselves.

    >>> flaw("/")
    ''
    """
    if not hasattr(os, "getuid"):
        return ""
    path = Path.cwd() / path
    try:
        if path.is_symlink():
            return f"{path} is a symbolic link"
        return next((found for part in _parts(path) if (found := _flaw(part))), "")
    except OSError as error:
        return f"{path}: {error.strerror}"


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are missing, each for ourselves alone.

    Raises `OSError` where that is not possible.
    """
    for folder in (*reversed(path.parents), path):
        if not folder.is_dir():
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:  # another process was faster, or it is no folder
                if not folder.is_dir():
                    raise


def read_private(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file that only we can have written.

    Raises `PermissionError` where others could have, and `OSError` as any reading does.
    """
    if found := flaw(path):
        raise PermissionError(found)
    with open(path, "rb", opener=_no_link) as file:
        return file.read()


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))


def _parts(path: Path) -> Iterator[Path]:
    """Every folder, link and file that decides what `path` is, from the root on."""
    here, rest, links = Path(path.anchor), list(reversed(path.parts[1:])), 0
    yield here
    while rest:
        name = rest.pop()
        if name == "..":
            here = here.parent
            continue
        part = here / name
        yield part
        if not part.is_symlink():
            here = part
            continue
        links += 1
        if links > MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target = Path(os.readlink(part))
        here = Path(target.anchor) if target.is_absolute() else here
        rest.extend(reversed(target.parts[target.is_absolute() :]))


def _flaw(part: Path) -> str:
    found = part.lstat()
    if found.st_uid not in (ADMINISTRATOR, os.getuid()):
        return f"{part} belongs to another user"
    if stat.S_ISLNK(found.st_mode) or not _others_write(found):
        return ""
    if stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX:
        return ""  # what lies in it can be renamed or removed by its owner alone
    return f"{part} can be written by others"


def _others_write(found: os.stat_result) -> bool:
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and not _own_group(found.st_gid, os.getuid())


@functools.cache
def _own_group(gid: int, uid: int) -> bool:
    """Whether a group has one member, as many systems give one to each user."""
    import grp
    import pwd

    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(uid)
    except KeyError:
        return False
    alone = gid == user.pw_gid and group.gr_name == user.pw_name
    return alone and set(group.gr_mem) <= {user.pw_name}
