"""R: invalid input must be refused, with an error and without an output."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.catalogue._questions import network_call
from conformance.catalogue.streaming import residual_net
from conformance.questions.arrays import Array
from conformance.questions.case import Call, Problem, Question, Register, Setting, case
from conformance.questions.data import block_shapes, coded, draw_weights, normal
from conformance.questions.judges import Refuses
from conformance.questions.streams import steps

RULE = "an error of the kind `invalid`, and no output"


def refusal(
    id: str, requirement: str = "MUST", *, operation: str, defect: str, **more: Any
) -> Register:
    """A case in which the right answer is an error."""
    return case(f"R.{id}", requirement, operation=operation, formula=RULE, defect=defect, **more)


def refused(
    why: str, operation: str, inputs: Mapping[str, Array], attributes: Mapping[str, Any]
) -> Problem:
    """One question whose answer must be a refusal."""
    return Problem((Question(Call(operation, inputs, attributes), Refuses(why)),))


@refusal("shift.rank", operation="temporal_shift", defect="an array without time is shifted")
def shift_rank(s: Setting) -> Problem:
    """A clip with only the axes N and C."""
    attributes = {"fold_div": s.conventions.fold_div}
    return refused("an array of rank 2", "temporal_shift", {"x": coded((2, 16))}, attributes)


@refusal(
    "shift.fold-div", "SHOULD", operation="temporal_shift", defect="a divisor of 0 is let pass"
)
def shift_fold_div(s: Setting) -> Problem:
    """A fold divisor of 0."""
    x = coded((2, 16, 3, 2, 2))
    return refused("a fold divisor of 0", "temporal_shift", {"x": x}, {"fold_div": 0})


@refusal("shift-by.length", "SHOULD", operation="shift_by", defect="missing shifts are taken as 0")
def shift_by_length(s: Setting) -> Problem:
    """Five shifts for six channels."""
    x = coded((2, 6, 3, 2, 2))
    attributes = {"d": [1, -1, 0, 0, 1], "fill": "zero"}
    return refused("five shifts for six channels", "shift_by", {"x": x}, attributes)


@refusal("shift-by.fill", "SHOULD", operation="shift_by", defect="an unknown fill becomes zero")
def shift_by_fill(s: Setting) -> Problem:
    """A fill that does not exist."""
    x = coded((2, 3, 3, 2, 2))
    attributes = {"d": [1, -1, 0], "fill": "mirror"}
    return refused("the fill 'mirror'", "shift_by", {"x": x}, attributes)


CONV = {"stride": [1, 1, 1], "padding": [0, 0, 0], "dilation": [1, 1, 1], "groups": 1}


@refusal("conv.channels", operation="conv", defect="channels too many are ignored or broadcast")
def conv_channels(s: Setting) -> Problem:
    """A weight for 4 channels on a clip of 5."""
    x = {"x": normal(s.rng, (2, 5, 2, 4, 6)), "weight": normal(s.rng, (3, 4, 1, 3, 3))}
    return refused("a weight for 4 channels on 5", "conv", x, CONV)


@refusal("conv.groups", "SHOULD", operation="conv", defect="channels behind the last group vanish")
def conv_groups(s: Setting) -> Problem:
    """Two groups of five channels."""
    x = {"x": normal(s.rng, (2, 5, 2, 4, 6)), "weight": normal(s.rng, (4, 2, 1, 3, 3))}
    return refused("2 groups of 5 channels", "conv", x, CONV | {"groups": 2})


@refusal("conv.kernel", operation="conv", defect="an empty or negative size is returned")
def conv_kernel(s: Setting) -> Problem:
    """A kernel that is larger than the padded picture."""
    x = {"x": normal(s.rng, (2, 3, 2, 4, 3)), "weight": normal(s.rng, (3, 3, 1, 5, 5))}
    return refused("a kernel larger than the picture", "conv", x, CONV)


@refusal("batch_norm.length", operation="batch_norm", defect="one constant stands for all channels")
def batch_norm_length(s: Setting) -> Problem:
    """Statistics of one channel for a clip of five."""
    ones = np.ones(1, np.float32)
    x = {"x": normal(s.rng, (2, 5, 2, 3, 4))}
    x |= dict.fromkeys(("mean", "variance", "scale", "shift"), ones)
    return refused("statistics of 1 channel for 5", "batch_norm", x, {"eps": 1e-5})


@refusal("linear.shape", operation="linear", defect="a transposed or longer weight is accepted")
def linear_shape(s: Setting) -> Problem:
    """A weight for 6 channels on logits of 5."""
    x = {"x": normal(s.rng, (2, 5, 3)), "weight": normal(s.rng, (4, 6))}
    return refused("a weight for 6 channels on 5", "linear", x, {})


@refusal("consensus.rank", "SHOULD", operation="consensus", defect="another axis is averaged")
def consensus_rank(s: Setting) -> Problem:
    """Logits without a time axis."""
    return refused("logits without time", "consensus", {"logits": normal(s.rng, (3, 5))}, {})


@refusal(
    "block.channels", operation="residual_block", defect="a clip of other channels runs through"
)
def block_channels(s: Setting) -> Problem:
    """A clip of 12 channels for a block of 16."""
    weights = draw_weights(s.rng, block_shapes("basic", 16, 16, 1))
    attributes = {
        "kind": "basic",
        "stride": 1,
        "fold_div": s.conventions.fold_div,
        "placement": s.conventions.placement,
    }
    call = network_call("residual_block", normal(s.rng, (1, 12, 3, 5, 4)), weights, attributes)
    return Problem((Question(call, Refuses("12 channels for a block of 16")),))


@refusal("network.weights", operation="network", defect="a missing weight is taken as zero")
def network_weights(s: Setting) -> Problem:
    """A network whose classifier is missing."""
    shapes, attributes = residual_net(s)
    weights = draw_weights(s.rng, shapes)
    del weights["fc.weight"]
    call = network_call("network", normal(s.rng, (1, 3, 3, 10, 12)), weights, attributes)
    return Problem((Question(call, Refuses("a network without its classifier")),))


@refusal("network.channels", operation="network", defect="a fourth channel is dropped in silence")
def network_channels(s: Setting) -> Problem:
    """A clip of four colours."""
    shapes, attributes = residual_net(s)
    weights = draw_weights(s.rng, shapes)
    call = network_call("network", normal(s.rng, (1, 4, 3, 10, 12)), weights, attributes)
    return Problem((Question(call, Refuses("a clip of 4 colours")),))


@refusal(
    "stream.weights", operation="stream", defect="a broken network streams", needs=("streaming",)
)
def stream_weights(s: Setting) -> Problem:
    """A stream of a network whose classifier is missing."""
    shapes, attributes = residual_net(s)
    weights = draw_weights(s.rng, shapes)
    del weights["fc.weight"]
    inputs = {"clips": normal(s.rng, (1, 1, 3, 2, 10, 12))}
    inputs |= {f"weights/{name}": value for name, value in weights.items()}
    script = {"script": steps(0, 0, (1, 1)), "subject": "network"}
    return refused("a stream without its classifier", "stream", inputs, {**script, **attributes})


@refusal("sampling.empty", operation="sample_frames", defect="a clip without frames gives frames")
def sampling_empty(s: Setting) -> Problem:
    """A video of no frames."""
    attributes = {"policy": s.conventions.policy, "num_frames": 0, "segments": 8}
    return refused("a video of no frames", "sample_frames", {}, attributes)


@refusal("crop.size", "SHOULD", operation="crop", defect="a crop hangs over the picture")
def crop_size(s: Setting) -> Problem:
    """A crop of 224 from a picture of 200."""
    attributes = {
        "height": 200,
        "width": 300,
        "crop": [224, 224],
        "crops": "center",
        "offset": s.conventions.crop_offset,
    }
    return refused("a crop larger than the picture", "crop", {}, attributes)
