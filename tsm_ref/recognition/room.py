"""Whether the clips of a profile have room in memory, before the first frame is decoded."""

from collections.abc import Mapping
from math import prod

from tsm_ref.errors import GraphError
from tsm_ref.model import Model
from tsm_ref.profile import Profile
from tsm_ref.system import memory

VIEWS = {"center": 1, "three": 3, "three_longer": 3, "five": 5, "ten": 10}
"""The views of a frame that the crops of a preprocessing give."""
CLIPS = {"twice": 2, "dense": 10}
"""The clips of the policies that take several."""


def check_memory(model: Model, profile: Profile) -> None:
    """Raise `CheckpointError` where the clips of a profile would take more memory than they may.

    Every number of a profile is within bounds, and so is every layer; their product is reckoned
    here: the frames that are kept, the numbers that they become, and three of the largest values
    of the network, as a residual block holds.
    """
    finer = profile.sampling.finer if takes_finer(model, profile) else 1
    height, width = profile.preprocess.enlarged(finer).frame_size
    frames, views = profile.sampling.segments, VIEWS[profile.preprocess.crops]
    channels = int(model.graph.inputs[0].shape[1])  # three, or ten of optical flow
    pixels = channels * height * width * frames * views
    shapes = _shapes(model, frames, height, width)
    values = max((prod(shapes[node.name]) for node in model.graph.nodes if shapes), default=0)
    each = "" if views == 1 else f", {views} views of each"
    memory.check(
        pixels * (CLIPS.get(profile.sampling.policy, 1) + 8) + 3 * 4 * values,
        f"the model {model.name!r} with {frames} frames of {height}x{width}{each}",
        weights=4 * model.graph.parameter_count,
    )


def takes_finer(model: Model, profile: Profile) -> bool:
    """Whether the windows of a profile ask for larger frames, too, and the network takes them."""
    sampling = profile.sampling
    if sampling.policy != "windows" or sampling.finer == 1:
        return False
    height, width = profile.preprocess.enlarged(sampling.finer).frame_size
    return bool(_shapes(model, sampling.segments, height, width))


def _shapes(model: Model, frames: int, height: int, width: int) -> Mapping[str, tuple[int, ...]]:
    """The shapes of all values; none where the size depends on the video, or does not fit."""
    (entry,) = model.graph.inputs
    try:
        return model.graph.shapes({entry.name: (1, int(entry.shape[1]), frames, height, width)})
    except GraphError:
        return {}
