"""Graph-to-graph passes, one file each: a pass takes a graph and its weights and returns both."""

from tsm_ref.passes.fold_batch_norm import fold_batch_norm
from tsm_ref.passes.fuse import fuse
from tsm_ref.passes.optimize import optimize
from tsm_ref.passes.streaming import streaming

__all__ = ["fold_batch_norm", "fuse", "optimize", "streaming"]
