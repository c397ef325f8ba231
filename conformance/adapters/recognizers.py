"""Adapters of whole recognition networks: MIT's TSN with shifts, and AutoVideo's way to it.

Their classes put shifts into a backbone, make the head, and run it. The backbone has the blocks and
the widths that a case asks for: torchvision's own residual blocks, or their inverted ones.
"""

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from conformance.adapters.pytorch import LAYOUT, namespace, tensor
from conformance.adapters.taking import take
from conformance.questions.arrays import Array

Attributes = Mapping[str, Any]
Weights = Mapping[str, Array]

ABSENT = ("nms", "qnms")
"""Operators that a torchvision made for another PyTorch cannot load, and that no ResNet uses."""


def torchvision() -> Any:
    """The package, imported beside a PyTorch that it was not compiled for if need be."""
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ABSENT:
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    import torchvision

    torchvision.operators_without_code = library  # they vanish with it
    return torchvision


class Recognizer:
    """MIT's network class over a backbone of the sizes of a case."""

    def __init__(self, folder: Path, architecture: str, **told: Any) -> None:
        self.folder = folder
        torchvision()  # takes seconds, which are not those of the first answer
        capabilities = {
            "layout": LAYOUT,
            "operations": ["network"],
            "architectures": [architecture],
        }
        self.declaration = {**told, "capabilities": capabilities}

    def network(self, x: Array, weights: Weights, segments: int, **a: Any) -> Any:
        """Their network with the weights of a case."""
        import torch

        with redirect_stdout(StringIO()), torch.no_grad():
            net = self.built(weights, segments, a)
            net.eval()  # theirs returns nothing
            last = "classifier" if "classifier.weight" in weights else "fc"
            net.new_fc = torch.nn.Linear(*reversed(weights[f"{last}.weight"].shape))
            net.new_fc.weight[:] = tensor(weights[f"{last}.weight"])
            net.new_fc.bias[:] = tensor(weights[f"{last}.bias"])
            return net(tensor(x))

    def built(self, weights: Weights, segments: int, a: Attributes) -> Any:
        """Their class, told to shift or not, with its backbone."""
        mobile = a["architecture"] == "mobilenet_v2"
        named = {
            "base_model": "mobilenetv2" if mobile else "resnet50",
            "is_shift": a.get("shifted", True),
            "shift_div": a["fold_div"],
            "shift_place": a.get("placement", "blockres"),
            "pretrain": "",
            "print_spec": False,
        }
        return self._class(weights, a)(a["classes"], segments, "RGB", **named)

    def _class(self, weights: Weights, a: Attributes) -> Any:
        ops, archs = self.folder / "ops", self.folder / "archs"
        mobile = take(archs / "mobilenet_v2.py", MOBILE, {**namespace(), "math": None})
        make: Callable[..., Any] = mobilenet if a["architecture"] == "mobilenet_v2" else resnet
        body = loaded(make(mobile, a, weights), weights)
        offered = {"mobilenet_v2": lambda _: body, "InvertedResidual": mobile.InvertedResidual}
        as_module("archs.mobilenet_v2", **offered)
        as_module("ops.temporal_shift", **vars(shifts(ops / "temporal_shift.py")))
        head = take(ops / "basic_ops.py", HEAD, namespace())
        names = {**backbone(body), "ConsensusModule": head.ConsensusModule}
        network = take(ops / "models.py", ["TSN"], names).TSN
        network.print_spec = False  # a MobileNetV2 reads it, and nothing sets it
        return network


class AutoVideo(Recognizer):
    """AutoVideo's network as its own `_init_model` makes it where pretrained weights are wanted."""

    def built(self, weights: Weights, segments: int, a: Attributes) -> Any:
        """Their network with a checkpoint loaded; the head is made anew behind it, as they do."""
        if (a["fold_div"], a["placement"]) != (8, "blockres"):
            raise NotImplementedError("AutoVideo shifts an eighth of the channels, in the branch")
        import torch

        body = resnet(None, a, weights)
        package = "autovideo_recognition"
        as_module(f"{package}.tsm_utils.temporal_shift", **vars(shifts(
            self.folder / "tsm_utils" / "temporal_shift.py")))  # fmt: skip
        held = {k: tensor(v) for k, v in weights.items() if not k.startswith("fc.")}
        wide = {"weight": torch.zeros(400, body.fc.in_features), "bias": torch.zeros(400)}
        checkpoint = {f"module.base_model.{k}": v for k, v in held.items()}
        checkpoint |= {f"module.new_fc.{k}": v for k, v in wide.items()}
        names = {
            **backbone(body),
            "__package__": package,
            "torch": Reading(torch, {"state_dict": checkpoint}),
            "pretrained_url": "TSM_kinetics_RGB_resnet50",
            "pretrained_path": "",
            "logger": SimpleNamespace(info=print),
        }
        found = take(
            self.folder / "tsm_primitive.py", ["TSM", "TSMPrimitive._init_model", *HEAD], names
        )
        primitive = SimpleNamespace(
            hyperparams={"num_segments": segments, "modality": "RGB"},
            device="cpu",
            _outputs=SimpleNamespace(values=list(range(a["classes"]))),
        )
        found._init_model(primitive, pretrained=True)
        return primitive.model


