"""Kernels of quantised layers: bytes are multiplied into exact sums, and sums become bytes.

::

    loops      every layer as plain loops: read these first
    units      what multiplies whole numbers, and which of it this processor has
    bytes      products of bytes where there is no VNNI
    tile       the tile of sums in registers, and how a sum becomes a byte
    pack       what such tiles read, from where a shift finds it
    conv       convolutions
    winograd   3x3 with fewer multiplications, and still exact
    depthwise  one filter for each channel, plane by plane
    pool       the largest of every window
    values     sums, products, tables, means, and rounding to 8 bits
    rules      sums and means as LiteRT rounds them
    blocks     channels in blocks of 16: what a fused block of layers works on
    planes     planes made into such blocks, and back
    inverted   expand, depthwise and project of MobileNetV2, in one pass
"""
