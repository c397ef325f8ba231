"""What a model file means, as whoever loads it says: its profile, single facts, and its classes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

from tsm_ref.checkpoint import weights_folder
from tsm_ref.checkpoint.contents import Checkpoint, shown
from tsm_ref.checkpoint.facts import FILE_FACTS
from tsm_ref.checkpoint.labels import read_label_lists, read_labels, shipped_labels
from tsm_ref.errors import CheckpointError, UsageError
from tsm_ref.graph import Graph
from tsm_ref.profile import Profile
from tsm_ref.profile_files import changed, find_profile

__all__ = ["check_labels", "classes_of", "find_labels", "input_shapes", "meant_as"]

Read = Callable[[Profile | None, Mapping[str, Any]], Checkpoint]
Labels = str | PathLike[str] | Sequence[str] | Mapping[str, Sequence[str]]


def meant_as(
    read: Read,
    profile: str | PathLike[str] | Profile | None,
    labels: Labels | None,
    facts: Mapping[str, Any],
) -> Checkpoint:
    """A checkpoint, read as it is meant to be; ``read`` takes a profile or None,
    and single facts.

    A fact about the shift makes another network, so the file is read under the changed profile.

    Raises `UsageError` at once for a profile or labels that cannot be found.
    """
    wanted = profile if isinstance(profile, Profile) else None
    if isinstance(profile, str | PathLike):
        wanted = find_profile(profile)
    elif profile is not None and wanted is None:
        raise UsageError(f"`profile` (={profile!r}) must be the name of a profile, or a Profile")
    of_profile = {name: value for name, value in facts.items() if name not in FILE_FACTS}
    heads = _of_heads(labels)
    names = () if labels is None or heads else find_labels(labels)
    found = read(wanted, facts)
    meant = changed(found.profile, **of_profile)
    if meant.shift != found.profile.shift:
        found = read(meant, facts)
    if meant != found.profile:
        _check_sizes(found.graph, meant)
    if names:
        _check_count(found.graph, meant, names)
    if heads:
        meant = replace(meant, heads=tuple(heads.items()))
        if wrong := _wrong_labels(found.graph, meant):
            raise UsageError(f"the labels do not fit: the model {wrong}")
        return replace(found, profile=meant)
    return replace(found, profile=meant.with_changes(labels=names or found.profile.labels))


def _of_heads(labels: Labels | None) -> dict[str, tuple[str, ...]]:
    """The labels of several heads by the names of their outputs; empty for those of one.

    They are a mapping, or a JSON file with an object of lists.
    """
    if isinstance(labels, str | PathLike) and str(labels).lower().endswith(".json"):
        labels = read_label_lists(labels)
    if not isinstance(labels, Mapping):
        return {}
    return {str(head): find_labels(tuple(names)) for head, names in labels.items()}


def find_labels(labels: Labels) -> tuple[str, ...]:
    """The classes that are given, those of a list that ships, or those of a file.

    Those of several heads are found by `meant_as`.

    Raises `UsageError` for a name that is neither, or for a list that cannot be.

    >>> find_labels("kinetics400")[398]
    'yoga'
    """
    if not isinstance(labels, str | PathLike):
        names = tuple(labels)
        twice = sorted({name for name in names if names.count(name) > 1})
        if not names or not all(isinstance(name, str) and name for name in names) or twice:
            raise UsageError("`labels` must be different texts, one per class")
        return names
    shipped = shipped_labels(weights_folder())
    if str(labels) in shipped:
        return read_labels(shipped[str(labels)])
    try:
        return read_labels(labels)
    except UsageError as error:
        if "no such file" in str(error):
            raise UsageError(f"{error}; lists that ship: {', '.join(shipped)}") from None
        raise


def input_shapes(graph: Graph, profile: Profile, batch: int = 1) -> dict[str, tuple[int, ...]]:
    """The shapes of the inputs for `batch` clips as the profile samples and crops them."""
    height, width = profile.preprocess.frame_size
    named = {"N": batch, "T": profile.sampling.segments, "H": height or 224, "W": width or 224}
    return {
        entry.name: tuple(named.get(dim, 1) if isinstance(dim, str) else dim for dim in entry.shape)
        for entry in graph.inputs
    }


def classes_of(graph: Graph, profile: Profile) -> int | None:
    """How many classes the logits per frame have; None where there are none."""
    if not graph.frame_logits:
        return None
    return int(graph.shapes(input_shapes(graph, profile))[graph.frame_logits][1])


def check_labels(name: str, graph: Graph, profile: Profile) -> None:
    """Raise `CheckpointError` for labels in a file that are not one per class."""
    if wrong := _wrong_labels(graph, profile):
        raise CheckpointError(f"the model {name!r} {wrong}")


def _wrong_labels(graph: Graph, profile: Profile) -> str:
    """What is wrong with the labels of a profile, as the rest of a sentence; empty if nothing."""
    if profile.labels and classes_of(graph, profile) not in (None, len(profile.labels)):
        return f"has {classes_of(graph, profile)} classes and {len(profile.labels)} labels"
    shapes = graph.shapes(input_shapes(graph, profile)) if profile.heads else {}
    for head, labels in profile.heads:
        if head not in graph.outputs:
            return f"has no head {head!r}: it has {', '.join(graph.outputs)}"
        if shapes[head][1] != len(labels):
            return f"has {shapes[head][1]} classes of {head!r} and {len(labels)} labels"
    return ""


def _check_sizes(graph: Graph, profile: Profile) -> None:
    """Raise `UsageError` for facts that a network of fixed sizes cannot follow."""
    for entry in graph.inputs:
        sampled = (profile.sampling.segments, *profile.preprocess.frame_size)
        for letter, fixed, wanted in zip("THW", entry.shape[2:], sampled, strict=False):
            if isinstance(fixed, int) and wanted and fixed not in (1, wanted):
                raise UsageError(
                    f"{letter} would be {wanted} and must be {fixed}: the network fixes it"
                )


def _check_count(graph: Graph, profile: Profile, labels: Sequence[str]) -> None:
    """Raise `UsageError` for labels that are not one per class."""
    count = classes_of(graph, profile)
    if count not in (None, len(labels)):
        raise UsageError(
            f"{len(labels)} labels were given, {shown(labels[0])} to {shown(labels[-1])}, and the "
            f"model has {count} classes"
        )
