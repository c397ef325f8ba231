"""A network with what it means and an engine that runs it: load, build, run, stream, save.

::

    loading        `load` and `save`: from a file to a model, and back
    building       `build`: a model of an architecture by name, with seeded weights
    model          `Model`: what one can do with either
    meaning        its profile, single facts and classes, as whoever loads it says
    kept_weights   its weights as the file had them, without the file
    stream         the streams of a model, with a profile and state files
    features       its graph cut at a layer, with an engine of its own
    described      what it is in a line, and as a table for notebooks
    summary        layers, shapes, costs and shifts as text
    file_form      a foreign file's own inputs, outputs and states, as it declares them
    scores         logits out of whatever a network gives, and back; those of several networks
    onnx_backend   the interface of ``onnx.backend``, so that ONNX's own tests can run our engines
"""

from tsm_ref.model.building import build
from tsm_ref.model.loading import load, save
from tsm_ref.model.model import Model
from tsm_ref.model.scores import fused_scores
from tsm_ref.model.stream import ModelStream
from tsm_ref.model.summary import Shift

__all__ = ["Model", "ModelStream", "Shift", "build", "fused_scores", "load", "save"]
