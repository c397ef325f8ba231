"""What a file of tensors means: its network, its weights, and what names tell of its shifts.

A file of tensors does not say what its shifts do. Names that mark shifted layers say where they
stand; MIT's file names say how wide they are. Where neither tells, a profile must be given.
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from tsm_ref.checkpoint.contents import Checkpoint, check_names, check_shapes, shown
from tsm_ref.checkpoint.disk import StrPath, sha256_of
from tsm_ref.checkpoint.tensors.files import TensorFile, read_float32
from tsm_ref.checkpoint.tensors.names import Translation, translate
from tsm_ref.checkpoint.tensors.networks import Shapes, network_for, stored_shape
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph
from tsm_ref.profile import PROFILES, Profile


def load_tensors(file: TensorFile, path: StrPath, profile: Profile | None = None) -> Checkpoint:
    """Turn named tensors into a checkpoint: the network, its weights, and what they mean.

    ``profile`` says how the network shifts, samples and prepares, where names do not, or instead of
    what they say; the layers that names mark as shifted must be those that the network shifts.

    Raises `CheckpointError` for names of no known family, for a file that does not tell its shift,
    and for missing, unexpected or mis-shaped tensors: the first three, and how many.
    """
    found = translate(file.entries)
    meant = profile_for(found, Path(path).name, profile)
    shapes = {ours: file.entries[theirs].shape for ours, theirs in found.names.items()}
    network = network_for(shapes, meant, found, Path(path).name)
    graph, fixed = network.graph, network.fixed
    wanted = {name: shape for name, shape in graph.parameters.items() if name not in fixed}
    stored = {name: stored_shape(name, shape, found) for name, shape in wanted.items()}
    _check_tensors(found, stored, shapes)
    _check_marks(graph, found, meant)
    weights = {}
    for name, shape in graph.parameters.items():
        if name in fixed:
            weights[name] = fixed[name](shape)
            continue
        theirs = found.names[name]
        values = read_float32(theirs, file.entries[theirs], stored[name])
        if found.naming.turned and values.ndim == 2:
            values = values.T
        weights[name] = np.ascontiguousarray(values).reshape(shape)
    types = dict.fromkeys(file.entries[found.names[name]].type_name for name in wanted)
    return Checkpoint(
        graph=graph,
        weights=weights,
        profile=meant,
        sha256=sha256_of(path),
        storage="+".join(types),
        path=Path(path),
        format=f"{found.naming.family}, {file.format}",
        format_version=file.format_version,
        extra=dict(file.notes),
    )


def _check_tensors(found: Translation, wanted: Shapes, shapes: Shapes) -> None:
    """Names and shapes are those of the network; what is in the file is called as it is there."""
    theirs = {name: found.names.get(name, name) for name in (*wanted, *shapes)}
    check_names((theirs[name] for name in wanted), (theirs[name] for name in shapes))
    check_shapes(
        {theirs[name]: shape for name, shape in wanted.items()},
        {theirs[name]: shape for name, shape in shapes.items()},
    )


# What the file means


def profile_for(found: Translation, file_name: str, wanted: Profile | None) -> Profile:
    """The profile of a file: the wanted one, or what its names tell.

    Raises `CheckpointError` where they tell nothing: an offline network loads into an online graph
    without complaint, and is wrong.
    """
    if wanted is not None:
        if found.placement and wanted.placement != "none":
            return replace(wanted, placement=found.placement)
        return wanted
    naming = found.naming
    name = naming.profile if found.layers else naming.unmarked
    if naming.family in _PADDLE and re.search("tsm", file_name, re.IGNORECASE):
        name = "paddle"
    if not name:
        raise CheckpointError(
            f"the names ({naming.family}) do not say whether and how the network shifts; "
            f"give a profile ({', '.join(PROFILES)})"
        )
    profile = replace(PROFILES[name], placement=found.placement or PROFILES[name].placement)
    try:
        return _with_file_name(profile, file_name, naming.family)
    except ValueError as error:
        raise CheckpointError(
            f"the name of the file says what cannot be: {error}; rename it, or give a profile"
        ) from None


_PADDLE = ("PaddleVideo", "PaddleVideo PP-TSMv2", "PaddleCV")
"""The families whose names tell nothing of shifts, and whose file names do."""


def _with_file_name(profile: Profile, file_name: str, family: str) -> Profile:
    """What MIT, MMAction2 and PaddleVideo encode in the names of their files.

    PaddleVideo shifts one channel in as many as there are segments, PaddleCV always one in eight.
    """
    sampling, shift = profile.sampling, profile.shift
    segments = re.search(r"segment(\d+)|1x1x(\d+)|_(\d+)f(?:\b|_)|(\d+)frames", file_name)
    if segments:
        count = int(next(group for group in segments.groups() if group))
        sampling = replace(sampling, segments=count)
        if family.startswith("PaddleVideo"):
            shift = replace(shift, divisor=count)
    if "dense" in file_name and sampling.policy in ("uniform", "paddle"):
        sampling = replace(sampling, policy="dense")
    folds = re.search(r"shift(\d+)_", file_name)
    if folds and shift.rule == "mit":
        shift = replace(shift, divisor=int(folds[1]))
    return replace(profile, sampling=sampling, shift=shift)


def _check_marks(graph: Graph, found: Translation, profile: Profile) -> None:
    """The layers that names mark as shifted are those that the network shifts."""
    shifts = {node.name.removesuffix(".shift") for node in graph.select("TemporalShift")}
    if not found.layers or profile.shift.rule == "none" or profile.placement == "none":
        return
    odd = sorted(shifts ^ found.layers)
    if odd:
        raise CheckpointError(
            f"the names mark {len(found.layers)} layers as shifted and the network shifts "
            f"{len(shifts)}; {shown(odd[0])} is not in both"
        )
