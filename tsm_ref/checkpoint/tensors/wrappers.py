"""Which set of tensors of a file is a network, and what wraps its names.

A training script wraps a network before it saves it: ``module.``, ``_orig_mod.``, ``model.``, a
criterion beside it, a copy with averaged weights. A known family shows where it begins by one name
that no other tensor has; what stands in front of that name is the wrapper.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tsm_ref.checkpoint.contents import shown
from tsm_ref.checkpoint.tensors.files import Entries, TensorFile
from tsm_ref.checkpoint.tensors.names import (
    Naming,
    Translation,
    begins,
    ignored,
    translated,
    unknown,
)
from tsm_ref.errors import CheckpointError

AVERAGED = ("ema", "averaged", "swa")
"""What the name of a set of averaged weights has in it."""


@dataclass(frozen=True)
class Chosen:
    """The tensors of a network in a file: the set, what their names mean, and what was left.

    ``place`` is where the set stands in the file, ``prefix`` what wraps its names; ``others`` are
    sets that are networks too, ``beside`` names of the set that are not of the network.
    """

    place: str
    prefix: str
    entries: Entries
    found: Translation
    others: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    def remarks(self) -> tuple[str, ...]:
        """What the reader of a file may want to know about the choice, in words."""
        lines = []
        if self.place or self.others:
            lines.append(f"weights: {self.place or 'the top of the file'}")
        if self.others:
            lines.append(f"other weights: {', '.join(self.others)}")
        if self.prefix:
            lines.append(f"prefix: {self.prefix}")
        if self.beside:
            lines.append(f"tensors beside the network: {_counted(self.beside)}")
        return tuple(lines)


def choose(file: TensorFile, wanted: str | None = None) -> Chosen:
    """The set of tensors that is a network; ``wanted`` names one where there are several.

    Of weights and their average (EMA) the weights are taken, unless the average is wanted.

    Raises `CheckpointError` where nothing is a known network, and where two are and nothing tells
    which one is meant.
    """
    fits: dict[str, Chosen] = {}
    for place, entries in file.sets.items():
        for prefix, naming in begins(entries):
            name = ".".join(part for part in (place, prefix.rstrip(".")) if part)
            fits[name] = _chosen(place, prefix, naming, entries)
    if not fits:
        raise CheckpointError(unknown([name for names in file.sets.values() for name in names]))
    name = _wanted(fits, wanted) if wanted else _only(fits)
    chosen = fits[name]
    others = tuple(other for other in fits if other != name)
    return Chosen(chosen.place, chosen.prefix, chosen.entries, chosen.found, others, chosen.beside)


def _chosen(place: str, prefix: str, naming: Naming, entries: Entries) -> Chosen:
    inside = [name.removeprefix(prefix) for name in entries if name.startswith(prefix)]
    beside = tuple(name for name in entries if not name.startswith(prefix) and not ignored(name))
    found = translated(naming, inside)
    return Chosen(place, prefix, entries, found, (), beside)


def _only(fits: Mapping[str, Chosen]) -> str:
    """The one network there is, or the one that is no average of another."""
    plain = [name for name in fits if not any(word in name.lower() for word in AVERAGED)]
    if len(fits) == 1:
        plain = list(fits)
    if len(plain) != 1:
        raise CheckpointError(
            f"{len(fits)} networks are in the file, and nothing tells which one is meant: give "
            f"--weights {' or --weights '.join(list(fits)[:4])}"
        )
    return plain[0]


def _wanted(fits: Mapping[str, Chosen], wanted: str) -> str:
    """The network by its whole name, or by a part of it that no other has."""
    if wanted in fits:
        return wanted
    near = [name for name in fits if wanted in name.split(".")]
    near = near or [name for name in fits if wanted.lower() in name.lower()]
    if len(near) != 1:
        raise CheckpointError(
            f"there are no weights {shown(wanted)} in the file, or several; there are "
            f"{', '.join(name or 'those at its top' for name in fits)}"
        )
    return near[0]


def _counted(names: tuple[str, ...]) -> str:
    return ", ".join(map(shown, names[:3])) + (f" and {len(names) - 3} more" if names[3:] else "")
