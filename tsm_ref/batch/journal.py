"""What a batch has done already, on disk: one line per clip, written as soon as it is known.

The first line holds the settings of the run. A line that was cut when a run was killed is dropped;
every other one is kept, so a run that goes on does nothing twice and loses nothing. One run at a
time writes to a journal.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from tsm_ref.batch.recipe import Outcome, Tree
from tsm_ref.errors import UsageError, WriteError

__all__ = ["Journal"]

VERSION = 1


class Journal:
    """A file of outcomes, locked while it is open; use it in a ``with``.

    Without `resume`, a journal of a run that did not end is not thrown away.

    Raises `UsageError` for one that another run writes to, that was written with other `settings`
    (naming them), or that is no journal; `WriteError` where it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], settings: Tree, *, resume: bool = False):
        self.path = Path(path)
        self.done: dict[str, Outcome] = {}
        try:
            self._file: IO[bytes] = open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")  # noqa: SIM115
        except OSError as error:
            raise WriteError(f"{path}: the journal cannot be opened: {error.strerror}") from None
        try:
            self._lock()
            self._begin(settings, resume)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *caught: object) -> None:
        self._file.close()

    def add(self, outcome: Outcome) -> None:
        """Keep an outcome; it is on disk when this returns. Raises `WriteError`."""
        self.done[outcome.path] = outcome
        self._write(asdict(outcome))

    def finish(self) -> None:
        """Say that all was done: another run may begin anew."""
        self._write({"finished": True})

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{self.path}: another run writes to this journal") from None
        except OSError:  # a file system without locks
            return

    def _begin(self, settings: Tree, resume: bool) -> None:
        lines = list(self._whole_lines())
        finished = len(lines) < 2 or lines[-1].get("finished") is True
        if not resume and not finished:
            raise UsageError(
                f"{self.path}: a run that did not end left {len(lines) - 1} clips here: --resume "
                "goes on with it, or delete the file"
            )
        if resume and lines:
            self._go_on(lines, settings)
            return
        self._file.seek(0)
        self._file.truncate()
        self._write({"journal": VERSION, "settings": settings})

    def _go_on(self, lines: list[Tree], settings: Tree) -> None:
        head = lines[0]
        if head.get("journal") != VERSION or not isinstance(head.get("settings"), dict):
            raise UsageError(f"{self.path}: this is no journal of a batch")
        other = list(_differences(head["settings"], json.loads(json.dumps(settings))))
        if other:
            more = f", and {len(other) - 3} more" if len(other) > 3 else ""
            raise UsageError(
                f"{self.path}: the run before had {', '.join(other[:3])}{more}: go on with the "
                "same, or write another journal"
            )
        for number, line in enumerate(lines[1:], 2):
            if line.get("finished") is True:
                continue
            try:
                outcome = Outcome(**line | {"stamp": tuple(line["stamp"])})
            except (TypeError, KeyError):
                raise UsageError(f"{self.path}: line {number} is no outcome of a clip") from None
            self.done[outcome.path] = outcome

    def _whole_lines(self) -> Iterator[Tree]:
        """Every line that was written to its end; what follows the last of them is cut off."""
        end = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                tree = json.loads(line)
                if not isinstance(tree, dict):
                    raise ValueError
            except (ValueError, RecursionError):
                raise UsageError(f"{self.path}: line {number} is no line of a journal") from None
            yield tree
            end += len(line)
        self._file.seek(end)
        self._file.truncate()

    def _write(self, tree: Mapping[str, Any]) -> None:
        try:
            handle = self._file.fileno()
            os.lseek(handle, 0, os.SEEK_END)
            rest = memoryview(json.dumps(tree, allow_nan=False).encode() + b"\n")
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        except OSError as error:
            raise WriteError(
                f"{self.path}: the journal cannot be written: {error.strerror}"
            ) from None


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """Which settings are not the same, as one phrase each."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*before, *now]):
            inner = f"{name}.{key}" if name else str(key)
            yield from _differences(before.get(key), now.get(key), inner)
    elif before != now:
        yield f"{name} {_short(before)} and not {_short(now)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 30 else f"{text[:20]}..."
