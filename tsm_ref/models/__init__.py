"""Architectures written as graphs, one file per family."""

from tsm_ref.models.big_small import build_big_small
from tsm_ref.models.bn_inception import build_bn_inception
from tsm_ref.models.c3d import build_c3d
from tsm_ref.models.eco import build_eco_lite
from tsm_ref.models.flow import flow_filters
from tsm_ref.models.mobilenet_v2 import build_mobilenet_v2
from tsm_ref.models.mobilenet_v3 import build_mobilenet_v3
from tsm_ref.models.mobileone import MOBILEONES, MobileOneSpec, build_mobileone
from tsm_ref.models.p3d import P3DS, build_p3d
from tsm_ref.models.pp_lcnet import build_pp_lcnet
from tsm_ref.models.resnet import RESNETS, NonLocalSpec, ResNetSpec, build_resnet
from tsm_ref.models.resnet_3d import CLIP_RESNETS, build_clip_resnet, build_i3d
from tsm_ref.models.rfcn import MAPS, Maps, build_rfcn
from tsm_ref.models.s3d import build_s3d
from tsm_ref.models.ts_can import build_efficient_phys, build_ts_can
from tsm_ref.models.weights import random_weights
from tsm_ref.models.zoo import (
    ARCHITECTURES,
    Architecture,
    architecture_named,
    build_graph,
    check_options,
    options_of,
)

__all__ = [
    "ARCHITECTURES",
    "CLIP_RESNETS",
    "MAPS",
    "MOBILEONES",
    "P3DS",
    "RESNETS",
    "Architecture",
    "Maps",
    "MobileOneSpec",
    "NonLocalSpec",
    "ResNetSpec",
    "architecture_named",
    "build_big_small",
    "build_bn_inception",
    "build_c3d",
    "build_clip_resnet",
    "build_eco_lite",
    "build_efficient_phys",
    "build_graph",
    "build_i3d",
    "build_mobilenet_v2",
    "build_mobilenet_v3",
    "build_mobileone",
    "build_p3d",
    "build_pp_lcnet",
    "build_resnet",
    "build_rfcn",
    "build_s3d",
    "build_ts_can",
    "check_options",
    "flow_filters",
    "options_of",
    "random_weights",
]
