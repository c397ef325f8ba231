"""Streams: what the engines share to run a network frame by frame.

A frame that is given to `stream` goes to `ticks`, which has the engine run it for every stream, and
what is remembered then is a new `state`. Each knows only those after it::

    stream   what a user holds: frames in, outputs out
    ticks    which values have a frame at a tick, and what a tick gives
    state    kept frames and counters; never changed, but replaced as a whole
"""
