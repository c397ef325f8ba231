"""HDF5: our own model files and stream states, and the guard in front of every HDF5 file.

Read in this order; each knows only those above it.

================  ==============================================================================
``inflation``     how much a compressed dataset may inflate to, before it is inflated
``heaps``         lists in a file that would lead the HDF5 library round and round
``guard``         any HDF5 file: its structure is judged before one value is read
``native``        our model file: graph, profile, one checked dataset per parameter
``stream_state``  the state of a running stream, and how it is refused elsewhere
================  ==============================================================================
"""
