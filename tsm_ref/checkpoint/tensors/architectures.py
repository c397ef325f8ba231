"""What a file of tensors means: its network, its weights, and the facts that names tell.

A file of tensors does not say what its shifts do. Names that mark shifted layers say where they
stand; MMEngine's configuration, MIT's names of files and folders say how wide they are. What
nobody tells is assumed with a warning, or asked for where it would be a guess.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tsm_ref.checkpoint.contents import Checkpoint, check_names, check_shapes, shown
from tsm_ref.checkpoint.disk import StrPath, sha256_of
from tsm_ref.checkpoint.facts import OF_NETWORK, OPTIONS, Facts, facts_of_profile
from tsm_ref.checkpoint.tensors.file_names import facts_of_names
from tsm_ref.checkpoint.tensors.files import TensorFile, read_float32
from tsm_ref.checkpoint.tensors.fitting import Shapes
from tsm_ref.checkpoint.tensors.names import Translation
from tsm_ref.checkpoint.tensors.networks import network_for, stored_shape
from tsm_ref.checkpoint.tensors.wrappers import Chosen, choose
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph
from tsm_ref.profile import PROFILES, Profile

FIRST = ("conv1.weight", "conv1_7x7_s2.weight")
"""The first layers of the networks that are published for optical flow."""
_FLOW = PROFILES["mit-flow"].preprocess
OF_FLOW = {"mean": _FLOW.mean, "std": _FLOW.std}
"""How MIT's code prepares optical flow."""


