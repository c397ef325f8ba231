"""TensorFlow Lite files: read under guard, and written out in ONNX's ops, whose reader goes on.

Read in this order; each knows only those above it.

===============  ===============================================================================
``flatbuffer``   tables, vectors and texts of a flatbuffer, no offset of which is believed
``schema``       which field of which table means what: `TfliteModel`
``guard``        the structure of a file, judged before any of it is carried out
``writing``      the ONNX nodes while they are made, and the tensors that they read
``layers``       ops that compute, as ONNX ops over channels that come first
``moves``        ops that move elements about
``translation``  the table of all of them; whole numbers as dequantize - op - quantize
``load``         a file as a `Checkpoint`
===============  ===============================================================================
"""
