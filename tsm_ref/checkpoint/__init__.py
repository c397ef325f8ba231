"""Model files: read under guard, checked against what the network needs, written whole.

Read in this order; each knows only those above it.

===============  ================================================================================
``disk``         regular files in, whole files out, digests
``facts``        what is known of a file, fact by fact, and who says so
``finish``       what a foreign file does with its answer behind the network
``views``        how a foreign file lays out its inputs and outputs
``contents``     `Checkpoint`, what every reader returns, and the checks that all of them share
``shift_rules``  the named rule that the shifts of a graph follow
``hdf5``         our own format, and the guard in front of any HDF5 file
``onnx_in``      ONNX files, whose shifts are found by interpretation
``tflite``       TensorFlow Lite files, read by way of ONNX's ops
``onnx_out``     our graphs as ONNX files, over clips or one frame at a time
``tensors``      named tensors (PyTorch, Paddle, safetensors) and whose network they are
``keras``        weight files and whole models of Keras
``files``        one door for all of them: the kind is read off the content
``labels``       lists of classes, shipped and from files
``downloads``    published checkpoints, fetched and verified
``pins``         the digests of what was fetched, in a lock file that is ours
``registry``     which models are known by name, and where their files are
===============  ================================================================================
"""

from tsm_ref.checkpoint.contents import Checkpoint, FileState
from tsm_ref.checkpoint.files import load_checkpoint, sha256_of
from tsm_ref.checkpoint.hdf5.native import load, save
from tsm_ref.checkpoint.keras.load import load_keras
from tsm_ref.checkpoint.onnx_in.load import load_onnx
from tsm_ref.checkpoint.onnx_out.export import export_onnx, export_onnx_stream
from tsm_ref.checkpoint.registry import names, resolve, weights_folder
from tsm_ref.checkpoint.tensors.safetensors import save_safetensors
from tsm_ref.checkpoint.tflite.load import load_tflite
from tsm_ref.checkpoint.views import FileView

__all__ = [
    "Checkpoint",
    "FileState",
    "FileView",
    "export_onnx",
    "export_onnx_stream",
    "load",
    "load_checkpoint",
    "load_keras",
    "load_onnx",
    "load_tflite",
    "names",
    "resolve",
    "save",
    "save_safetensors",
    "sha256_of",
    "weights_folder",
]
