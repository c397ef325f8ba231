"""Lists of classes: those that ship, and files in the forms in which people keep them.

A list may be one class a line, ``id,name`` or ``name,id`` as CSV with or without a header, a number
and a name parted by a space, a JSON list, or a JSON object from names to numbers or from numbers to
names. Numbers count from 0, or from 1 where no class has number 0.
"""

import csv
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tsm_ref.checkpoint.contents import shown
from tsm_ref.errors import UsageError

__all__ = ["read_label_lists", "read_labels", "shipped_labels"]

MAX_BYTES = 1 << 22
"""The most bytes of a file of labels: a million classes of a few letters."""

Numbered = list[tuple[int, str]]


def shipped_labels(folder: Path) -> dict[str, Path]:
    """The lists that ship, by name, in the folder of the weights.

    >>> from tsm_ref.checkpoint import weights_folder
    >>> len(read_labels(shipped_labels(weights_folder())["jester_mmaction2"]))
    27
    """
    return {path.stem: path for path in sorted((folder / "labels").glob("*.txt"))}


def read_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    r"""The classes of a file in index order.

    Raises `UsageError` with the path for a file that is missing, too large, not UTF-8 or empty, and
    for a list with a class twice, without a name, or with numbers that leave one out.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "map.csv").write_text("id,name\n1,walk\n0,run\n")
    ...     read_labels(f"{folder}/map.csv")
    ('run', 'walk')
    """
    try:
        return _checked(_parsed(_text(path)))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{os.fspath(path)}: {error}") from None


def read_label_lists(path: str | os.PathLike[str]) -> dict[str, list[str]] | None:
    """The classes of several heads: a JSON object of lists; None for any other file."""
    try:
        tree = json.loads(_text(path))
    except (ValueError, RecursionError):  # `read_labels` says what is wrong
        return None
    several = isinstance(tree, dict) and tree and set(tree) != {"classes"}
    return tree if several and all(isinstance(names, list) for names in tree.values()) else None


def _text(path: str | os.PathLike[str]) -> str:
    try:
        if not os.path.isfile(path):
            kind = "it is not a file" if os.path.exists(path) else "there is no such file"
            raise ValueError(f"{kind}: a list of labels is needed")
        size = os.path.getsize(path)
        if size > MAX_BYTES:
            raise ValueError(f"{size:,} bytes are no list of labels: at most {MAX_BYTES:,} are")
        return Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8: labels are UTF-8 text") from None
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror})") from None


def _parsed(text: str) -> Sequence[str]:
    if re.match(r'\s*(\{\s*"|\[\s*["{\]])', text):
        return _of_json(_json(text))
    lines = [line.strip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, 1):
        if not line:
            raise ValueError(f"line {number} is empty: every class needs a name")
    for read in (_of_csv, _of_numbered_lines):
        if (numbered := read(lines)) is not None:
            return _ordered(numbered)
    return lines


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"it begins like JSON and is not: {error}") from None


def _of_json(tree: Any) -> Sequence[str]:
    if isinstance(tree, dict) and isinstance(inner := tree.get("classes", tree), list):
        tree = inner
    if isinstance(tree, list) and tree and all(isinstance(row, dict) for row in tree):
        tree = {str(row.get("name", "")): row.get("id") for row in tree}
    if isinstance(tree, list):
        if not all(isinstance(name, str) for name in tree):
            raise ValueError("a JSON list of labels must hold texts alone")
        return [name.strip() for name in tree]
    pairs: Numbered = []
    for key, value in tree.items():
        if re.fullmatch(r"\d{1,9}", str(value)):
            pairs.append((int(value), key))
        elif re.fullmatch(r"\d{1,9}", key) and isinstance(value, str):
            pairs.append((int(key), value))
        else:
            raise ValueError(f"{shown(key)} has no number: names and numbers are needed")
    return _ordered(pairs)


def _of_csv(lines: Sequence[str]) -> Numbered | None:
    """Rows of two columns, one of which is a number in each; a first row may be a header."""
    for delimiter in ",\t;":
        rows = list(csv.reader(lines, delimiter=delimiter))
        if not rows or any(len(row) != 2 for row in rows):
            continue
        body = rows if any(cell.strip().isdecimal() for cell in rows[0]) else rows[1:]
        for number, name in ((0, 1), (1, 0)):
            if body and all(re.fullmatch(r"\d{1,9}", row[number].strip()) for row in body):
                return [(int(row[number]), row[name]) for row in body]
    return None


def _of_numbered_lines(lines: Sequence[str]) -> Numbered | None:
    """``number name`` on every line; plain names where the numbers are not those of a list."""
    found = [re.fullmatch(r"(\d{1,9})\s+(.+)", line) for line in lines]
    pairs = [(int(match[1]), match[2]) for match in found if match]
    numbers = sorted(number for number, _ in pairs)
    whole = numbers in (list(range(len(lines))), list(range(1, len(lines) + 1)))
    return pairs if whole and len(pairs) == len(lines) else None


def _ordered(pairs: Iterable[tuple[int, str]]) -> list[str]:
    """The names by their numbers, which must be 0 to K-1 or 1 to K."""
    names: dict[int, str] = {}
    for number, name in pairs:
        if number in names:
            raise ValueError(f"number {number} is given twice")
        names[number] = name.strip().strip('"').strip()
    first = 0 if 0 in names else 1
    for number in range(first, first + len(names)):
        if number not in names:
            raise ValueError(f"{len(names)} classes are named, and none has number {number}")
    return [names[number] for number in sorted(names)]


def _checked(names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        raise ValueError("it is empty: a list of labels is needed")
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if not name:
            raise ValueError(f"class {index} has no name")
        if name in first:
            raise ValueError(f"{shown(name)} is class {first[name]} and class {index}")
        first[name] = index
    return tuple(names)
