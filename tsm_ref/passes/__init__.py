"""Graph-to-graph passes, one file each: a pass takes a graph and its weights and returns both.

::

    fold_batch_norm   a batch norm disappears into the convolution before it
    fuse              shift, convolution, residual and activation become one node
    optimize          both, as every engine runs them first
    bfloat16    convolutions multiply numbers of bfloat16
    whole_numbers     dequantize - layer - quantize becomes a layer of whole numbers
    streaming         a graph over clips becomes one over single frames, with state
    features          a graph cut in front of its head, or at any other layer
    relations         TRN's head in the place of the average over time
    windows           which frames of its input a node reads, for streaming
    extents           sizes as formulas: do two values always have the same shape
"""

from tsm_ref.passes.fold_batch_norm import fold_batch_norm
from tsm_ref.passes.fuse import fuse
from tsm_ref.passes.optimize import optimize
from tsm_ref.passes.streaming import streaming
from tsm_ref.passes.whole_numbers import whole_numbers

__all__ = ["fold_batch_norm", "fuse", "optimize", "streaming", "whole_numbers"]
