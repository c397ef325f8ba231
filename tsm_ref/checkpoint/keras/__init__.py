"""Keras files: weights of a known network, and models that carry their network.

Read in this order; each knows only those above it.

============  ==================================================================================
``calls``     what the calls of layers that shift tell, in a whole model
``graph``     a whole model by its configuration, layer by layer
``layers``    the layers of a file and their variables, whichever Keras wrote it
``networks``  networks that are known by the names and shapes of their layers
``load``      either of them as a `Checkpoint`
============  ==================================================================================
"""
