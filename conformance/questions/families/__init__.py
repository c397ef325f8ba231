"""The families of networks beside ResNet, MobileNetV2 and TS-CAN, written as `structure` is.

- `layers`: layers by name, whose weights are drawn as they are asked for
- `residual`, `pictures`, `clips`, `faces`, `objects`: the families by what they look at

A network is told by its attributes, numbers of channels and all; nothing of it is a table here.
"""

from collections.abc import Mapping
from typing import Any

from conformance.questions.families.clips import Clips
from conformance.questions.families.faces import Faces
from conformance.questions.families.layers import Drawn
from conformance.questions.families.objects import Objects
from conformance.questions.structure import Structure, Weights

FAMILIES: Mapping[str, str] = {
    **dict.fromkeys(
        ("resnet_nl", "resnet_tpool", "resnet_vd", "resnext", "resnet_flow", "resnet_cross"),
        "residual",
    ),
    "resnet_trn": "relational",
    **{name: name for name in ("bninception", "mobilenet_v3", "mobileone", "pp_lcnet", "c3d")},
    "mobilenet_v3_paddle": "mobilenet_v3",
    **dict.fromkeys(("r3d", "mc3", "r2plus1d"), "clip_resnet"),
    **{name: name for name in ("i3d", "p3d", "s3d", "eco_lite")},
    **{name: name for name in ("mtts_can", "efficient_phys", "big_small", "rfcn")},
}
"""The architectures that are asked of those who name them, and which function each of them is."""

ARCHITECTURES = ("resnet", "mobilenet_v2", "ts_can", "shift", *FAMILIES)
"""What a testee may be."""


class Families(Clips, Faces, Objects):
    """Every network of the suite."""

    def network(self, x: Any, weights: Weights, **attributes: Any) -> Any:
        """Logits (N, K), or what else a family answers with."""
        name = FAMILIES.get(attributes["architecture"])
        if name is None:
            return Structure.network(self, x, weights, **attributes)
        return getattr(self, name)(x, weights, **attributes)


__all__ = ["ARCHITECTURES", "FAMILIES", "Drawn", "Families"]
