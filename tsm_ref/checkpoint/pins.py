"""The lock file of fetched models: the digest of each, kept at its first use where only we write.

A publisher often tells eight digits of a SHA-256, or none. What came the first time is then what
must come every time; and a converted file in a cache is the one that was made here, whatever lies
beside it.
"""

import contextlib
import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tsm_ref.errors import WriteError
from tsm_ref.system import private
from tsm_ref.system.atomic import replace_file

__all__ = ["Pin", "Pins", "locked"]

FILE = "digests.json"


@dataclass(frozen=True)
class Pin:
    """What is known of one fetched model.

    The SHA-256 of the file that was published, of what it was converted to, and of the profile
    under which it was.
    """

    published: str
    converted: str
    profile: str


class Pins:
    """The pins in the first of these folders that is ours alone.

    Raises `WriteError` where none is.
    """

    def __init__(self, *folders: Path) -> None:
        reasons = []
        for folder in folders:
            try:
                private.make_folder(folder)
                reason = private.flaw(folder)
            except OSError as error:
                reason = f"{folder} cannot be made ({error.strerror})"
            if not reason:
                self.path = folder / FILE
                return
            reasons.append(reason)
        raise WriteError(
            f"there is no place for the digests of fetched models that is ours alone "
            f"({'; '.join(reasons)}); set TSM_REF_CACHE to a folder that only you can write"
        )

    def read(self) -> dict[str, Pin]:
        """The pins by the name of the model."""
        if not os.path.lexists(self.path):
            return {}
        try:
            tree = json.loads(private.read_private(self.path))
            pins = {name: Pin(**facts) for name, facts in tree.items()}
            if not all(type(v) is str for pin in pins.values() for v in asdict(pin).values()):
                raise TypeError("a digest is a text")
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            warnings.warn(
                f"the lock file {self.path} is not used ({error}): what is fetched is pinned anew",
                stacklevel=2,
            )
            return {}
        return pins

    def keep(self, name: str, pin: Pin) -> None:
        """Add or replace one pin; other processes may keep others at the same time.

        Raises `WriteError` where that is not possible.
        """
        with locked(self.path.with_suffix(".lock")):
            tree = {key: asdict(value) for key, value in {**self.read(), name: pin}.items()}
            try:
                replace_file(self.path, json.dumps(tree, indent=1).encode(), mode=0o600)
            except OSError as error:
                raise WriteError(f"{self.path} cannot be written: {error.strerror}") from None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process holds this lock, and hold it; the file itself stays."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    try:
        handle = os.open(path, flags, 0o600)
    except OSError as error:
        raise WriteError(f"the cache cannot be written ({error.strerror}): {path}") from None
    try:
        with contextlib.suppress(ImportError):  # without it, the last one to finish wins
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
