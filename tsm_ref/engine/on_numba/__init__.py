"""The Numba engine: a graph lowered to kernels that were compiled for this machine."""
