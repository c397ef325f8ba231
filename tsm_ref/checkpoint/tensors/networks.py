"""Which network tensors of these names and shapes are.

Names are ours here (`tsm_ref.checkpoint.tensors.names`), shapes those of the file.
"""

from dataclasses import replace

from tsm_ref.checkpoint.facts import Facts
from tsm_ref.checkpoint.tensors.epic_kitchens import HEADS
from tsm_ref.checkpoint.tensors.fitting import Network, Shapes, classes_of, stored
from tsm_ref.checkpoint.tensors.inception_nets import bn_inception
from tsm_ref.checkpoint.tensors.mobile_nets import mobilenet_v2, mobilenet_v3, mobileone, pp_lcnet
from tsm_ref.checkpoint.tensors.names import Translation
from tsm_ref.checkpoint.tensors.pulse_nets import big_small, pulse
from tsm_ref.checkpoint.tensors.residual_nets import resnet
from tsm_ref.errors import CheckpointError
from tsm_ref.ops_table import Shape
from tsm_ref.passes.features import with_heads
from tsm_ref.profile import Profile


def network_for(shapes: Shapes, profile: Profile, found: Translation, facts: Facts) -> Network:
    """The network that tensors of these shapes fit into best; what does not fit is not said yet.

    Where there is a classifier of verbs and one of nouns, each of them is an output.

    Raises `CheckpointError` for tensors of no known architecture.
    """
    heads = [name for name in HEADS if f"{name}.weight" in shapes]
    if heads and "fc.weight" not in shapes:
        counts = {name: classes_of(shapes, f"{name}.weight") for name in heads}
        one = {**shapes, "fc.weight": shapes[f"{heads[0]}.weight"]}
        network = network_for(one, profile, found, facts)
        return replace(network, graph=with_heads(network.graph, counts))
    if "features.0.0.weight" in shapes:
        return mobilenet_v2(shapes, profile, found)
    if "conv1_7x7_s2.weight" in shapes:
        return bn_inception(shapes, profile)
    if {"blocks.0.depthwise.conv.weight", "hidden.weight"} <= set(shapes):
        return mobilenet_v3(shapes, profile, found)
    if "stem.1.dw_conv.conv.weight" in shapes:
        return pp_lcnet(shapes, profile)
    if any(name.startswith("stage0.0.branch_") for name in shapes):
        return mobileone(shapes, profile)
    if "layer1.0.conv1.weight" in shapes and {"conv1.weight", "conv1.0.weight"} & set(shapes):
        return resnet(shapes, profile, found, facts)
    if "motion_conv1.weight" in shapes:
        return pulse(shapes, profile)
    if "small_conv1.weight" in shapes:
        return big_small(shapes, profile)
    known = (
        "ResNet (conv1, layer1, fc), MobileNetV2 (features, classifier), PP-LCNetV2 (stem), "
        "MobileOne (stage0), TS-CAN (motion_conv1), BigSmall (small_conv1)"
    )
    raise CheckpointError(f"the tensors are those of no known architecture; known are {known}")


def stored_shape(name: str, shape: Shape, found: Translation) -> Shape:
    """The shape that a file gives a tensor: a 2-D convolution has no axis of time.

    The attention of PP-TSMv2 is a linear layer there, and a convolution in time here; so are the
    features of torchvision's MobileNetV3, which are those of one place.
    """
    if name == "hidden.weight" and found.naming.family.startswith("torchvision"):
        return shape[:2]
    if name.startswith("attention.fc."):
        return (shape[2],) * (1 if name.endswith("bias") else 2)
    if len(shape) == 2 and found.naming.turned:
        return shape[::-1]
    return shape if _is_3d(name) else stored(shape)


def _is_3d(name: str) -> bool:
    """True for the convolutions of a non-local block, which everybody keeps in three dimensions."""
    return ".nl." in name
