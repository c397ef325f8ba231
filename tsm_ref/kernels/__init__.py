"""Kernels for the Numba engine: they know arrays and addresses, not graphs.

::

    loops              every layer as plain loops over NCTHW: read these first
    loops_of_values    activations, sums and attention in the same way
    machine            vector length and tile sizes of the processor
    vector             LLVM vector instructions by name
    microkernel        the matrix tile in registers, from which every dense layer is made
    blocked            the layout inside the engine, NCTHW with blocks of 16 channels
    tables             groups of pixels and segments of inputs: what makes the tile a convolution
    conv               table-driven convolution: 1x1, strided, 3x3, stems, temporal taps and shifts
    winograd           3x3 with fewer multiplications
    depthwise          one filter for each channel, behind a temporal shift too
    elementwise        sums, products, gates and copies, value by value
    activation         tanh, sigmoid and others that are not clamps
    integer/           quantised layers: sums of whole numbers, and how one becomes a byte
    bfloat16/          convolutions of bfloat16
    amx                products of both by the tiles of AMX
    inverted           expand, depthwise and project of MobileNetV2 in one pass
    resize             8-bit pictures made smaller or larger, as Pillow and OpenCV do
    planes             the same straight from the planes of a decoder
    regions            offsets, suppression and pooling of a detector's boxes
    pool, move         pooling; copies and conversion of the layout
    plans              a planned layer: the record that a kernel reads
    program            a planned network, run by one or more threads inside one compiled call
    cache              where compiled code is kept between runs
    store              the files in it, each with a checksum
    notice             tells whoever asks that kernels are being compiled
"""
