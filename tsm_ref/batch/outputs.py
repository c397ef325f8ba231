"""The files that a batch leaves: a JSON file per clip, JSON Lines, CSV. Each is written whole."""

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tsm_ref.batch.lists import PICTURES, VIDEOS, Clip
from tsm_ref.batch.recipe import Outcome, Tree
from tsm_ref.errors import WriteError
from tsm_ref.show.cues import labels_of

__all__ = ["as_csv", "as_jsonl", "check_spares", "file_names", "make_folder"]

COLUMNS = (
    *("path", "status", "label", "index", "probability", "logit", "duration", "frame_count"),
    *("segments", "error"),
)


def check_spares(
    outputs: Mapping[str, str | None], read: Iterable[str | os.PathLike[str] | None]
) -> None:
    """See that no output, by its option, would overwrite a file that is `read`, or any video.

    Whoever takes ``--jsonl`` for ``--json`` names the first of many videos as an output. Raises
    `WriteError` with the option and the path.

    >>> check_spares({"--csv": "new.csv", "--jsonl": None}, ["clip.mp4"])
    """
    there = {option: Path(path) for option, path in outputs.items() if path and _is_file(path)}
    if not there:
        return
    inputs = {_identity(path) for path in read if path is not None}
    for option, path in there.items():
        if _identity(path) in inputs - {None}:
            raise WriteError(f"{option} {path}: the output is an input; another name is needed")
        if path.suffix.lower() in VIDEOS | PICTURES:
            raise WriteError(
                f"{option} {path}: a video or picture of this name is there, and would be lost"
            )


def _is_file(path: str) -> bool:
    with suppress(OSError, ValueError):
        return Path(path).is_file()
    return False


def _identity(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """What two names of one file share; None for what is no file."""
    with suppress(OSError, ValueError):
        found = os.stat(path)
        return found.st_dev, found.st_ino
    return None


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make an output folder if it is not there, and see that one can write into it.

    Raises `WriteError` with the path.
    """
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise WriteError(f"{path}: the folder cannot be made: {error.strerror}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise WriteError(f"{path}: one may not write into this folder")


def file_names(clips: Sequence[Clip], ending: str) -> dict[str, str]:
    """The name of the output of each clip, by its path: its own name, and a digest where two share.

    >>> file_names([Clip("a/x.mp4"), Clip("b/y.mp4")], ".json")
    {'a/x.mp4': 'x.mp4.json', 'b/y.mp4': 'y.mp4.json'}
    """
    names = {clip.path: _base(clip.path) for clip in clips}
    count: dict[str, int] = {}
    for name in names.values():
        count[name.lower()] = count.get(name.lower(), 0) + 1
    return {
        path: name + (f"-{_digest(path)}" if count[name.lower()] > 1 else "") + ending
        for path, name in names.items()
    }


def _base(path: str) -> str:
    """The last part of a path, not longer than a file system takes with an ending."""
    name = os.path.basename(os.path.normpath(path)) or "clip"
    if len(os.fsencode(name)) <= 200:
        return name
    return f"{name[:40]}-{_digest(path)}"


def _digest(path: str) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:8]


def as_jsonl(outcomes: Iterable[Outcome]) -> str:
    """One line of JSON for every clip that was recognised."""
    return "".join(json.dumps(o.result, allow_nan=False) + "\n" for o in outcomes if o.result)


def as_csv(outcomes: Iterable[Outcome]) -> str:
    r"""One row per clip, those that failed too, under a header.

    >>> as_csv([Outcome("a.mp4", (0, 0), error="it is empty", code=3)]).splitlines()[1]
    'a.mp4,failed,,,,,,,,it is empty'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_rows(outcomes))
    return text.getvalue()


def _label(tree: Tree) -> str:
    """What is said of the whole: of several heads, of each."""
    if "heads" in tree:
        return "; ".join(f"{head}: {_label(each)}" for head, each in tree["heads"].items())
    return ", ".join(labels_of(tree)) or "none"


def _rows(outcomes: Iterable[Outcome]) -> Iterator[list[Any]]:
    for outcome in outcomes:
        tree: Tree | None = outcome.result
        if tree is None:
            yield [outcome.path, "failed", *[""] * 7, outcome.error]
            continue
        best, seen = tree["predictions"][0], tree["input"]
        yield [
            outcome.path,
            "recognised",
            _label(tree),
            best["index"],
            f"{best['probability']:.6f}",
            f"{best['logit']:.4f}",
            "" if seen["duration"] is None else f"{seen['duration']:.3f}",
            seen["frame_count"],
            len(tree["segments"]),
            "",
        ]
