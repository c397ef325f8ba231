"""Kernels for the Numba engine: they know arrays and addresses, not graphs.

::

    loops              every layer as plain loops over NCTHW: read these first
    loops_of_values    activations, sums and attention in the same way
    loops_of_integers  quantised layers: sums of whole numbers, then one step
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
    integer_units      what multiplies whole numbers, and which of it this processor has
    bfloat16_units     what multiplies bfloat16, and which of it this processor has
    bfloat16_tile      bfloat16: the tile
    bfloat16_pack      what it reads, rounded
    bfloat16_conv      convolutions of bfloat16
    integer_tile       quantised layers: the tile, and how a sum becomes a byte
    amx                its products by the tiles of AMX
    integer_bytes      its products of bytes where there is no VNNI
    integer_pack       what such tiles read, from where a shift finds it
    integer_conv       convolutions of whole numbers
    integer_winograd   3x3 with fewer multiplications, and still exact
    integer_depthwise  depthwise, plane by plane
    integer_blocks     channels in blocks of 16: what a fused block of layers works on
    integer_planes     planes made into such blocks, and back
    integer_inverted   expand, depthwise and project of MobileNetV2 in whole numbers, in one pass
    integer_pool       the largest of every window
    integer_values     sums, products, tables, means, and rounding to 8 bits
    inverted           expand, depthwise and project of MobileNetV2 in one pass
    resize             8-bit pictures made smaller or larger, as Pillow and OpenCV do
    regions            offsets, suppression and pooling of a detector's boxes
    planes             the same straight from the planes of a decoder
    pool, move         pooling; copies and conversion of the layout
    plans              a planned layer: the record that a kernel reads
    program            a planned network, run by one or more threads inside one compiled call
    cache              where compiled code is kept between runs
    store              the files in it, each with a checksum
    notice             tells whoever asks that kernels are being compiled
"""
