"""The NumPy engine: a graph run in one arena, from NumPy alone.

::

    conv          convolutions as matrix products of T*H*W columns
    frames        reading frames through a shift
    activations   applied in place on a block of an output
    quantised     layers of whole numbers, exactly, from products of float32
    bfloat16      rounding to it
    ops           every other op, and the table of all
    steps         runs a step graph for streams
    blas          how many threads matrix products take
    engine        keeps plans, runs clips
"""
