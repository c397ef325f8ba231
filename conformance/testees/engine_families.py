"""The families of networks as graphs of tsm_ref, narrow ones, with the weights of a case."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from conformance.questions.arrays import Array
from conformance.questions.conventions import Conventions
from conformance.testees.engine_graphs import FreeRule, Weights
from tsm_ref.graph import Graph
from tsm_ref.models import (
    CLIP_RESNETS,
    MobileOneSpec,
    ResNetSpec,
    build_big_small,
    build_bn_inception,
    build_c3d,
    build_clip_resnet,
    build_eco_lite,
    build_efficient_phys,
    build_i3d,
    build_mobilenet_v3,
    build_mobileone,
    build_p3d,
    build_pp_lcnet,
    build_resnet,
    build_rfcn,
    build_s3d,
    build_ts_can,
)
from tsm_ref.models.mobilenet_v3 import Row
from tsm_ref.models.mobileone import reparameterized
from tsm_ref.models.weights import FIXED
from tsm_ref.passes.relations import with_relations

Attributes = Mapping[str, Any]


def network(a: Attributes, conventions: Conventions, frames: int) -> Graph:
    """The graph of a network of one of the families; `frames` are those of a clip."""
    rule: Any = FreeRule(conventions, a["fold_div"])
    rule.fill = a.get("fill", rule.fill)
    return _BUILDERS[a["architecture"]](a, rule, frames)


def inputs(graph: Graph, x: Array, a: Attributes) -> dict[str, Array]:
    """The inputs of a graph: the first one is `x`, others are told as attributes are."""
    first, *others = (entry.name for entry in graph.inputs)
    return {first: x, **{name: a[name] for name in others}}


def joined(graph: Graph, values: Mapping[str, Array]) -> Array:
    """All outputs, one behind the other."""
    found = [values[name] for name in graph.outputs]
    if len(found) == 1:
        return found[0]
    return np.concatenate([y if y.ndim > 2 else y[:, None] for y in found], axis=1)


def tensors(graph: Graph, weights: Weights) -> dict[str, Array]:
    """The weights of a case as the graph has them: kernels with an axis of time, fixed ones too."""
    own = {k: v[:, :, None] if v.ndim == 4 else v for k, v in weights.items()}
    if any(".branch_reparam." in name for name in graph.parameters):
        return reparameterized(graph, own)
    found = {}
    for name, shape in graph.parameters.items():
        value = FIXED[name](shape) if name in FIXED else own[name]
        if name.startswith("attention.fc"):
            value = value.reshape(shape)
        if value.shape != shape:
            raise ValueError(f"`{name}` has shape {value.shape}; {shape} is needed")
        found[name] = value
    return found


def _residual(a: Attributes, rule: Any, frames: int) -> Graph:
    attention: dict[str, Any] = dict.fromkeys(a.get("non_local", ()), a.get("mode", ""))
    graph = build_resnet(
        _spec(a),
        num_classes=a["classes"],
        placement=a["placement"] if a["shifted"] else "none",
        shift=rule,
        non_local=attention,
        temporal_pool=a.get("temporal_pool", False),
        in_channels=10 if a["architecture"] == "resnet_flow" else 3,
        spatial_shift=a.get("spatial_shift", 0),
    )
    if "relations" not in a:
        return graph
    sizes = {"hidden": a["hidden"], "bottleneck": a["bottleneck"]}
    return with_relations(graph, frames, a["classes"], **sizes)


def _spec(a: Attributes) -> ResNetSpec:
    return ResNetSpec(
        tuple(a["blocks"]),
        a["block"] == "bottleneck",
        a["width"],
        stem_kernel=3 if a.get("deep_stem") else 7,
        deep_stem=a.get("deep_stem", False),
        pool_shortcut=a.get("pool_shortcut", False),
        slope=a.get("slope", 0.0),
        inner=a.get("inner", 1),
        groups=a.get("groups", 1),
    )


def _bninception(a: Attributes, rule: Any, frames: int) -> Graph:
    return build_bn_inception(num_classes=a["classes"], shift=rule, divisor=64 // a["stem"][0])


def _mobilenet_v3(a: Attributes, rule: Any, frames: int) -> Graph:
    rows = tuple(Row(k, h, c, bool(gate), swish, s) for k, h, c, gate, swish, s in a["rows"])
    form = "paddle" if a["expand_all"] else "torchvision"
    return build_mobilenet_v3(rows, num_classes=a["classes"], form=form, shift=rule)


def _mobileone(a: Attributes, rule: Any, frames: int) -> Graph:
    channels, depths, gated = (tuple(a[name]) for name in ("channels", "depths", "gated"))
    spec = MobileOneSpec(channels, depths, gated, a["stem"])
    return build_mobileone(spec, num_classes=a["classes"], shift=rule)


def _pp_lcnet(a: Attributes, rule: Any, frames: int) -> Graph:
    return build_pp_lcnet(
        num_classes=a["classes"],
        width=a["stages"][-1][1] / 1024,
        depths=[row[0] for row in a["stages"]],
        hidden=a["hidden"],
        attention=frames,
        shift=rule,
    )


def _c3d(a: Attributes, rule: Any, frames: int) -> Graph:
    width = a["stages"][0][0]
    return build_c3d(num_classes=a["classes"], width=width, hidden=a["hidden"], size=a["size"])


def _clip_resnet(name: str) -> Callable[[Attributes, Any, int], Graph]:
    spec = CLIP_RESNETS[f"{name}-18"]

    def build(a: Attributes, rule: Any, frames: int) -> Graph:
        own = type(spec)(tuple(a["blocks"]), spec.kinds)
        return build_clip_resnet(own, num_classes=a["classes"], width=a["width"])

    return build


def _i3d(a: Attributes, rule: Any, frames: int) -> Graph:
    return build_i3d(num_classes=a["classes"], blocks=a["blocks"], width=a["width"])


def _p3d(a: Attributes, rule: Any, frames: int) -> Graph:
    sizes = {"width": a["width"], "orders": a["orders"]}
    return build_p3d(a["blocks"], num_classes=a["classes"], **sizes)


def _s3d(a: Attributes, rule: Any, frames: int) -> Graph:
    return build_s3d(num_classes=a["classes"], divisor=64 // a["layers"]["0"][1])


def _eco_lite(a: Attributes, rule: Any, frames: int) -> Graph:
    divisor = 64 // a["stem"][0]
    return build_eco_lite(num_classes=a["classes"], width=a["width"], divisor=divisor)


def _mtts_can(a: Attributes, rule: Any, frames: int) -> Graph:
    return build_ts_can(
        heads=a["heads"],
        shift=rule,
        filters=tuple(a["filters"]),
        hidden=a["hidden"],
        order=a["flatten"].upper(),
    )


def _efficient_phys(a: Attributes, rule: Any, frames: int) -> Graph:
    return build_efficient_phys(shift=rule, filters=tuple(a["filters"]), hidden=a["hidden"])


def _big_small(a: Attributes, rule: Any, frames: int) -> Graph:
    sizes = {"filters": tuple(a["filters"]), "hidden": a["hidden"]}
    return build_big_small(heads=a["heads"], shift=rule, **sizes)


def _rfcn(a: Attributes, rule: Any, frames: int) -> Graph:
    sizes = {name: a[name] for name in ("proposal", "reduced", "bins")}
    return build_rfcn(_spec(a), num_classes=a["classes"], shift=rule, **sizes)


_RESIDUAL = ("nl", "tpool", "vd", "flow", "cross", "trn")
_BUILDERS: Mapping[str, Callable[[Attributes, Any, int], Graph]] = {
    **{f"resnet_{name}": _residual for name in _RESIDUAL},
    "resnext": _residual,
    "bninception": _bninception,
    "mobilenet_v3": _mobilenet_v3,
    "mobilenet_v3_paddle": _mobilenet_v3,
    "mobileone": _mobileone,
    "pp_lcnet": _pp_lcnet,
    "c3d": _c3d,
    **{name: _clip_resnet(name) for name in ("r3d", "mc3", "r2plus1d")},
    "i3d": _i3d,
    "p3d": _p3d,
    "s3d": _s3d,
    "eco_lite": _eco_lite,
    "mtts_can": _mtts_can,
    "efficient_phys": _efficient_phys,
    "big_small": _big_small,
    "rfcn": _rfcn,
}
