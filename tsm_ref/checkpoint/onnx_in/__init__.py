"""ONNX files to graphs and weights, by interpretation: no pattern of any exporter is known here.

Read in this order; each knows only those above it.

===============  ===============================================================================
``tensors``      the tensors of a file as arrays
``guard``        the structure of a file, judged before any of it is carried out: `OnnxModel`
``moves``        the ops that move elements or fold constants, over NumPy arrays
``values``       a tensor as numbers of elements, and how a shift is read off them
``in_space``     a shift along height and width, read off them too
``selection``    parts of a value: a window, other channels, the last frame
``budget``       how an attempt fails, and what all attempts together may cost
``building``     the graph while it is made
``finding``      what numbers of elements mean: shifts, windows, several values, states
``reading``      one attempt: node after node, under one assumption; gives `Finished`
``scaling``      multiplications by constants
``windows``      convolutions and pools
``heads``        means, linear layers, attention
``quantised``    values that a file rounds, and its ops that compute with whole numbers
``dynamic``      values that a file rounds by the range that they have at run time
``arithmetic``   sums and products of two values, or of one and a constant
``layers``       the table of the ops that compute
``assumptions``  what the axes of the inputs may mean
``intake``       what a file does with pictures before its network begins
``load``         the first assumption that fits, as a `Checkpoint`
``evaluate``     a model whose weights are inputs, as ONNX's own tests have them
===============  ===============================================================================
"""
