"""The models that ship, by name: ``weights/registry.json`` and the folder it stands in.

An entry of ``models`` looks like this; all fields are texts::

    "camera-motion": {
        "file": "camera-motion.h5",
        "sha256": "64 hexadecimal digits of the file",
        "task": "what it recognises, in a few words",
        "profile": "the profile in a few words; the whole of it is in the file",
        "card": "cards/camera-motion.md"
    }
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tsm_ref.checkpoint.disk import StrPath, sha256_of
from tsm_ref.errors import CheckpointError

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Entry:
    """One shipped model; ``file`` and ``card`` are relative to the folder of the registry."""

    file: str
    sha256: str
    task: str
    profile: str
    card: str


def weights_folder() -> Path:
    """The folder of everything that ships beside the code, in a checkout and in a wheel alike.

    Raises `CheckpointError` where an installation lacks it.

    >>> (weights_folder() / "registry.json").is_file()
    True
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "_weights", package.parent / "weights"):
        if (folder / "registry.json").is_file():
            return folder
    raise CheckpointError("this installation lacks the folder of weights that ships with tsm_ref")


def entries(folder: Path | None = None) -> dict[str, Entry]:
    """The shipped models by name, in the order of the registry (of another `folder` in tests).

    Raises `CheckpointError` where the registry is not what the schema says.

    >>> all(len(entry.sha256) == 64 for entry in entries().values())
    True
    """
    folder = folder or weights_folder()
    try:
        tree = json.loads((folder / "registry.json").read_text(encoding="utf-8"))
        version, models = tree["schema_version"], tree["models"]
        if version != SCHEMA_VERSION:
            raise ValueError(f"the schema version is {version!r}; known is {SCHEMA_VERSION}")
        return {name: _entry(name, tree) for name, tree in models.items()}
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"the registry of models is unreadable: {error}") from error


def names() -> tuple[str, ...]:
    """The names of the shipped models.

    >>> isinstance(names(), tuple)
    True
    """
    return tuple(entries())


def resolve(name_or_path: StrPath, folder: Path | None = None) -> Path:
    """The file behind the name of a shipped model, or behind a path.

    A shipped file must have the SHA-256 of the registry. A name wins over a file of the same name
    in the working directory; ``./name`` means the file.

    Raises `CheckpointError` for a name that is neither, listing the known ones, and for a shipped
    file that is absent or changed.

    >>> resolve("no-such-model")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tsm_ref.errors.CheckpointError: there is no model and no file 'no-such-model'; ...
    """
    folder = folder or weights_folder()
    known = entries(folder)
    name = str(name_or_path)
    if name in known:
        return _shipped(name, known[name], folder)
    if Path(name_or_path).exists():
        return Path(name_or_path)
    choice = f"the models that ship are {', '.join(known)}" if known else "no model ships yet"
    raise CheckpointError(f"there is no model and no file {name!r}; {choice}, or give a path")


def _shipped(name: str, entry: Entry, folder: Path) -> Path:
    path = folder / entry.file
    if not path.is_file():
        raise CheckpointError(
            f"the model {name!r} is listed, but its file {entry.file} did not ship with this "
            "installation; give the path of a model file"
        )
    found = sha256_of(path)
    if found != entry.sha256:
        raise CheckpointError(
            f"the file {entry.file} of the model {name!r} was changed: its SHA-256 begins with "
            f"{found[:12]}; expected {entry.sha256[:12]}"
        )
    return path


def _entry(name: str, tree: Any) -> Entry:
    wanted = {field.name for field in fields(Entry)}
    if set(tree) != wanted or not all(isinstance(value, str) for value in tree.values()):
        raise ValueError(f"the entry {name!r} must have the texts {', '.join(sorted(wanted))}")
    return Entry(**tree)
