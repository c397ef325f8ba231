"""Models by name: those that ship, and those that others published and that can be fetched.

``weights/registry.toml`` lists both. An entry of ``shipped`` and one of ``published`` have exactly
the fields of `Entry` and of `Published`.
"""

import hashlib
import tomllib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from tsm_ref.checkpoint.contents import shown
from tsm_ref.checkpoint.disk import StrPath, sha256_of
from tsm_ref.checkpoint.files import load_checkpoint
from tsm_ref.checkpoint.hdf5 import native
from tsm_ref.checkpoint.labels import read_labels, shipped_labels
from tsm_ref.checkpoint.pins import Pin, Pins, locked
from tsm_ref.errors import CheckpointError
from tsm_ref.profile import PROFILES, Profile

FILE = "registry.toml"
SCHEMA_VERSION = 2
WHOLE = 64
"""The digits of a whole SHA-256."""

Progress = Callable[[int, int | None], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """One shipped model; ``file`` and ``card`` are relative to the folder of the registry."""

    file: str
    sha256: str
    task: str
    profile: str
    card: str


@dataclass(frozen=True)
class Published:
    """A checkpoint that somebody else published, and what its weights mean.

    ``sha256`` is the digest, or as many of its first digits as the publisher tells. ``sampling`` is
    a policy where it is not the profile's own. ``note`` says why one is not ``readable``.
    PaddleVideo's shift moves one channel in as many as there are ``segments``.
    """

    url: str
    sha256: str
    architecture: str
    profile: str
    segments: int
    sampling: str
    labels: str
    classes: int
    accuracy: str
    licence: str
    readable: bool
    note: str

    @property
    def task(self) -> str:
        """What it recognises, in a few words."""
        return f"{self.classes} classes of {self.labels}"

    def meaning(self, folder: Path) -> Profile:
        """The profile of the weights, with the labels where they ship."""
        profile = PROFILES[self.profile]
        if profile.shift.rule == "paddle":
            profile = replace(profile, shift=replace(profile.shift, divisor=self.segments))
        sampling = replace(profile.sampling, segments=self.segments)
        if self.sampling:
            sampling = replace(sampling, policy=self.sampling)
        shipped = shipped_labels(folder)
        labels = read_labels(shipped[self.labels]) if self.labels in shipped else ()
        measured = f"{self.accuracy} (published)" if self.accuracy else ""
        return profile.with_changes(sampling=sampling, labels=labels, measured=measured)


def weights_folder() -> Path:
    """The folder of everything that ships beside the code, in a checkout and in a wheel alike.

    Raises `CheckpointError` where an installation lacks it.

    >>> (weights_folder() / "registry.toml").is_file()
    True
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "_weights", package.parent / "weights"):
        if (folder / FILE).is_file():
            return folder
    raise CheckpointError("this installation lacks the folder of weights that ships with tsm_ref")


def entries(folder: Path | None = None) -> dict[str, Entry]:
    """The shipped models by name, in the order of the registry (of another `folder` in tests).

    Raises `CheckpointError` where the registry is not what the schema says.

    >>> all(len(entry.sha256) == 64 for entry in entries().values())
    True
    """
    return _read(folder or weights_folder())[0]


def published(folder: Path | None = None) -> dict[str, Published]:
    """The published checkpoints by name, in the order of the registry.

    >>> published()["tsm-r50-k400-8f-mmaction2"].accuracy
    '73.18 top-1'
    """
    return _read(folder or weights_folder())[1]


def names() -> tuple[str, ...]:
    """The names of all models: first those that ship.

    >>> names()[0]
    'camera-motion'
    """
    shipped, others = _read(weights_folder())
    return (*shipped, *others)


def card_of(name: str) -> str:
    """The model card of a model that ships, as text; empty for any other.

    >>> card_of("camera-motion").startswith("#")
    True
    """
    folder = weights_folder()
    entry = entries(folder).get(name)
    return "" if entry is None else (folder / entry.card).read_text("utf-8")


def resolve(
    name_or_path: StrPath, folder: Path | None = None, progress: Progress | None = None
) -> Path:
    """The file behind the name of a model, or behind a path.

    A shipped file must have the SHA-256 of the registry. A published one is fetched, checked and
    converted once, and found in the cache from then on. A name wins over a file of the same name in
    the working directory; ``./name`` means the file.

    Raises `CheckpointError` for a name that is neither, listing the known ones, for a shipped file
    that is absent or changed, and for a published one that cannot be fetched or is not readable;
    `WriteError` where the cache cannot be written.

    >>> resolve("no-such-model")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tsm_ref.errors.CheckpointError: there is no model and no file 'no-such-model'; ...
    """
    folder = folder or weights_folder()
    shipped, others = _read(folder)
    name = str(name_or_path)
    if name in shipped:
        return _shipped(name, shipped[name], folder)
    if name in others:
        return fetched(name, others[name], others[name].meaning(folder), progress)
    if Path(name_or_path).exists():
        return Path(name_or_path)
    choice = f"the models that ship are {', '.join(shipped)}" if shipped else "no model ships yet"
    if others:
        choice += f", {len(others)} published ones are listed by --list-models"
    raise CheckpointError(f"there is no model and no file {shown(name)}; {choice}, or give a path")


def fetched(
    name: str, entry: Published, profile: Profile, progress: Progress | None = None
) -> Path:
    """The converted file of a published checkpoint, out of the cache or off the network.

    It is what it was when it was made here: its digest is kept in our lock file (`Pins`), with that
    of its profile and of the published file. One that is another now, was converted under another
    profile or out of another file, is fetched again. Two processes that want the same one do not
    disturb each other: the second waits, and finds it there.

    Where the registry has not the whole SHA-256 of the published file, a warning says so, and what
    comes first is what must come from then on.

    Raises `CheckpointError` where it cannot be fetched or is not what the registry says.
    """
    if not entry.readable:
        raise CheckpointError(f"the model {name!r} cannot be read: {entry.note}")
    from tsm_ref.checkpoint import downloads  # late: the network has no part in most runs

    cache = downloads.cache_folder()
    pins = Pins(cache, downloads.user_cache())
    target = cache / f"{name}.h5"
    meant = hashlib.sha256(profile.to_json().encode()).hexdigest()
    if _intact(target, pins.read().get(name), entry, meant):
        return target
    with locked(cache / f"{name}.lock"):
        pin = pins.read().get(name)
        if _intact(target, pin, entry, meant):
            return target
        original = cache / f"{name}{Path(entry.url).suffix}"
        show = progress or downloads.on_terminal(name)
        downloads.download(entry.url, original, _expected(entry, pin, pins.path), show)
        try:
            found = load_checkpoint(original, profile)
        except CheckpointError as error:
            raise CheckpointError(f"{entry.url} is not what was published: {error}") from None
        notes = {**found.extra, "url": entry.url, "sha256": found.sha256, "licence": entry.licence}
        extra = {key: str(value) for key, value in notes.items()}
        written = native.save(target, found.graph, found.weights, profile, extra=extra)
        pins.keep(name, Pin(found.sha256, written, meant))
        original.unlink(missing_ok=True)
    return target


def _expected(entry: Published, pin: Pin | None, place: Path) -> str:
    """The digest that a published file must have, or as many digits of it as anybody knows."""
    if len(entry.sha256) == WHOLE:
        return entry.sha256
    if pin is not None and pin.published.startswith(entry.sha256):
        return pin.published
    known = f"only {len(entry.sha256)} digits of the" if entry.sha256 else "no"
    warnings.warn(
        f"{entry.url}: its publisher tells {known} SHA-256, so nobody can say that what comes is "
        f"what was published; the digest of what comes now is kept in {place}, and is asked for "
        "from then on",
        stacklevel=4,
    )
    return entry.sha256


def _intact(target: Path, pin: Pin | None, entry: Published, meant: str) -> bool:
    if pin is None or pin.profile != meant or not pin.published.startswith(entry.sha256):
        return False
    try:
        return sha256_of(target) == pin.converted
    except CheckpointError:
        return False


def _read(folder: Path) -> tuple[dict[str, Entry], dict[str, Published]]:
    try:
        tree = tomllib.loads((folder / FILE).read_text(encoding="utf-8"))
        version = tree["schema_version"]
        if version != SCHEMA_VERSION:
            raise ValueError(f"the schema version is {version!r}; known is {SCHEMA_VERSION}")
        shipped = {name: _entry(Entry, name, e) for name, e in tree.get("shipped", {}).items()}
        others = {name: _entry(Published, name, e) for name, e in tree.get("published", {}).items()}
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"the registry of models is unreadable: {error}") from error
    return shipped, others


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


def _entry(kind: type[T], name: str, tree: Any) -> T:
    wanted = {field.name: field.type for field in fields(kind)}  # type: ignore[arg-type]
    if set(tree) != set(wanted) or any(type(tree[key]) is not wanted[key] for key in wanted):
        listed = ", ".join(f"{key} ({t.__name__})" for key, t in wanted.items())  # type: ignore[union-attr]
        raise ValueError(f"the entry {name!r} must have exactly {listed}")
    return kind(**tree)
