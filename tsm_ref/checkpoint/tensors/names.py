"""The names that other implementations give their tensors, and ours for the same ones.

Ours are torchvision's: ``layer1.0.conv1.weight``, ``features.3.conv.0.weight``, ``fc.weight``. One
row of `NAMINGS` per family: how its names are recognised, and how one is translated. Some families
mark a shifted layer in its name, which is the only trace that a shift leaves in a file of tensors.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tsm_ref.checkpoint.contents import shown
from tsm_ref.checkpoint.tensors.renaming import (
    MIT_HEADS,
    NON_LOCAL,
    big_small,
    flat_numbers,
    mmaction2_mobilenet,
    mobileone,
    paddle,
    paddlecv,
    pp_tsm_v2,
    pptsm_mobilenet_v2,
    pptsm_mobilenet_v3,
    renamer,
    rppg,
    timm_mobilenet_v3,
    timm_vd,
    torchvision_mobilenet_v3,
)
from tsm_ref.errors import CheckpointError

_IGNORED = re.compile(
    r"(.*\.)?num_batches_tracked|data_preprocessor\..*"
    r"|backbone\.stages\.\d+\.\d+\.dw_conv\.(weight|bias)"
)
"""Counters, what normalises a picture, and a window that is made of its branches for inference."""


@dataclass(frozen=True)
class Naming:
    """How a family of implementations names tensors.

    ``anchor`` begins a name that no other family has, and ``also`` one that must be there besides;
    ``profile`` is that of a file with marked shifts, ``unmarked`` that of one without (empty: the
    names do not tell, a profile must be given). ``turned`` are linear weights stored as (in, out);
    ``by_segments`` is a shift of one channel in as many as there are segments; ``fixed_depth`` is
    a family whose code shifts within one number of frames alone, that of its profile; ``whole``
    renames all names at once, where one alone does not tell its place. ``usual`` are facts about
    this network that are not those of its profile.
    """

    family: str
    anchor: str
    rename: Callable[[str], str]
    profile: str = ""
    unmarked: str = ""
    turned: bool = False
    by_segments: bool = False
    also: str = ""
    fixed_depth: bool = False
    whole: Callable[[Mapping[str, str]], dict[str, str]] = dict
    usual: Mapping[str, Any] = field(default_factory=dict)

    def prefixes(self, names: Iterable[str]) -> list[str]:
        """What stands in front of this family's names, each time that they are there."""
        found: dict[str, None] = {}
        known = set(names) if self.also else frozenset()
        anchor = re.compile(rf"(?:^|(?<=\.)){self.anchor}")
        for name in names:
            match = anchor.search(name)
            if match and (not self.also or name[: match.start()] + self.also in known):
                found[name[: match.start()]] = None
        return list(found)


_BLOCK = r"(net\.|block\.)*"
"""What a shift or a non-local block puts around a block."""

_PADDLE_BLOCK = r"backbone\.(res2a|bb_0_0)\."

CAFFE = {
    "channel_order": "bgr",
    "scale": 1.0,
    "mean": (104.0, 117.0, 128.0),
    "std": (1.0, 1.0, 1.0),
}
"""How pictures are prepared for BNInception, whose first weights were Caffe's."""

NAMINGS = (
    Naming(
        "MIT BNInception",
        r"base_model\.conv1_7x7_s2\.",
        renamer((r"^base_model\.", ""), *MIT_HEADS),
        usual={"placement": "block", **CAFFE},
    ),
    Naming(
        "MIT",
        rf"base_model\.(layer1\.{_BLOCK}0\.{_BLOCK}conv1\.|features\.1\.conv\.)",
        renamer((r"^base_model\.", ""), *MIT_HEADS, *NON_LOCAL),
        profile="mit",
        unmarked="tsn",
        whole=flat_numbers,
    ),
    Naming(
        "MMAction2 MobileNetV2",
        r"backbone\.layer1\.0\.conv\.0\.(net\.)?conv\.",
        mmaction2_mobilenet,
        profile="mmaction2",
        unmarked="tsn",
    ),
    Naming(
        "MMAction2",
        rf"backbone\.layer1\.{_BLOCK}0\.{_BLOCK}conv1\.conv\.",
        renamer(
            (r"^backbone\.conv1\.conv\.", "conv1."),
            (r"^backbone\.conv1\.bn\.", "bn1."),
            (r"^backbone\.", ""),
            *NON_LOCAL,
            (r"^cls_head\.fc_cls\.", "fc."),
            (r"\.conv(\d)\.conv\.", r".conv\1."),
            (r"\.conv(\d)\.bn\.", r".bn\1."),
            (r"\.downsample\.conv\.", ".downsample.0."),
            (r"\.downsample\.bn\.", ".downsample.1."),
        ),
        profile="mmaction2",
        unmarked="tsn",
    ),
    Naming(
        "MMAction2 MobileOne",
        r"backbone\.stage0\.(net\.)?branch_",
        mobileone,
        profile="mmaction2",
        unmarked="tsn",
    ),
    Naming("PaddleVideo", rf"{_PADDLE_BLOCK}conv0\._conv\.", paddle, turned=True, by_segments=True),
    Naming(
        "PaddleVideo PP-TSMv2",
        r"backbone\.stem\.1\.dw_conv\.",
        pp_tsm_v2,
        turned=True,
        by_segments=True,
    ),
    Naming("PaddleCV", r"res2a_branch2a_weights$", paddlecv, turned=True),
    Naming(
        "rPPG-Toolbox TS-CAN", r"apperance_conv1\.weight$", rppg, profile="", unmarked="mtts-can"
    ),
    Naming(
        "rPPG-Toolbox EfficientPhys",
        r"apperance_att_conv1\.weight$",
        rppg,
        unmarked="mtts-can",
        also="batch_norm.weight",
    ),
    Naming(
        "BigSmall",
        r"small_conv1\.weight$",
        big_small,
        unmarked="big-small",
        fixed_depth=True,
        also="big_conv1.weight",
    ),
    Naming(
        "PaddleVideo MobileNetV2",
        r"backbone\.conv2\._first_block\.",
        pptsm_mobilenet_v2,
        turned=True,
        by_segments=True,
    ),
    Naming(
        "PaddleVideo MobileNetV3",
        r"backbone\.blocks\.0\.bottleneck_conv\.",
        pptsm_mobilenet_v3,
        turned=True,
        by_segments=True,
    ),
    Naming(
        "torchvision MobileNetV3",
        r"features\.1\.block\.0\.0\.",
        str,
        whole=torchvision_mobilenet_v3,
    ),
    Naming(
        "timm MobileNetV3",
        r"blocks\.0\.0\.conv_dw\.",
        str,
        also="conv_head.bias",
        whole=timm_mobilenet_v3,
    ),
    Naming("timm ResNet-D", r"conv1\.3\.weight$", timm_vd, also="layer1.0.conv1.weight"),
    Naming(
        "CIFAR ResNet",
        r"layer1\.0\.conv1\.",
        renamer((r"^linear\.", "fc.")),
        unmarked="tsn",
        also="linear.weight",
    ),
    Naming(
        "torchvision or the MIT online demo",
        rf"(layer1\.{_BLOCK}0\.{_BLOCK}conv1\.|features\.1\.conv\.)",
        renamer(*NON_LOCAL),
        whole=flat_numbers,
    ),
)
"""The families, those with the most telling sign first."""


