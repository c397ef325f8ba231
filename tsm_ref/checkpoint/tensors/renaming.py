"""How the names of each family are turned into ours: one function per family.

Ours are torchvision's: ``layer1.0.conv1.weight``, ``features.3.conv.0.weight``, ``fc.weight``.
"""

import re
from collections.abc import Callable, Mapping
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


MIT_HEADS = ((r"^new_fc\.", "fc."), (r"^fc_(verb|noun)\.", r"\1."))
"""MIT's classifier, and the two of those who trained its code on EPIC-Kitchens."""

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


_STATISTICS = renamer((r"\._mean$", ".running_mean"), (r"\._variance$", ".running_var"))
"""Paddle's names of what a norm has seen."""


def pptsm_mobilenet_v2(name: str) -> str:
    """``conv3.conv3_2._expand_conv`` is the expansion of the second block of the second stage."""
    first = [1, *accumulate((count for _, _, count, _ in STAGES), initial=1)][1:]

    def feature(match: re.Match[str]) -> str:
        block = int(match[3] or 1) - 1
        layer = ("expand", "bottleneck", "linear").index(match[4])
        kind = 0 if match[5] == "conv" else 1
        return f"features.{first[int(match[1]) - 2] + block}.conv.{3 * layer + kind}."

    name = re.sub(
        r"^backbone\.conv(\d)\.(_first_block|conv\d_(\d))\._(\w+)_conv\._(conv|batch_norm)\.",
        feature,
        name,
    )
    for layer, place in (("conv1", 0), ("conv9", first[-1])):
        name = name.replace(f"backbone.{layer}._conv.", f"features.{place}.0.")
        name = name.replace(f"backbone.{layer}._batch_norm.", f"features.{place}.1.")
    return _STATISTICS(name.replace("backbone.out.", "classifier."))


pptsm_mobilenet_v3 = renamer(
    (r"^backbone\.conv\.", "stem."),
    (r"^backbone\.last_second_conv\.", "last."),
    (r"^backbone\.last_conv\.", "hidden."),
    (r"^backbone\.fc\.", "classifier."),
    (r"^backbone\.", ""),
    (r"\.expand_conv\.", ".expand."),
    (r"\.bottleneck_conv\.", ".depthwise."),
    (r"\.mid_se\.", ".gate."),
    (r"\.linear_conv\.", ".project."),
    (r"\._mean$", ".running_mean"),
    (r"\._variance$", ".running_var"),
)


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


# Names of which one alone does not tell its place: all of them are turned at once


def torchvision_mobilenet_v3(names: Mapping[str, str]) -> dict[str, str]:
    """``features.4.block.2.fc1`` is the gate of block 3: layers are numbered as they are there."""
    layers: dict[str, set[int]] = {}
    gates: dict[str, int] = {}
    for name in names:
        found = re.match(r"features\.(\d+)\.block\.(\d)\.(fc1)?", name)
        if found and found[3]:
            gates[found[1]] = int(found[2])
        elif found:
            layers.setdefault(found[1], set()).add(int(found[2]))

    def inside(match: re.Match[str]) -> str:
        feature, layer, part = match[1], int(match[2]), match[3]
        block = f"blocks.{int(feature) - 1}"
        if layer == gates.get(feature):
            return f"{block}.gate.{part.replace('fc', 'conv')}."
        order = sorted(layers[feature] - {gates.get(feature)})
        kinds = ("expand", "depthwise", "project")[-len(order) :]
        return f"{block}.{kinds[order.index(layer)]}.{'conv' if part == '0' else 'bn'}."

    rename = renamer(
        (r"^features\.0\.0\.", "stem.conv."),
        (r"^features\.0\.1\.", "stem.bn."),
        (r"^features\.\d+\.0\.", "last.conv."),
        (r"^features\.\d+\.1\.", "last.bn."),
        (r"^classifier\.0\.", "hidden."),
        (r"^classifier\.3\.", "classifier."),
    )
    block = re.compile(r"^features\.(\d+)\.block\.(\d)\.(0|1|fc1|fc2)\.")
    return {rename(block.sub(inside, ours)): theirs for ours, theirs in names.items()}


def timm_mobilenet_v3(names: Mapping[str, str]) -> dict[str, str]:
    """``blocks.2.0.conv_pw`` is the expansion of block 3; or the last layer of one without."""
    pairs = {
        (int(found[1]), int(found[2]))
        for name in names
        if (found := re.match(r"blocks\.(\d+)\.(\d+)\.conv_dw\.", name))
    }
    order = sorted(pairs)
    wide = {pair for pair in order if f"blocks.{pair[0]}.{pair[1]}.conv_pwl.weight" in names}
    first = ("expand", "depthwise", "project")
    layers = {"conv_pw": 0, "conv_dw": 1, "conv_pwl": 2, "bn1": 0, "bn2": 1, "bn3": 2}
    gates = {"se.conv_reduce": "gate.conv1", "se.conv_expand": "gate.conv2"}

    def inside(match: re.Match[str]) -> str:
        pair, part = (int(match[1]), int(match[2])), match[3]
        if pair not in pairs:
            return f"last.{'conv' if part == 'conv' else 'bn'}."
        block = f"blocks.{order.index(pair)}"
        if part in gates:
            return f"{block}.{gates[part]}."
        kind = "bn" if part.startswith("bn") else "conv"
        layer = layers.get(part, 0)
        if pair not in wide:
            layer = {"conv_dw": 1, "conv_pw": 2, "bn1": 1, "bn2": 2}.get(part, 0)
        return f"{block}.{first[layer]}.{kind}."

    rename = renamer(
        (r"^conv_stem\.", "stem.conv."), (r"^bn1\.", "stem.bn."), (r"^conv_head\.", "hidden.")
    )
    block = re.compile(r"^blocks\.(\d+)\.(\d+)\.(conv\w*|bn\d|se\.conv_\w+)\.")
    return {rename(block.sub(inside, ours)): theirs for ours, theirs in names.items()}


def flat_numbers(names: Mapping[str, str]) -> dict[str, str]:
    """Number the layers of inverted residuals through, and name the classifier of MobileNetV2."""
    if "features.0.0.weight" not in names:
        return dict(names)
    nested = any(re.match(r"features\.\d+\.conv\.0\.0\.", name) for name in names)
    result = {}
    for ours, theirs in names.items():
        flat = re.sub(r"^(features)\.(\d+)\.conv\.(\d)(\.[01])?\.", _number, ours)
        ours = flat if nested else ours
        result[re.sub(r"^(fc|classifier\.1)\.", "classifier.", ours)] = theirs
    return result


def _number(match: re.Match[str]) -> str:
    """Torchvision puts a convolution and its batch norm into a list, all but the last ones."""
    feature, layer, inner = int(match[2]), int(match[3]), match[4]
    if inner is not None:
        number = 3 * layer + int(inner[1:])
    else:
        number = layer + (2 if feature == 1 else 4)  # the first has no expansion in front
    return f"features.{feature}.conv.{number}."
