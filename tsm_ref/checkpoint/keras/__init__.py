"""Keras files: weights of a known network, and models that carry their network.

Read in this order; each knows only those above it.

============  ==================================================================================
``building``  a graph in the making, and where its parameters are in a file
``calls``     what the calls of layers that shift tell, in a whole model
``clips``     layers and models that are applied to each frame of a clip, without their wrappers
``graph``     a whole model by its configuration, layer by layer
``layers``    the layers of a file and their variables, whichever Keras wrote it
``networks``  networks that are known by the names and shapes of their layers
``load``      either of them as a `Checkpoint`
============  ==================================================================================
"""
