"""Which clips there are: files, folders, patterns, and the lists that other projects keep.

A list is text, one clip a line: a path alone; ``path label`` as MMAction2 and PaddleVideo list
videos; ``folder frames label`` as MIT, MMAction2 and PaddleVideo list folders of frames; or CSV
with a column ``path`` (or ``filename``, ``video``) and perhaps ``label``, ``labels`` with ; between
several, or one for each head of a network; or JSON, a list of objects with the same members. Labels
are numbers or names of classes. A path is looked for beside the list, then in the working
directory.
"""

import csv
import glob
import itertools
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tsm_ref.errors import UsageError
from tsm_ref.video import is_frames

__all__ = ["PICTURES", "VIDEOS", "Clip", "clips_of", "folders_of_classes", "read_list"]

VIDEOS = frozenset(
    f".{ending}"
    for ending in (
        *("mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "mts", "m2ts", "mpg", "mpeg", "vob"),
        *("flv", "asf", "wmv", "ogv", "ogg", "mxf", "nut", "gif", "ivf", "3gp", "3g2", "y4m"),
        *("h264", "264", "hevc", "h265", "mjpeg", "mjpg"),
    )
)
"""The endings by which a folder is searched for videos; a file that is named is always tried."""
PICTURES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm"))
"""The endings of the frames of a folder that is one clip."""
COLUMNS = ("path", "filename", "file", "video")
MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class Clip:
    """One input: its path, and the class that a list says it shows, by number or by name.

    ``cells`` are all further columns of a table by their names, in small letters; in JSON a list of
    labels is several texts.
    """

    path: str
    label: str | None = None
    cells: tuple[tuple[str, str | tuple[str, ...]], ...] = ()


def clips_of(
    inputs: Iterable[str], *, recursive: bool = False, listed: Iterable[Clip] = ()
) -> list[Clip]:
    """Files as they are, the videos of folders in order of name, and what patterns match.

    A folder of pictures without videos is one clip. Those of a list follow, see `read_list`. What
    is there twice is taken once.

    Raises `UsageError` for a folder without any, and for a pattern that matches nothing.

    >>> from tsm_ref.checkpoint import weights_folder
    >>> [Path(clip.path).name for clip in clips_of([str(weights_folder() / "samples")])][:2]
    ['pan_left.mp4', 'roll_clockwise.mp4']
    """
    found = (Clip(path) for given in inputs for path in _paths(given, recursive))
    return _once(itertools.chain(found, listed))


def _once(clips: Iterable[Clip]) -> list[Clip]:
    return list({clip.path: clip for clip in clips}.values())


def _paths(given: str, recursive: bool) -> Iterator[str]:
    if os.path.isdir(given):
        found = list(_in_folder(given, recursive))
        if not found:
            deeper = "" if recursive else " (--recursive looks into its folders)"
            raise UsageError(f"{given}: there is no video in this folder{deeper}")
        yield from found
    elif glob.has_magic(given) and not os.path.lexists(given):
        matched = sorted(glob.glob(given, recursive=True))
        if not matched:
            raise UsageError(f"{given}: no file matches this pattern")
        for path in matched:
            if not os.path.isdir(path):
                yield path
            elif any(True for _ in _in_folder(path, False)):
                yield from _in_folder(path, False)
    else:
        yield given


def _in_folder(folder: str, recursive: bool) -> Iterator[str]:
    """The videos of a folder, or itself where it holds only pictures; hidden ones are passed by."""
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise UsageError(f"{folder}: the folder cannot be read: {error.strerror}") from None
    endings = [os.path.splitext(name)[1].lower() for name in names]
    if not VIDEOS & set(endings) and PICTURES & set(endings):
        yield folder
    for name, ending in zip(names, endings, strict=True):
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            if recursive and not os.path.islink(path):
                yield from _in_folder(path, recursive)
        elif ending in VIDEOS:
            yield path


def read_list(path: str, *, root: str | None = None) -> list[Clip]:
    r"""The clips of a list, in its order; ``-`` is stdin.

    ``root`` is the folder to which its paths are relative. What is there twice is taken once.

    Raises `UsageError` with the path for a list that cannot be read or holds nothing, and for a
    clip that is listed under two labels.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "val.txt").write_text("some clip.mp4 3\nother.mp4 5\n")
    ...     [(clip.path, clip.label) for clip in read_list(f"{folder}/val.txt")]
    [('some clip.mp4', '3'), ('other.mp4', '5')]
    """
    try:
        clips = _parsed(_text(path))
        if not clips:
            raise ValueError("no clip is listed")
        folder = root if root is not None else _beside(path)
        always = root is not None
        placed = [replace(clip, path=_placed(clip.path, folder, always)) for clip in clips]
        _check_labels(placed)
    except (ValueError, OSError, csv.Error) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path}: {said}: a list of clips is needed, one a line") from None
    return _once(placed)