@dataclass(frozen=True)
class Translation:
    """A file's names in our words: which tensor is which, and which layers it marks as shifted.

    ``layers`` are blocks, such as ``layer1.0``; ``placement`` is where in a block the mark stands
    (empty where nothing is marked). ``pooled`` are the stages with a pool over time in front.
    """

    naming: Naming
    names: dict[str, str]
    layers: frozenset[str]
    placement: str
    pooled: frozenset[str] = frozenset()


def begins(names: Iterable[str]) -> list[tuple[str, Naming]]:
    """The networks among the names of one set: what stands in front of each, and its family."""
    kept = [name for name in names if not ignored(name)]
    for naming in NAMINGS:
        prefixes = naming.prefixes(kept)
        if prefixes:
            return [(prefix, naming) for prefix in prefixes]
    return []


def ignored(name: str) -> bool:
    """True for what stands beside the weights of a network and is none of them."""
    return _IGNORED.fullmatch(name) is not None


def translate(names: Iterable[str]) -> Translation:
    """Translate the names of the only network in a file, whatever wraps them.

    Raises `CheckpointError` for a family that is not known.

    >>> found = translate(["module.base_model.layer1.0.conv1.net.weight"])
    >>> found.naming.family, found.names, sorted(found.layers), found.placement
    ('MIT', {'layer1.0.conv1.weight': 'base_model.layer1.0.conv1.net.weight'}, ['layer1.0'], \
'blockres')
    """
    listed = list(names)
    found = begins(listed)
    if not found:
        raise CheckpointError(unknown(listed))
    prefix, naming = found[0]
    return translated(naming, [n.removeprefix(prefix) for n in listed if n.startswith(prefix)])


def unknown(names: list[str]) -> str:
    """Why names are of no known family, as a sentence."""
    first = f"the first is {shown(names[0])}" if names else "there are none"
    known = ", ".join(dict.fromkeys(naming.family.split()[0] for naming in NAMINGS))
    return f"no known implementation has these tensors ({first}); known are those of {known}"


def translated(naming: Naming, names: Iterable[str]) -> Translation:
    """Translate the names of a family; raises `CheckpointError` where two mean the same tensor."""
    kept = [name for name in names if not ignored(name)]
    found: dict[str, str] = {}
    layers: set[str] = set()
    placements: set[str] = set()
    pooled: set[str] = set()
    for name in kept:
        stage = re.sub(r"\b(layer\d)\.net\.(?=\d)", r"\1.", name)
        if stage != name:
            pooled.update(re.findall(r"layer\d", stage)[:1])
        plain = stage
        if ".net." in stage:
            plain = stage.replace(".net.", ".", 1)
            placements.add("block" if re.search(r"layer\d\.\d+\.net\.", stage) else "blockres")
        ours = naming.rename(plain)
        if plain != stage:
            layers.add(".".join(ours.split(".")[:2]))
        if ours in found:
            both = f"{shown(found[ours])} and {shown(name)}"
            raise CheckpointError(f"the tensors {both} are the same one here")
        found[ours] = name
    if len(placements) > 1:
        raise CheckpointError("the names mark shifts before blocks and before convolutions")
    return Translation(
        naming,
        naming.whole(found),
        frozenset(layers),
        "".join(placements),
        frozenset(pooled),
    )
