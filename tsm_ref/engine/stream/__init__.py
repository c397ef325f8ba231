"""Streams: a graph one frame at a time, with explicit state, on either engine."""
