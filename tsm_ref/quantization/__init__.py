"""Makes a quantised network of a float one, from clips of one's own, and measures what it costs.

::

    ranges     what values reach on clips, and the steps that are chosen from that
    equalise   channels that share their steps are brought to like ranges
    place      where values are rounded to whole numbers, and the weights of the layers between
    report     what was lost, and what it brought
    quantize   all of it in order
"""

from tsm_ref.quantization.quantize import quantize
from tsm_ref.quantization.report import Report

__all__ = ["Report", "quantize"]
