"""Frames as they come to labels as they come: sources, pace, smoothing, events, early answers.

::

    smoothing   logits of frames to one label that does not flicker
    lit         the frames behind an update, by which the light is told from a move
    sources     files, pipes, raw frames and cameras; the frames that are taken, and those dropped
    loop        source -> stream -> smoother -> one `Update` per frame, and the state of it all
    early       what a model says after each part of a clip
    show        updates as lines for people and as JSON lines
    session     one run of the command line: options, lines, state file
"""

from tsm_ref.live.early import Early, early
from tsm_ref.live.loop import Live, Update
from tsm_ref.live.smoothing import Smoother
from tsm_ref.live.sources import Inbox, Newest, Pace, RawFrames, open_source

__all__ = [
    "Early",
    "Inbox",
    "Live",
    "Newest",
    "Pace",
    "RawFrames",
    "Smoother",
    "Update",
    "early",
    "open_source",
]
