"""The Numba engine: a graph lowered to kernels that were compiled for this machine.

In the order in which a network passes through them::

    lowering       nodes to layers: which kernel, decided by the graph and the size of the pictures
    chains         which layers run together, some frames at a time
    weights        the weights in the orders in which kernels read them
    site           layouts, addresses and zeros: where the layers of one shape are put up
    sources        which frames a layer reads
    emit           one function per kind of layer: to planned kernels
    values         the same for layers without weights, value by value
    pieces         what both are made of
    plan           all layers of a clip, with conversions between: programs and NumPy steps
    step_plan      the same for one frame of a stream, with what it remembers
    steps          runs that for streams
    whole_inputs   where quantised layers read, and the work that planning makes of one
    whole_sums     those with weights: convolutions and matrix products
    whole_values   those without
    whole_chains   those that are carried out as one: inverted residual blocks
    whole_numbers  quantised networks, by steps over the plain layout of the NumPy engine
    bfloat16       networks that multiply in it, in the same way
    crew           the threads that run a program together
    engine         keeps plans, runs clips
"""
