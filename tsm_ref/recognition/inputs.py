"""What a model takes: clips of pictures or of optical flow, which it labels, or something else."""

from tsm_ref.errors import CheckpointError, UsageError
from tsm_ref.model import Model
from tsm_ref.profile import Profile
from tsm_ref.video.transforms import COLOURS, FLOW

__all__ = ["check_classifies", "check_flow", "check_takes_clips", "sees_flow"]


def check_classifies(model: Model) -> None:
    """Raise `CheckpointError` for a model that does not turn one clip of pictures into logits."""
    graph = model.graph
    several = len(graph.outputs) > 1
    pulses = several and not all(graph.with_outputs([name]).scores.frames for name in graph.outputs)
    if not (_takes_clips(model) or sees_flow(model)) or pulses:
        raise _not_of_clips(model, "label")
    for name in graph.outputs:
        kind = graph.scores_of(name).kind
        if model.profile.multi_label and kind in ("probabilities", "log-probabilities"):
            raise UsageError(
                f"the model {model.name!r} ends in a softmax, so one label holds for a clip: it is "
                "no multi-label model"
            )


def check_takes_clips(model: Model) -> None:
    """Raise `CheckpointError` for a model that takes something else than one clip of pictures."""
    if sees_flow(model):
        raise CheckpointError(
            f"the model {model.name!r} sees optical flow, which is looked at for labels alone: see "
            "tsm_ref.infer"
        )
    if not _takes_clips(model):
        raise _not_of_clips(model, "look at")


def sees_flow(model: Model) -> bool:
    """Whether a model takes clips of optical flow: ten channels, x and y of five pictures."""
    return _takes_clips(model, FLOW)


def _takes_clips(model: Model, channels: int = COLOURS) -> bool:
    shapes = [entry.shape for entry in model.graph.inputs]
    return len(shapes) == 1 and len(shapes[0]) == 5 and shapes[0][1] == channels


def check_flow(model: Model, profile: Profile) -> None:
    """Raise `UsageError` for what is not said of flow: colours' statistics, and other samplings."""
    spec, policy = profile.preprocess, profile.sampling.policy
    if len({*spec.mean}) > 1 or len({*spec.std}) > 1:
        raise UsageError(
            f"the model {model.name!r} sees optical flow, and its profile normalises colours: give "
            "--profile mit-flow, or one --mean and one --std, as 0.5,0.5,0.5"
        )
    if policy in ("dense", "paddle"):
        raise UsageError(
            f"`policy` (={policy!r}) is not for optical flow, which is sampled by uniform, twice, "
            "val, mmaction2 or windows"
        )


def _not_of_clips(model: Model, what: str) -> CheckpointError:
    names = ", ".join(entry.name for entry in model.graph.inputs)
    return CheckpointError(
        f"the model {model.name!r} does not {what} clips (it takes {names} and gives "
        f"{', '.join(model.graph.outputs)}); run it on arrays with tsm_ref.load(...).run"
    )