def load_tensors(
    file: TensorFile,
    path: StrPath,
    profile: Profile | None = None,
    options: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Turn named tensors into a checkpoint: the network, its weights, and what they mean.

    ``profile`` says how the network shifts, samples and prepares, where nothing else does;
    ``options`` are single facts (`tsm_ref.checkpoint.facts`). The layers that names mark as shifted
    must be those that the network shifts. What is assumed is in the ``warnings`` of the result.

    Raises `CheckpointError` for names of no known family, for a file that does not tell its shift,
    for facts that contradict each other, and for missing, unexpected or mis-shaped tensors: the
    first three, and how many.
    """
    given = dict(options or {})
    chosen = choose(file, given.get("weights"))
    found = chosen.found
    entries = {ours: chosen.entries[chosen.prefix + theirs] for ours, theirs in found.names.items()}
    shapes = {ours: entry.shape for ours, entry in entries.items()}
    facts = gather(found, file, Path(path), profile, given, flow=_sees_flow(shapes))
    base = _base(found, facts, profile)
    meant = facts.over(base)
    network = network_for(shapes, meant, found, facts)
    graph, fixed = network.graph, network.fixed
    facts.suggest(f"the convention {base.family}", **facts_of_profile(base))
    wanted = {name: shape for name, shape in graph.parameters.items() if name not in fixed}
    stored = {name: stored_shape(name, shape, found) for name, shape in wanted.items()}
    try:
        _check_tensors(chosen, stored, shapes)
    except CheckpointError as error:
        kind = graph.name.removesuffix("-nl")
        raise CheckpointError(f"the nearest known network is {kind}, and {error}") from None
    _check_marks(graph, found, meant)
    weights = {}
    for name, shape in graph.parameters.items():
        if name in fixed:
            weights[name] = fixed[name](shape)
            continue
        theirs = chosen.prefix + found.names[name]
        values = read_float32(theirs, entries[name], stored[name])
        if found.naming.turned and values.ndim == 2:
            values = values.T
        weights[name] = np.ascontiguousarray(values).reshape(shape)
    types = dict.fromkeys(entries[name].type_name for name in wanted)
    graph, weights = network.running(weights)
    return Checkpoint(
        graph=graph,
        weights=weights,
        profile=meant,
        sha256=sha256_of(path, *file.parts),
        storage="+".join(types),
        path=Path(path),
        format=f"{found.naming.family}, {file.format}",
        format_version=file.format_version,
        extra=dict(file.notes),
        facts=tuple(facts),
        warnings=facts.warnings(),
        remarks=(*chosen.remarks(), *_passed(file)),
    )


def _sees_flow(shapes: Shapes) -> bool:
    """Whether the first layer takes the ten channels of optical flow."""
    first = next((shapes[name] for name in FIRST if name in shapes), ())
    return len(first) >= 4 and first[1] == 10


def _passed(file: TensorFile) -> tuple[str, ...]:
    return (f"passed over: {', '.join(file.passed)}",) if file.passed else ()


def _check_tensors(chosen: Chosen, wanted: Shapes, shapes: Shapes) -> None:
    """Names and shapes are those of the network; what is in the file is called as it is there."""
    names = {ours: chosen.prefix + theirs for ours, theirs in chosen.found.names.items()}
    theirs = {name: names.get(name, name) for name in (*wanted, *shapes)}
    check_names((theirs[name] for name in wanted), (theirs[name] for name in shapes))
    check_shapes(
        {theirs[name]: shape for name, shape in wanted.items()},
        {theirs[name]: shape for name, shape in shapes.items()},
    )


# What the file means


def gather(
    found: Translation,
    file: TensorFile,
    path: Path,
    profile: Profile | None,
    options: Mapping[str, Any],
    *,
    flow: bool = False,
) -> Facts:
    """Everything that is said of a file, in the order in which it counts.

    Raises `CheckpointError` where two sources contradict each other.
    """
    facts = Facts()
    name = _name_of(profile)
    own = facts_of_profile(profile, PROFILES.get(profile.family)) if profile and not name else {}
    told = {key: options[key] for key in OPTIONS if options.get(key) is not None}
    loader: Said = [("the option", told), ("the profile", own)]
    writer: Said = [(f"the file ({place})", said) for place, said in file.said.items()]
    writer += facts_of_names(path.absolute(), found.naming.family)
    if found.placement:
        writer.insert(0, ("the names of the tensors", {"placement": found.placement}))
    for source, said in loader:
        facts.decide(source, **{k: v for k, v in said.items() if k not in OF_NETWORK})
    for source, said in writer:
        facts.say(source, **said)
    for source, said in loader:
        facts.say(source, **{k: v for k, v in said.items() if k in OF_NETWORK})
    trained = next((said["segments"] for _, said in writer if "segments" in said), None)
    segments = trained or facts.get("segments")
    if found.naming.by_segments and segments:
        facts.suggest("one channel in as many as there are segments", fold_div=segments)
    sampled = segments or (profile.sampling.segments if profile is not None else 0)
    if found.naming.family == "MMAction2 MobileOne" and sampled > WINDOW_OF_MOBILEONE:
        facts.assume(frame_depth=WINDOW_OF_MOBILEONE)
    usual = dict(found.naming.usual)
    if flow:
        whole = usual.get("scale") == 1.0  # of Caffe: no division by 255, and a deviation of 1
        statistics = {"mean": (128.0,) * 3} if whole else OF_FLOW
        facts.suggest("ten channels of optical flow", **statistics)
    if profile is not None and profile.placement == "none":
        usual.pop("placement", None)
    facts.suggest(f"the network {found.naming.family}", **usual)
    if profile is not None:
        facts.suggest(f"the profile {name}".rstrip(), **facts_of_profile(profile))
    return facts


Said = list[tuple[str, Mapping[str, Any]]]
"""Who says something, and what, in the order in which it counts."""


def _name_of(profile: Profile | None) -> str:
    """The name of one of the profiles that have one; empty for any other."""
    return next((name for name, known in PROFILES.items() if known == profile), "")


def _base(found: Translation, facts: Facts, profile: Profile | None) -> Profile:
    """The conventions of a family, for what nobody says; those that change the result are assumed.

    Raises `CheckpointError` where nothing tells whether and how the network shifts: an offline
    network loads into an online graph without complaint, and is wrong.
    """
    if profile is not None:
        return profile
    naming = found.naming
    name = naming.profile if found.layers else naming.unmarked
    if not name and naming.family.startswith("MIT") and "fold_div" in facts:
        name = "mit"
    name = facts.get("family", name)
    if facts.get("placement") == "none":
        name = "tsn"
    if naming.family == "PaddleVideo" and _of_basic_blocks(found):
        raise CheckpointError(
            "PaddleVideo's own TSM cannot be made of basic blocks, so nothing tells whether these "
            "shift; give a profile (paddle: they do, tsn: they do not)"
        )
    if not name:
        raise CheckpointError(
            f"the names ({naming.family}) do not say whether and how the network shifts; "
            f"give a profile ({', '.join(PROFILES)})"
        )
    base = PROFILES[name]
    facts.suggest(f"the convention {name}", shift=base.shift.rule, placement=base.placement)
    if naming.fixed_depth:
        facts.suggest(f"the code of {naming.family}", frame_depth=base.shift.segment)
    elif base.shift.segment:
        facts.assume(frame_depth=base.shift.segment)
    elif naming.by_segments and base.shift.rule != "none":
        facts.assume(segments=base.sampling.segments)
        facts.suggest(
            "one channel in as many as there are segments", fold_div=facts.get("segments")
        )
    elif base.shift.rule != "none":
        facts.assume(fold_div=int(base.shift.divisor))
    if not base.shift.segment:
        facts.assume(segments=base.sampling.segments)
    return base


WINDOW_OF_MOBILEONE = 8
"""MMAction2's configuration of 16 frames leaves its backbone, and so the shifts, at 8."""


def _of_basic_blocks(found: Translation) -> bool:
    """True for blocks of two convolutions behind a stem of one."""
    names = found.names
    last, more = "layer1.0.conv2.weight", "layer1.0.conv3.weight"
    return "conv1.weight" in names and last in names and more not in names


def _check_marks(graph: Graph, found: Translation, profile: Profile) -> None:
    """The layers that names mark as shifted are those that the network shifts."""
    shifts = {node.name.removesuffix(".shift") for node in graph.select("TemporalShift")}
    if not found.layers or profile.shift.rule == "none" or profile.placement == "none":
        return
    # MMAction2 marks the stem of MobileOne too, whose three channels are too few for a fold.
    stem = set() if profile.shift.d(3).any() else {"stage0.0"}
    odd = sorted((shifts ^ found.layers) - stem)
    if odd:
        raise CheckpointError(
            f"the names mark {len(found.layers)} layers as shifted and the network shifts "
            f"{len(shifts)}; {shown(odd[0])} is not in both"
        )
