"""ECO-Lite (Zolfaghari et al. 2018): the beginning of BNInception, and residual 3x3x3 behind it.

Every frame goes through BNInception up to 96 channels of its block 3c; what comes out is a clip for
the second half of a residual network of 18 layers, whose blocks are normed before they convolve.
"""

from tsm_ref.graph import Graph
from tsm_ref.models.bn_inception import BLOCKS, beginning, conv_norm_relu
from tsm_ref.models.builder import Builder


def build_eco_lite(
    *, num_classes: int, width: int = 128, divisor: int = 1, name: str = "eco-lite"
) -> Graph:
    """ECO-Lite over ``x`` (N, 3, T, H, W) with logits (N, num_classes).

    ``width`` are the channels of the first blocks in time, ``divisor`` makes the layers in front of
    them as many times narrower.

    The second and the third stage halve the frames. With the rest of BNInception beside it, it is
    the whole ECO, of which Lin, Gan, Han 2019, table 2, tell 47.5 M parameters.

    >>> build_eco_lite(num_classes=400).parameter_count
    37503856
    """
    b = Builder(name)
    x = beginning(b, b.input("x", ("N", 3, "T", "H", "W")), ("3a", "3b"), divisor=divisor)
    spec, place = BLOCKS["3c"].narrower(divisor), "inception_3c"
    x = conv_norm_relu(b, x, f"{place}_double_3x3_reduce", spec.double_reduced)
    x = conv_norm_relu(b, x, f"{place}_double_3x3_1", spec.double, kernel=3)
    skip = _conv(b, x, "res3a_2", width)
    for stage in (3, 4, 5):
        place = f"res{stage}"
        if stage > 3:
            y = _conv(b, x, f"{place}a_1", width * 2 ** (stage - 3), stride=2)
            y = _conv(b, b.norm_relu(y, f"{place}a_1_bn"), f"{place}a_2", b.channels(y))
            down = _conv(b, x, f"{place}a_down", b.channels(y), stride=2)
            skip = b.add(y, down, f"{place}a")
        x = b.norm_relu(skip, f"{place}a_bn")
        y = _conv(b, x, f"{place}b_1", b.channels(x))
        y = _conv(b, b.norm_relu(y, f"{place}b_1_bn"), f"{place}b_2", b.channels(x))
        x = b.norm_relu(b.add(y, skip, f"{place}b"), f"{place}b_bn")
    return b.graph([b.head(x, "fc", num_classes)])


def _conv(b: Builder, x: str, name: str, channels: int, stride: int = 1) -> str:
    more = {"kernel": 3, "padding": 1, "frames": 3, "stride": stride, "step": stride}
    return b.conv(x, name, channels, bias=True, **more)
