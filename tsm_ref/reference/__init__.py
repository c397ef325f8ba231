"""The oracle: TSM in NumPy, plain enough to be read beside the paper, exact enough to judge others.

Arrays are (N, C, T, H, W). A shift is one integer per channel (`temporal_shift`, `folds_*`). Every
function returns the dtype it was given; `bounds` says how far another implementation may be away.
"""

from tsm_ref.reference.blocks import in_place_shift, residual_shift
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
    hard_sigmoid,
    hard_swish,
    leaky_relu,
    linear,
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

__all__ = [
    "FILLS",
    "attention_mask",
    "avg_pool",
    "batch_norm",
    "consensus",
    "conv",
    "folds_mit",
    "folds_mtts_can",
    "folds_online",
    "folds_online_double",
    "folds_paddle",
    "folds_roll",
    "global_avg_pool",
    "hard_sigmoid",
    "hard_swish",
    "in_place_shift",
    "initial_cache",
    "is_causal",
    "leaky_relu",
    "linear",
    "max_pool",
    "non_local",
    "relu",
    "relu6",
    "residual_shift",
    "shift_as_depthwise_kernel",
    "shift_into_conv3d_weight",
    "sigmoid",
    "softmax",
    "tanh",
    "temporal_shift",
    "temporal_shift_adjoint",
    "temporal_shift_by_convolution",
    "temporal_shift_by_multiply_accumulate",
    "temporal_shift_step",
]
