"""Small networks under the names that other implementations give their tensors."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from tsm_ref.graph import Graph
from tsm_ref.models import ResNetSpec, build_mobilenet_v2, build_resnet, random_weights
from tsm_ref.profile import ShiftRule

Tensors = dict[str, Any]
Rename = Callable[[str], str]

BASIC = ResNetSpec((2, 1, 1, 1), width=16)
BOTTLENECK = ResNetSpec((1, 2, 1, 1), bottleneck=True, width=8)


def resnet(spec: ResNetSpec = BASIC, placement: str = "blockres", **more: Any) -> Graph:
    return build_resnet(spec, num_classes=5, placement=placement, **more)


def mobilenet(shift: ShiftRule | None = None) -> Graph:
    return build_mobilenet_v2(num_classes=5, width=0.35, shift=shift)


def tensors_of(graph: Graph, rename: Rename, turned: bool = False) -> Tensors:
    """Random weights under other names, two-dimensional as everybody else keeps them."""
    found: Tensors = {}
    for name, values in random_weights(graph, seed=4).items():
        flat = values[:, :, 0] if values.ndim == 5 and ".nl." not in name else values
        found[rename(name)] = flat.T if turned and flat.ndim == 2 else flat
        if rename(name).endswith("running_var"):
            found[rename(name).replace("running_var", "num_batches_tracked")] = np.array(3)
    return found


def marked(graph: Graph, name: str) -> bool:
    """True for the weight of a convolution that reads a shift."""
    shifts = {node.name for node in graph.select("TemporalShift")}
    return any(n.inputs[0] in shifts and n.inputs[1] == name for n in graph.select("Conv"))


def mit(graph: Graph) -> Rename:
    def rename(name: str) -> str:
        name = name.replace(".weight", ".net.weight") if marked(graph, name) else name
        last = re.sub("^(fc|classifier)", "new_fc", name)
        return f"module.{last}" if last != name else f"module.base_model.{name}"

    return rename


def mit_in_place(name: str) -> str:
    name = re.sub(r"^(layer\d\.\d)\.", r"\1.net.", name)
    return f"module.new_fc{name[2:]}" if name.startswith("fc") else f"module.base_model.{name}"


def mmaction2(graph: Graph) -> Rename:
    def rename(name: str) -> str:
        net = ".net" if marked(graph, name) else ""
        name = re.sub(r"conv(\d)\.weight", rf"conv\1.conv{net}.weight", name)
        name = re.sub(r"bn(\d)\.", r"conv\1.bn.", name)
        name = name.replace("downsample.0", "downsample.conv")
        name = name.replace("downsample.1", "downsample.bn")
        return name.replace("fc.", "cls_head.fc_cls.") if "fc." in name else f"backbone.{name}"

    return rename


def mmaction2_in_place(name: str) -> str:
    name = mmaction2(resnet(placement="none"))(name)
    return re.sub(r"^backbone\.(layer\d\.\d)\.", r"backbone.\1.net.", name)


def wrapped(rename: Rename, graph: Graph, kind: str) -> Rename:
    """A block with a non-local one behind it stands in a wrapper, with it."""
    behind = {name.partition(".nl.")[0] for name in graph.parameters if ".nl." in name}

    def rename_all(name: str) -> str:
        block, _, part = name.partition(".nl.")
        if part and kind == "MIT":
            for ours, theirs in (("g", "g.0"), ("phi", "phi.0"), ("W", "W.0"), ("bn", "W.1")):
                part = re.sub(rf"^{ours}\.", f"{theirs}.", part)
            return f"module.base_model.{block}.nl.{part}"
        if part:
            for ours, theirs in (
                ("g", "g.0.conv"), ("phi", "phi.0.conv"), ("theta", "theta.conv"),
                ("W", "conv_out.conv"), ("bn", "conv_out.bn"),
            ):  # fmt: skip
                theirs = theirs.replace(".0", "") if kind == "MM flat" else theirs
                part = re.sub(rf"^{ours}\.", f"{theirs}.", part)
            return f"backbone.{block}.non_local_block.{part}"
        theirs = rename(name)
        block = ".".join(name.split(".")[:2])
        return theirs.replace(f"{block}.", f"{block}.block.") if block in behind else theirs

    return rename_all


def mmaction2_mobilenet(graph: Graph) -> Rename:
    """Features 1 to 17 are seven layers of 1, 2, 3, 4, 3, 3 and 1 blocks."""
    places = [(s + 1, b) for s, count in enumerate((1, 2, 3, 4, 3, 3, 1)) for b in range(count)]

    def rename(name: str) -> str:
        if name.startswith("classifier"):
            return name.replace("classifier", "cls_head.fc_cls")
        feature, rest = re.fullmatch(r"features\.(\d+)\.(.+)", name).groups()  # type: ignore[union-attr]
        if feature in ("0", "18"):
            layer = "conv1" if feature == "0" else "conv2"
            kind = "conv" if rest.startswith("0.") else "bn"
            return f"backbone.{layer}.{kind}.{rest[2:]}"
        stage, block = places[int(feature) - 1]
        _, number, role = rest.split(".")
        layer, kind = int(number) // 3, ("conv", "bn")[int(number) % 3]
        net = "net." if marked(graph, name) else ""
        return f"backbone.layer{stage}.{block}.conv.{layer}.{net}{kind}.{role}"

    return rename


def torchvision_mobilenet(name: str) -> str:
    """Convolution, norm and activation stand in a list of their own, but for the last."""
    name = name.replace("classifier.", "classifier.1.")
    first = r"features\.1\.conv\.(\d)"
    if re.match(first, name):
        new = {"0": "0.0", "1": "0.1", "3": "1", "4": "2"}
        return re.sub(first, lambda m: f"features.1.conv.{new[m[1]]}", name)
    new = {"0": "0.0", "1": "0.1", "3": "1.0", "4": "1.1", "6": "2", "7": "3"}
    return re.sub(r"(features\.\d+\.conv)\.(\d)", lambda m: f"{m[1]}.{new[m[2]]}", name)


def paddle(name: str) -> str:
    name = re.sub(r"^conv1\.", "conv._conv.", name)
    name = re.sub(r"^bn1\.", "conv._batch_norm.", name)
    name = re.sub(r"layer(\d)\.(\d)", lambda m: f"res{int(m[1]) + 1}{'abc'[int(m[2])]}", name)
    name = re.sub(r"\.conv(\d)\.", lambda m: f".conv{int(m[1]) - 1}._conv.", name)
    name = re.sub(r"\.bn(\d)\.", lambda m: f".conv{int(m[1]) - 1}._batch_norm.", name)
    name = name.replace("downsample.0", "short._conv").replace("downsample.1", "short._batch_norm")
    name = name.replace("running_mean", "_mean").replace("running_var", "_variance")
    return f"head.{name}" if name.startswith("fc") else f"backbone.{name}"
