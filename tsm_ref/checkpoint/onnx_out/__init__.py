"""Graphs and weights to ONNX files.

Read in this order; each knows only those above it.

=============  ===================================================================================
``writer``     the file while it is made: layouts, constants, names
``in_time``    what acts in time: a shift over clips, and the frames that a step keeps
``in_space``   the shift along height and width
``quantised``  layers of whole numbers, between what makes reals of them and rounds these
``dynamic``    layers that choose their steps at run time
``rules``      how each op of our graph is written, one small function each
``export``     a graph over clips, or one step of a stream with its state
=============  ===================================================================================
"""