def folders_of_classes(path: str) -> list[Clip]:
    """The videos of a folder that has a folder for each class, labelled by its name.

    Raises `UsageError` for one without folders, for a video beside them, which has no class, and
    for a class without any video.
    """
    names = sorted(name for name in os.listdir(path) if not name.startswith("."))
    classes = [name for name in names if os.path.isdir(os.path.join(path, name))]
    if not classes:
        raise UsageError(f"{path}: there is no folder in it: one for each class is needed")
    for name in names:
        if name not in classes and os.path.splitext(name)[1].lower() in VIDEOS:
            raise UsageError(f"{path}: {name!r} lies beside the folders, and so has no class")
    clips = []
    for name in classes:
        found = list(_in_folder(os.path.join(path, name), True))
        if not found:
            raise UsageError(f"{path}: the class {name!r} has no video")
        clips += [Clip(video, name) for video in found]
    return clips


def _text(path: str) -> str:
    if path == "-":
        return sys.stdin.read() if sys.stdin else ""
    if os.path.isfile(path) and os.path.getsize(path) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
    data = Path(path).read_bytes()
    if b"\0" in data:
        raise ValueError("it is not text")
    return data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")


def _beside(path: str) -> str:
    return "" if path == "-" else os.path.dirname(path)


def _parsed(text: str) -> list[Clip]:
    lines = [line.strip() for line in text.split("\n")]
    lines = [line for line in lines if line]
    if lines and lines[0][0] in "[{":
        return _of_json(text)
    if (table := _of_table(lines)) is not None:
        return table
    for pattern in (r"(.+?)[\s,]+\d+[\s,]+(\d+)", r"(.+?)[\s,]+(\d+)"):
        found = [re.fullmatch(pattern, line) for line in lines]
        if lines and all(found) and not any(os.path.exists(_unquoted(line)) for line in lines[:3]):
            return [Clip(_unquoted(m[1]), m[2]) for m in found if m]
    return [Clip(_unquoted(line)) for line in lines]


def _of_table(lines: Sequence[str]) -> list[Clip] | None:
    """CSV under a header; None for a list without one."""
    head = next(csv.reader(lines[:1]), [])
    names = [cell.strip().lower() for cell in head]
    column = next((names.index(name) for name in COLUMNS if name in names), None)
    if column is None:
        return None
    label = names.index("label") if "label" in names else None
    clips = []
    for number, row in enumerate(csv.reader(lines[1:]), 2):
        if len(row) != len(head):
            raise ValueError(f"line {number} has {len(row)} columns and the header {len(head)}")
        others = (*COLUMNS, "label")
        cells = tuple((n, c.strip()) for n, c in zip(names, row, strict=True) if n not in others)
        own = None if label is None else row[label].strip() or None
        clips.append(Clip(row[column], own, cells))
    return clips


def _of_json(text: str) -> list[Clip]:
    """A list of objects, or an object whose names are the paths."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it begins as JSON does and is none") from None
    if isinstance(tree, dict):
        tree = [
            {"path": path, **(said if isinstance(said, dict) else {"labels": said})}
            for path, said in tree.items()
        ]
    clips = []
    for number, row in enumerate(tree, 1):
        members = {str(k).lower(): v for k, v in row.items()} if isinstance(row, dict) else {}
        column = next((name for name in COLUMNS if name in members), None)
        if column is None or not isinstance(members[column], str):
            raise ValueError(f"clip {number} is no object with a `path`")
        cells = tuple(
            (name, _cell(value, f"the {name} of {members[column]}"))
            for name, value in members.items()
            if name not in COLUMNS
        )
        label = dict(cells).get("label")
        if isinstance(label, str):
            cells = tuple(cell for cell in cells if cell[0] != "label")
        clips.append(Clip(members[column], label if isinstance(label, str) else None, cells))
    return clips


def _cell(value: object, what: str) -> str | tuple[str, ...]:
    """A label, or several, as text."""
    parts = value if isinstance(value, list) else [value]
    if not all(type(part) in (str, int) for part in parts):
        raise ValueError(f"{what} must be a text, a number, or a list of them")
    texts = tuple(str(part).strip() for part in parts)
    return texts if isinstance(value, list) else texts[0]


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text


def _placed(path: str, folder: str, always: bool) -> str:
    """A path of a list as this process can open it."""
    beside = os.path.join(folder, path)
    there = os.path.dirname(beside) if is_frames(beside) else beside
    return beside if always or os.path.lexists(there) else path


def _check_labels(clips: Iterable[Clip]) -> None:
    seen: dict[str, Clip] = {}
    for clip in clips:
        first = seen.setdefault(clip.path, clip)
        if first.label != clip.label:
            raise ValueError(
                f"{clip.path!r} is listed under the labels {first.label} and {clip.label}"
            )
        if first.label is None and first.cells != clip.cells:
            raise ValueError(f"{clip.path!r} is listed twice, with other labels")
