"""The pulse of a face in a video, by TS-CAN, MTTS-CAN, EfficientPhys or BigSmall.

Read in this order; each knows only those above it. SciPy is needed for the filters (the extra
``pulse``), OpenCV only where a face has to be found.

::

    regions   where the face is: given, or found by OpenCV's own detector
    frames    the face at the size of a network, and at even times
    waves     what a network gives to a wave, its rates and their signal-to-noise ratio
    recipes   the published preprocessing of each network
    measure   a video to its pulse
    live      frames as they come, segment by segment
    render    what was measured as a table, JSON, CSV

It is no medical device.
"""

from tsm_ref.pulse.live import LivePulse
from tsm_ref.pulse.measure import Measured, Pulse, measure
from tsm_ref.pulse.recipes import RECIPES, Recipe
from tsm_ref.pulse.regions import Region
from tsm_ref.pulse.waves import Estimate

__all__ = [
    "RECIPES",
    "Estimate",
    "LivePulse",
    "Measured",
    "Pulse",
    "Recipe",
    "Region",
    "measure",
]