class Reading:
    """PyTorch, whose `load` gives one checkpoint."""

    def __init__(self, torch: Any, checkpoint: Any) -> None:
        self._torch, self._checkpoint = torch, checkpoint

    def __getattr__(self, name: str) -> Any:
        return getattr(self._torch, name)

    def load(self, *_: Any, **__: Any) -> Any:
        """What a file would hold."""
        return self._checkpoint


MOBILE = ["conv_bn", "conv_1x1_bn", "InvertedResidual", "MobileNetV2"]
HEAD = ["Identity", "SegmentConsensus", "ConsensusModule"]


def shifts(file: Path) -> Any:
    """Their shift, and the function that puts it into a ResNet."""
    torchvision()
    return take(file, ["TemporalShift", "make_temporal_shift"], namespace())


def as_module(name: str, **names: Any) -> None:
    """A module of these names, for functions of theirs that import it when they are called."""
    parts = name.split(".")
    for i in range(1, len(parts)):
        parent = sys.modules.setdefault(".".join(parts[:i]), ModuleType(parts[i - 1]))
        parent.__path__ = []
    sys.modules[name] = ModuleType(name)
    vars(sys.modules[name]).update(names)


def backbone(body: Any) -> dict[str, Any]:
    """What their file imports, with a torchvision whose ResNet-50 is this body."""
    import numpy as np
    from torch.nn import init

    models = SimpleNamespace(resnet50=lambda _: body)
    return {
        **namespace(),
        "np": np,
        "normal_": init.normal_,
        "constant_": init.constant_,
        "torchvision": SimpleNamespace(models=models),
    }


def loaded(body: Any, weights: Weights) -> Any:
    """The body with the weights of a case; raises ValueError where they do not fit."""
    missing = body.load_state_dict({k: tensor(v) for k, v in weights.items()}, strict=False)
    if missing.unexpected_keys or any("batches" not in key for key in missing.missing_keys):
        raise ValueError(f"the weights do not fit: {missing}")
    return body


def resnet(_: Any, a: Attributes, weights: Weights) -> Any:
    """A ResNet of torchvision with the blocks of a case; stages that it lacks are empty."""
    from torch import nn

    kinds = torchvision().models.resnet
    block = {"basic": kinds.BasicBlock, "bottleneck": kinds.Bottleneck}[a["block"]]
    net = kinds.ResNet.__new__(kinds.ResNet)
    nn.Module.__init__(net)
    width, kernel = a["width"], a["stem_kernel"]
    step = 2 if kernel == 7 else 1
    net.conv1 = nn.Conv2d(3, width, kernel, step, kernel // 2, bias=False)
    net.bn1, net.relu = nn.BatchNorm2d(width), nn.ReLU()
    net.maxpool = nn.MaxPool2d(3, 2, 1) if a["stem_pool"] else nn.Identity()
    channels = width
    for stage in range(4):
        planes, blocks = width * 2**stage, []
        for i in range(a["blocks"][stage] if stage < len(a["blocks"]) else 0):
            stride, skip = 2 if i == 0 and stage else 1, None
            if f"layer{stage + 1}.{i}.downsample.0.weight" in weights:
                wide = planes * block.expansion
                point = nn.Conv2d(channels, wide, 1, stride, bias=False)
                skip = nn.Sequential(point, nn.BatchNorm2d(wide))
            blocks.append(block(channels, planes, stride, skip))
            channels = planes * block.expansion
        setattr(net, f"layer{stage + 1}", nn.Sequential(*blocks))
    net.avgpool, net.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(channels, a["classes"])
    return net


def mobilenet(their: Any, a: Attributes, weights: Weights) -> Any:
    """Their MobileNetV2 with the blocks of a case."""
    from torch import nn

    first, *outputs, last = a["channels"]
    features, channels = [their.conv_bn(3, first, 2)], first
    for expansion, out, stride in zip(a["expansions"], outputs, a["strides"], strict=True):
        features.append(their.InvertedResidual(channels, out, stride, expansion))
        channels = out
    net = their.MobileNetV2.__new__(their.MobileNetV2)
    nn.Module.__init__(net)
    net.features = nn.Sequential(*features, their.conv_1x1_bn(channels, last))
    net.classifier = nn.Linear(last, a["classes"])
    return net
