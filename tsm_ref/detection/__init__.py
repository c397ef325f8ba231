"""Objects in a video, frame by frame: R-FCN behind a causal TSM, frames in, boxes out.

Read in this order; each knows only those above it. The network is `tsm_ref.models.rfcn`, the
formulas are those of `tsm_ref.reference.detection`.

::

    regions    offsets, suppression and pooling, fast, to the bits of the reference
    boxes      the maps of one frame to its boxes
    detector   frames to the boxes of each, one at a time
    render     boxes as lines, JSON, and drawn on frames

No trained weights of this network are published.
"""

from tsm_ref.detection.boxes import Settings
from tsm_ref.detection.detector import Box, Detector, Seen

__all__ = ["Box", "Detector", "Seen", "Settings"]
