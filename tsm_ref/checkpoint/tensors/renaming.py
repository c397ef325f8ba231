"""How the names of each family are turned into ours: one function per family.

Ours are torchvision's: ``layer1.0.conv1.weight``, ``features.3.conv.0.weight``, ``fc.weight``.
"""

import re
from collections.abc import Callable
from itertools import accumulate

from tsm_ref.models.mobilenet_v2 import STAGES


def renamer(*rules: tuple[str, str]) -> Callable[[str], str]:
    """Apply regular expressions, each once, in order."""
    compiled = [(re.compile(pattern), new) for pattern, new in rules]

    def rename(name: str) -> str:
        for pattern, new in compiled:
            name = pattern.sub(new, name, count=1)
        return name

    return rename


NON_LOCAL = (
    (r"\.non_local_block\.", ".nl."),
    (r"^(layer\d\.\d+)\.block\.", r"\1."),
    (r"\.nl\.(g|phi)\.0\.", r".nl.\1."),
    (r"\.nl\.(g|phi|theta)\.conv\.", r".nl.\1."),
    (r"\.nl\.(W\.0|conv_out\.conv)\.", ".nl.W."),
    (r"\.nl\.(W\.1|conv_out\.bn)\.", ".nl.bn."),
)
"""A block and the non-local one behind it, wrapped into one; keys and values stand in lists."""


def mmaction2_mobilenet(name: str) -> str:
    """``layer2.1.conv.0.conv`` is the first convolution of the fourth feature."""
    first = [1, *accumulate((count for _, _, count, _ in STAGES), initial=1)][1:]

    def feature(match: re.Match[str]) -> str:
        stage, block, layer = (int(match[i]) for i in (1, 2, 3))
        kind = 0 if match[4] == "conv" else 1
        return f"features.{first[stage - 1] + block}.conv.{3 * layer + kind}."

    name = re.sub(r"^backbone\.layer(\d)\.(\d+)\.conv\.(\d)\.(conv|bn)\.", feature, name)
    for layer, place in (("conv1", 0), ("conv2", first[-1])):
        name = name.replace(f"backbone.{layer}.conv.", f"features.{place}.0.")
        name = name.replace(f"backbone.{layer}.bn.", f"features.{place}.1.")
    return name.replace("cls_head.fc_cls.", "classifier.")


def _paddle_block(stage: str, letter: str, number: str) -> str:
    """``res2c`` is the third block of layer 1, and ``res4b7`` the eighth of layer 3."""
    index = int(number) if number else ord(letter) - ord("a")
    return f"layer{int(stage) - 1}.{index}."


def paddle(name: str) -> str:
    """``res2a.conv0._conv.weight`` is the first convolution of the first block of layer 1.

    So is ``bb_0_0.conv0._conv.weight`` of ppTSM, whose stem is ``conv1_1`` to ``conv1_3``.
    """
    name = re.sub(r"^backbone\.res(\d)([a-z])(\d*)\.", lambda m: _paddle_block(*m.groups()), name)
    name = re.sub(r"^backbone\.bb_(\d)_(\d+)\.", lambda m: f"layer{int(m[1]) + 1}.{m[2]}.", name)
    return renamer(
        (r"^backbone\.conv\._conv\.", "conv1."),
        (r"^backbone\.conv\._batch_norm\.", "bn1."),
        *((rf"^backbone\.conv1_{i + 1}\._conv\.", f"conv1.{i}.") for i in range(3)),
        *((rf"^backbone\.conv1_{i + 1}\._batch_norm\.", f"bn1.{i}.") for i in range(3)),
        (r"^head\.fc\.", "fc."),
        (r"\.conv0\._conv\.", ".conv1."),
        (r"\.conv1\._conv\.", ".conv2."),
        (r"\.conv2\._conv\.", ".conv3."),
        (r"\.conv0\._batch_norm\.", ".bn1."),
        (r"\.conv1\._batch_norm\.", ".bn2."),
        (r"\.conv2\._batch_norm\.", ".bn3."),
        (r"\.short\._conv\.", ".downsample.0."),
        (r"\.short\._batch_norm\.", ".downsample.1."),
        (r"\._mean$", ".running_mean"),
        (r"\._variance$", ".running_var"),
    )(name)


pp_tsm_v2 = renamer(
    (r"^backbone\.", ""),
    (r"^global_attention\.", "attention."),
    (r"\._mean$", ".running_mean"),
    (r"\._variance$", ".running_var"),
)
"""Our names of PP-LCNetV2 are Paddle's, but for the statistics."""


_PADDLECV_LAYERS = {
    **{("res", f"2{letter}"): f"conv{i}" for i, letter in enumerate("abc", start=1)},
    **{("bn", f"2{letter}"): f"bn{i}" for i, letter in enumerate("abc", start=1)},
    ("res", "1"): "downsample.0",
    ("bn", "1"): "downsample.1",
}

_PADDLECV_ROLES = {
    "weights": "weight",
    "scale": "weight",
    "offset": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}


def paddlecv(name: str) -> str:
    """``res2a_branch2b_weights`` and ``bn2a_branch2b_scale`` are conv2 and bn2 of the first block.

    ``branch1`` is the shortcut.
    """
    name = re.sub(r"^conv1_weights$", "conv1.weight", name)
    name = re.sub(r"^bn_conv1_(\w+)$", lambda m: f"bn1.{_PADDLECV_ROLES.get(m[1], m[1])}", name)
    name = re.sub(r"^fc_0\.(w|b)_0$", lambda m: f"fc.{'weight' if m[1] == 'w' else 'bias'}", name)
    found = re.fullmatch(r"(res|bn)(\d)([a-z])(\d*)_branch(1|2[abc])_(\w+)", name)
    if found is None:
        return name
    kind, stage, letter, number, branch, role = found.groups()
    layer = _paddle_block(stage, letter, number) + _PADDLECV_LAYERS[kind, branch]
    return f"{layer}.{_PADDLECV_ROLES.get(role, role)}"


def timm_vd(name: str) -> str:
    """``conv1.3`` is the second convolution of the stem, and ``downsample.1`` follows a pool."""
    stem = {"conv1.0": "conv1.0", "conv1.1": "bn1.0", "conv1.3": "conv1.1", "conv1.4": "bn1.1",
            "conv1.6": "conv1.2"}  # fmt: skip
    for theirs, ours in stem.items():
        if name.startswith(f"{theirs}."):
            return name.replace(theirs, ours, 1)
    name = re.sub(r"^bn1\.(?!\d)", "bn1.2.", name)
    return re.sub(r"\.downsample\.([12])\.", lambda m: f".downsample.{int(m[1]) - 1}.", name)


mobileone = renamer(
    (r"^backbone\.stage0\.", "stage0.0."),
    (r"^backbone\.", ""),
    (r"^cls_head\.fc_cls\.", "fc."),
)
"""The stem is the only block of its stage, and has no number there."""

rppg = renamer(
    (r"^apperance_conv", "appearance_conv"),
    (r"^apperance_att_conv", "attention"),
    (r"^final_dense_(\d)_r\.", r"dense\1_respiration."),
    (r"^final_dense_(\d)(_y)?\.", r"dense\1."),
)
"""The rPPG-Toolbox spells ``apperance`` so."""

big_small = renamer(
    (r"^bvp_fc(\d)\.", r"dense\1."),
    (r"^resp_fc(\d)\.", r"dense\1_respiration."),
    (r"^au_fc(\d)\.", r"dense\1_action_units."),
)
