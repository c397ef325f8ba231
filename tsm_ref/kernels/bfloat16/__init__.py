"""Kernels of bfloat16: products of numbers of 16 bits, in sums of float32.

::

    units  what multiplies them, and which of it this processor has
    tile   the tile of sums in registers
    pack   what such tiles read, rounded on the way
    conv   convolutions
"""
