"""The reference: TSM in NumPy, plain enough to be read beside the paper, exact enough to judge by.

Beside the paper (Lin, Gan, Han, ICCV 2019), in its order:

==============================  ==================================================================
section 3.1, a shift is a       `temporal_shift`, `temporal_shift_by_convolution`,
convolution                     `temporal_shift_by_multiply_accumulate`, `shift_into_conv3d_weight`
section 3, figure 3             `in_place_shift` (a), `residual_shift` (b)
section 4.1, offline models     `folds_mit`, `consensus`
section 4.2, online models      `folds_online`, `is_causal`, `initial_cache`, `temporal_shift_step`
section 5, the networks         `conv`, `batch_norm`, `relu`, `max_pool`, `linear`, `non_local`
section 5, object detection     `anchors`, `decode_boxes`, `nms`, `ps_roi_pool`, `vote`
==============================  ==================================================================

Files: ``shift`` first, then ``folds`` and ``blocks``, ``spatial`` for its extension to height and
width; ``ops`` and ``pool`` are the layers around them, ``quantised`` the same layers of whole
numbers, ``litert`` how LiteRT rounds some of them and ``dynamic`` those that choose their steps at
run time, ``detection`` what makes boxes of maps; ``rounding``, ``bounded`` and ``bounds`` are what
any tolerance is derived from. How other implementations differ from the paper:
``docs/conventions.md``.

Arrays are (N, C, T, H, W). A shift is one integer per channel (`temporal_shift`, `folds_*`). Every
function returns the dtype it was given; `bounds` says how far another implementation may be away.
"""

from tsm_ref.reference.blocks import in_place_shift, residual_shift
from tsm_ref.reference.detection import (
    anchors,
    clip_boxes,
    decode_boxes,
    encode_boxes,
    iou,
    nms,
    ps_roi_pool,
    vote,
)
from tsm_ref.reference.folds import (
    folds_mit,
    folds_mtts_can,
    folds_online,
    folds_online_double,
    folds_paddle,
    folds_roll,
)
from tsm_ref.reference.ops import (
    attention_mask,
    batch_norm,
    consensus,
    conv,
    frame_tuple,
    hard_sigmoid,
    hard_swish,
    leaky_relu,
    linear,
    log_softmax,
    non_local,
    relu,
    relu6,
    sigmoid,
    softmax,
    tanh,
)
from tsm_ref.reference.pool import avg_pool, global_avg_pool, max_pool
from tsm_ref.reference.shift import (
    FILLS,
    initial_cache,
    is_causal,
    shift_as_depthwise_kernel,
    shift_into_conv3d_weight,
    temporal_shift,
    temporal_shift_adjoint,
    temporal_shift_by_convolution,
    temporal_shift_by_multiply_accumulate,
    temporal_shift_step,
)
from tsm_ref.reference.spatial import (
    conv_by_spatial_shifts,
    cross_folds,
    spatial_shift,
    spatial_shift_adjoint,
    spatial_shift_into_conv_weight,
)

__all__ = [
    "FILLS",
    "anchors",
    "attention_mask",
    "avg_pool",
    "batch_norm",
    "clip_boxes",
    "consensus",
    "conv",
    "conv_by_spatial_shifts",
    "cross_folds",
    "decode_boxes",
    "encode_boxes",
    "folds_mit",
    "folds_mtts_can",
    "folds_online",
    "folds_online_double",
    "folds_paddle",
    "folds_roll",
    "frame_tuple",
    "global_avg_pool",
    "hard_sigmoid",
    "hard_swish",
    "in_place_shift",
    "initial_cache",
    "iou",
    "is_causal",
    "leaky_relu",
    "linear",
    "log_softmax",
    "max_pool",
    "nms",
    "non_local",
    "ps_roi_pool",
    "relu",
    "relu6",
    "residual_shift",
    "shift_as_depthwise_kernel",
    "shift_into_conv3d_weight",
    "sigmoid",
    "softmax",
    "spatial_shift",
    "spatial_shift_adjoint",
    "spatial_shift_into_conv_weight",
    "tanh",
    "temporal_shift",
    "temporal_shift_adjoint",
    "temporal_shift_by_convolution",
    "temporal_shift_by_multiply_accumulate",
    "temporal_shift_step",
    "vote",
]
