"""What was recognised, for people to look at: pages, plots, subtitles.

Everything here starts from the JSON of a recognition (``recognition.schema.json``), so what a batch
wrote down yesterday can be shown today.

::

    thumbnails   the frames that the network saw, small, as JPEG
    report       one page for a clip or a batch; ``page.css`` and ``page.js`` are in it
    film         the clip again, with what was recognised under every picture
    plot         the probabilities over time as SVG or PNG
    shift_picture  which frame every channel comes from: characters, SVG, ``shift.html``
    graph_blocks  a network as steps and blocks; graph_picture draws them as SVG
    occlusion    which frames of a clip decided
    files        the output files, by the options that ask for them
    cues         the timeline as subtitles (SRT, WebVTT) and for video editors (EDL, CSV)
"""

from tsm_ref.show.cues import edl, srt, timeline_csv, vtt
from tsm_ref.show.graph_picture import graph_svg
from tsm_ref.show.plot import plot
from tsm_ref.show.report import report
from tsm_ref.show.thumbnails import Thumbnail, thumbnails

__all__ = [
    "Thumbnail",
    "edl",
    "graph_svg",
    "plot",
    "report",
    "srt",
    "thumbnails",
    "timeline_csv",
    "vtt",
]
